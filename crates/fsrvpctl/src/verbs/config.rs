//! `fsrvpctl config` and `fsrvpctl log`

use super::show::acted;
use crate::screen::{Screen, Tone};
use crate::time::counted;
use crate::{AdminClient, Exit, Failure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// `fsrvpctl config`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Config {
    /// Check a configuration file; the daemon need not run
    Check {
        /// The file
        #[arg(default_value = "/etc/fsrvpd.toml")]
        file: PathBuf,
    },
    /// Show the configuration in force, with every default
    Show,
    /// Let the daemon read its configuration file again
    Reload,
}

impl Config {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        match self {
            Self::Check { file } => check(file, screen),
            Self::Show => super::ask(client, screen, "/v1/config", |screen, loaded: Value| {
                let path = loaded.get("path").and_then(Value::as_str);
                screen.heading(format!("read from {}", path.unwrap_or("?")));
                if let Some(config) = loaded.get("config") {
                    show("", config, screen);
                }
            }),
            Self::Reload => reload(client, screen),
        }
    }
}

fn check(file: &std::path::Path, screen: &mut Screen) -> Result<(), Failure> {
    match fsrvp_server::config::Config::load(file) {
        Ok(config) => {
            let answer = json!({ "file": file, "valid": true, "servers": config.servers.len() });
            let servers = counted(config.servers.len(), "server");
            let text = format!("{}: no errors, {servers}", file.display());
            acted(screen, &answer, text);
            Ok(())
        }
        Err(error) => {
            if screen.is_json() {
                let answer = json!({ "file": file, "valid": false, "error": error.to_string() });
                screen.json(&answer);
            }
            Err(Failure::new(Exit::Found, error.to_string()))
        }
    }
}

fn reload(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    let answer: Value = client.request("POST", "/v1/reload", None)?;
    if screen.is_json() {
        screen.json(&answer);
        return Ok(());
    }
    let keys = |name: &str| -> Vec<String> {
        let keys = answer.get(name).and_then(Value::as_array);
        let keys = keys.into_iter().flatten();
        keys.filter_map(|key| Some(key.as_str()?.to_owned()))
            .collect()
    };
    let (applied, waiting) = (keys("applied"), keys("needs_restart"));
    if applied.is_empty() && waiting.is_empty() {
        screen.line("nothing has changed");
    }
    for key in applied {
        screen.toned(format!("in force: {key}"), Tone::Good);
    }
    for key in waiting {
        screen.toned(format!("waits for a restart: {key}"), Tone::Warning);
    }
    Ok(())
}

/// Every value with its key.
fn show(key: &str, value: &Value, screen: &mut Screen) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let key = match key {
                    "" => name.clone(),
                    key => format!("{key}.{name}"),
                };
                show(&key, value, screen);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (at, value) in list.iter().enumerate() {
                show(&format!("{key}[{at}]"), value, screen);
            }
        }
        Value::Null => {}
        value => screen.line(format!("{key} = {value}")),
    }
}

/// `fsrvpctl log`
#[derive(Debug, clap::Args)]
pub(crate) struct Log {
    /// A level, or directives as in RUST_LOG: "info,fsrvp_samba=debug"
    level: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Level {
    level: String,
}

impl Log {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let answer: Level = match &self.level {
            Some(level) => {
                let body = json!({ "level": level });
                client.request("PUT", "/v1/log", Some(&body))?
            }
            None => client.get("/v1/log")?,
        };
        acted(screen, &json!({ "level": answer.level }), answer.level);
        Ok(())
    }
}
