//! `fsrvpctl doctor`

use super::model::Sets;
use crate::screen::{Cell, Screen, Tone};
use crate::time::unix_seconds;
use crate::{AdminClient, Exit, Failure};
use fsrvp_server::config::Config;
use fsrvp_server::doctor::{Finding, KnownCopies, Severity, examine};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// The daemon's configuration file
    #[arg(long, default_value = "/etc/fsrvpd.toml")]
    config: PathBuf,
    /// Mend what can be mended without harm
    #[arg(long)]
    fix: bool,
    /// Show what is well, too
    #[arg(long)]
    all: bool,
}

impl Doctor {
    /// Fails with [`Exit::Found`] when something is wrong and was not mended.
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let config = Config::load(&self.config)
            .map_err(|error| Failure::new(Exit::Found, error.to_string()))?;
        let sets: Option<Sets> = client.get("/v1/sets").ok();
        let daemon = client.peer();
        let mut findings = examine(&config, daemon, |server| {
            Some(known(sets.as_ref()?.servers.get(server)?))
        });
        let mut mended = Vec::new();
        if self.fix {
            findings.retain(
                |finding| match finding.fix.as_ref().map(|fix| fix.apply()) {
                    Some(Ok(())) => {
                        mended.push(finding.clone());
                        false
                    }
                    Some(Err(_)) | None => true,
                },
            );
        }
        let bad = findings
            .iter()
            .filter(|finding| finding.severity >= Severity::Warning);
        let bad = bad.count();
        if screen.is_json() {
            screen.json(&json!({ "findings": findings, "mended": mended }));
        } else {
            self.render(screen, &findings, &mended);
        }
        if bad == 0 {
            return Ok(());
        }
        let text = format!("{bad} things need mending");
        Err(Failure::new(Exit::Found, text))
    }

    fn render(&self, screen: &mut Screen, findings: &[Finding], mended: &[Finding]) {
        for finding in mended {
            screen.toned(format!("mended: {}", finding.message), Tone::Good);
        }
        let mut worst: Vec<_> = findings
            .iter()
            .filter(|finding| self.all || finding.severity >= Severity::Warning)
            .collect();
        worst.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in worst {
            let (word, tone) = match finding.severity {
                Severity::Ok => ("ok", Tone::Good),
                Severity::Skipped => ("skipped", Tone::Faint),
                Severity::Warning => ("warning", Tone::Warning),
                Severity::Problem => ("PROBLEM", Tone::Bad),
            };
            let message = format!("{}: {}", finding.check, finding.message);
            screen.hanging(&format!("{word:<7}  "), Cell::toned(message, tone));
            if let Some(mend) = &finding.mend {
                screen.hanging("         ", Cell::from(mend.clone()));
            }
        }
        if findings
            .iter()
            .all(|finding| finding.severity < Severity::Warning)
        {
            screen.toned("nothing is wrong", Tone::Good);
        }
    }
}

fn known(server: &super::model::Server) -> KnownCopies {
    let recovered = server.sets.iter().filter(|set| set.status == "recovered");
    let copies = server.sets.iter().flat_map(|set| &set.copies);
    KnownCopies {
        recovered: recovered
            .filter_map(|set| Some((set.id.clone(), unix_seconds(&set.changed)?)))
            .collect(),
        newest: copies.filter_map(|copy| unix_seconds(&copy.created)).max(),
        debts: server
            .debts
            .iter()
            .map(|debt| debt.failure.clone().unwrap_or_else(|| debt.what()))
            .collect(),
    }
}

/// The findings as the daemon's log would tell them, for the report.
pub(crate) fn for_report(client: &AdminClient) -> Value {
    let loaded: Option<Value> = client.get("/v1/config").ok();
    let path = loaded
        .as_ref()
        .and_then(|loaded| loaded.get("path"))
        .and_then(Value::as_str)
        .unwrap_or("/etc/fsrvpd.toml");
    match Config::load(path.as_ref()) {
        Ok(config) => {
            let sets: Option<Sets> = client.get("/v1/sets").ok();
            let findings = examine(&config, client.peer(), |server| {
                Some(known(sets.as_ref()?.servers.get(server)?))
            });
            json!(findings)
        }
        Err(error) => json!({ "not_examined": error.to_string() }),
    }
}
