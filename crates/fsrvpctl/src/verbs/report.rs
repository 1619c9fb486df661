//! `fsrvpctl report`: one file with what support asks for.

use crate::screen::Screen;
use crate::{AdminClient, Exit, Failure};
use serde_json::{Map, Value, json};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// Files of the system that tell how it is put together.
const FILES: [&str; 4] = [
    "/etc/os-release",
    "/proc/sys/kernel/osrelease",
    "/proc/self/mountinfo",
    "/proc/filesystems",
];

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    /// The file; it must not exist yet
    #[arg(default_value = "fsrvp-report.json")]
    file: PathBuf,
}

impl Report {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let mut answers = Map::new();
        let mut unanswered = None;
        // None of it holds a password, key or ticket: the daemon has none to show, and files with
        // secrets are named and not read.
        for path in fsrvp_server::admin::overviews() {
            // A daemon that does not run is a finding, not an obstacle.
            let answer = match client.get::<Value>(path) {
                Ok(answer) => answer,
                Err(error) => {
                    let why = error.to_string();
                    let value = json!({ "not_answered": why });
                    unanswered.get_or_insert(why);
                    value
                }
            };
            answers.insert(path.to_owned(), answer);
        }
        let metrics = client.get_bytes("/metrics").ok();
        let metrics = metrics.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let files: Map<String, Value> = FILES
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path);
                let text = text.unwrap_or_else(|error| format!("not read: {error}"));
                ((*path).to_owned(), Value::String(text))
            })
            .collect();
        let report = json!({
            "fsrvpctl": env!("CARGO_PKG_VERSION"),
            "daemon": answers,
            "metrics": metrics,
            "files": files,
            "doctor": super::doctor::for_report(client),
        });
        let failed = |error: std::io::Error| {
            let file = self.file.display();
            let text = match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    format!("{file} exists already and is left alone: give another name")
                }
                _ => format!("cannot write {file}: {error}"),
            };
            Failure::new(Exit::Failed, text)
        };
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file)
            .map_err(failed)?;
        serde_json::to_writer_pretty(file, &report).map_err(|error| failed(error.into()))?;
        let answer = json!({ "file": self.file, "not_answered": unanswered });
        let mut text = format!("{} is written; it holds no secrets", self.file.display());
        if let Some(why) = unanswered {
            text.push_str(&format!("\nthe daemon's part is missing: {why}"));
        }
        super::show::acted(screen, &answer, text);
        Ok(())
    }
}
