//! Finds what is wrong with a set-up, in words, and names the command that mends it.
//!
//! `fsrvpctl doctor` asks with or without a running daemon; the daemon itself looks once after its
//! start. Nothing here changes anything but [`Fix::apply`].

mod copies;
mod pipe;
mod samba;
mod shares;
mod system;

use crate::config::{Config, ServerConfig};
use crate::environment::Environment;
use fsrvp_proto::ShareDirectory;
use fsrvp_samba::{SambaFacts, said_by};
use fsrvp_snapshot::Backends;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use copies::KnownCopies;
pub use system::Fix;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Skipped,
    /// It will be in the way some day.
    Warning,
    /// It is in the way.
    Problem,
}

/// What a check has found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check, by a name that never changes.
    pub check: &'static str,
    /// The server that it is about.
    pub server: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is the case.
    pub message: String,
    /// The command, or the line of a file, that mends it.
    pub mend: Option<String>,
    /// Whether `--fix` mends it.
    pub fixable: bool,
    /// How.
    #[serde(skip)]
    pub fix: Option<Fix>,
}

/// One server and what is known of its surroundings.
#[derive(Clone)]
pub struct Patient {
    /// Its configuration.
    pub config: ServerConfig,
    /// Its name.
    pub name: String,
    /// What Samba's configuration says; `None` in the embedded laboratory.
    pub samba: Option<SambaFacts>,
    /// Its shares.
    pub directory: Arc<dyn ShareDirectory>,
    /// Its backends.
    pub backends: Arc<Backends>,
    /// What its table holds, if somebody could be asked.
    pub copies: Option<KnownCopies>,
    /// The daemon's process, if it runs.
    pub daemon: Option<u32>,
    /// Where `/proc`, `/etc` and `/usr` are looked up: `/`, but in tests.
    pub root: PathBuf,
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Collects findings about one server.
#[derive(Debug)]
pub(crate) struct Chart {
    server: String,
    findings: Vec<Finding>,
}

impl Chart {
    fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            findings: Vec::new(),
        }
    }

    fn add(
        &mut self,
        check: &'static str,
        severity: Severity,
        message: impl Into<String>,
        mend: Option<String>,
    ) {
        self.findings.push(Finding {
            check,
            server: self.server.clone(),
            severity,
            message: message.into(),
            mend,
            fixable: false,
            fix: None,
        });
    }

    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Severity::Ok, message, None);
    }

    fn skipped(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Severity::Skipped, message, None);
    }

    fn warning(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(check, Severity::Warning, message, Some(mend.into()));
    }

    fn problem(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(check, Severity::Problem, message, Some(mend.into()));
    }

    fn fixable(&mut self, check: &'static str, message: impl Into<String>, fix: Fix) {
        self.problem(check, message, fix.to_string());
        if let Some(finding) = self.findings.last_mut() {
            finding.fixable = true;
            finding.fix = Some(fix);
        }
    }
}

/// Examines every server of a configuration. `copies` is what the daemon told of each, by name, if
/// it runs. Blocks.
#[must_use]
pub fn examine(
    config: &Config,
    daemon: Option<u32>,
    copies: impl Fn(&str) -> Option<KnownCopies>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in &config.servers {
        match Environment::to_look_at(server) {
            Ok(environment) => {
                let samba = match &server.static_shares {
                    Some(_) => None,
                    None => SambaFacts::read(&server.smb_conf).ok(),
                };
                let patient = Patient {
                    config: server.clone(),
                    copies: copies(&environment.name),
                    name: environment.name,
                    samba,
                    directory: environment.directory,
                    backends: environment.backends,
                    daemon,
                    root: PathBuf::from("/"),
                };
                findings.extend(patient.examine());
            }
            Err(error) => {
                let name = server.name.clone().unwrap_or_default();
                let mut chart = Chart::new(&name);
                samba::refused(&mut chart, server, &error);
                system::store(&mut chart, &server.state_dir, daemon);
                findings.extend(chart.findings);
            }
        }
    }
    findings
}

impl Patient {
    /// Looks at everything. Blocks.
    #[must_use]
    pub fn examine(&self) -> Vec<Finding> {
        let mut chart = Chart::new(&self.name);
        if let Some(facts) = &self.samba {
            chart.ok("registry_shares", "registry shares are on");
            samba::examine(&mut chart, self, facts);
            pipe::examine(&mut chart, self, facts);
        }
        shares::examine(&mut chart, self);
        copies::examine(&mut chart, self.copies.as_ref());
        system::examine(&mut chart, self);
        chart.findings
    }
}

/// Longest time that a tool may take: what it asks may hang, which is why the doctor was called.
const TOOL_LIMIT: Duration = Duration::from_secs(10);

/// What a tool says on its standard output, if it runs and succeeds in time.
fn output_of(program: &'static str, arguments: &[&str]) -> Option<String> {
    said_by(program, arguments, TOOL_LIMIT).ok()
}

/// A path or a name as a shell takes it, whatever its characters: what the doctor says is pasted into a terminal.
fn quoted(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@%+=:,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A path for a command.
fn quoted_path(path: &Path) -> String {
    quoted(path.to_string_lossy())
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}
