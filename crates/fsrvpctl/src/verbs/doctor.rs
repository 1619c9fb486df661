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
        must_see_all(&config)?;
        let sets: Option<Sets> = match client.get("/v1/sets") {
            Ok(sets) => Some(sets),
            // Whoever may not ask would be told that nothing runs.
            Err(error) if error.is_permission() => return Err(error.into()),
            Err(_) => None,
        };
        let daemon = client.peer();
        let mut findings = examine(&config, daemon, |server| {
            Some(known(sets.as_ref()?.servers.get(server)?))
        });
        let mut mended = Vec::new();
        if self.fix {
            findings.retain_mut(
                |finding| match finding.fix.as_ref().map(|fix| fix.apply()) {
                    Some(Ok(())) => {
                        mended.push(finding.clone());
                        false
                    }
                    Some(Err(error)) => {
                        let why = format!("; it could not be mended: {error}");
                        finding.message.push_str(&why);
                        true
                    }
                    None => true,
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
        let text = match bad {
            1 => "1 thing needs mending".to_owned(),
            _ => format!("{bad} things need mending"),
        };
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

/// Beside a Samba most of what is looked at is root's: whoever else looked would find fault with what is well.
fn must_see_all(config: &Config) -> Result<(), Failure> {
    let beside_samba = config
        .servers
        .iter()
        .any(|server| server.static_shares.is_none());
    if rustix::process::geteuid().is_root() || !beside_samba {
        return Ok(());
    }
    let text = "the doctor looks at what only root may see: run it as root";
    Err(Failure::new(Exit::Unreachable, text))
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
