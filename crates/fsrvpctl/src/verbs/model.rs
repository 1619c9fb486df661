//! What the daemon says, as far as people are shown it.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
pub(crate) struct Health {
    pub(crate) status: String,
    pub(crate) version: String,
    pub(crate) uptime_seconds: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sets {
    pub(crate) servers: BTreeMap<String, Server>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Server {
    pub(crate) profile: String,
    pub(crate) context: Context,
    pub(crate) timer_remaining_ms: Option<u64>,
    #[serde(default)]
    pub(crate) store_hangs_ms: Option<u64>,
    pub(crate) sets: Vec<Set>,
    pub(crate) debts: Vec<Debt>,
    pub(crate) jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Context {
    pub(crate) is_set: bool,
    pub(crate) client_address: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Set {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) context: u32,
    pub(crate) account: String,
    pub(crate) writable: bool,
    pub(crate) started: String,
    pub(crate) changed: String,
    pub(crate) phases: Vec<Phase>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) copies: Vec<Copy>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Phase {
    pub(crate) phase: String,
    pub(crate) ended: String,
    pub(crate) took_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Copy {
    pub(crate) id: String,
    pub(crate) backend: String,
    pub(crate) volume: String,
    pub(crate) created: String,
    pub(crate) mappings: Vec<Mapping>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Mapping {
    pub(crate) share: String,
    pub(crate) share_name_unc: String,
    pub(crate) shadow_copy_share_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Debt {
    pub(crate) number: u64,
    pub(crate) artefact: serde_json::Value,
    pub(crate) attempts: u32,
    pub(crate) failure: Option<String>,
    pub(crate) since: String,
    pub(crate) retry_in_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Job {
    pub(crate) operation: String,
    pub(crate) set: Option<String>,
    pub(crate) running_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) time: String,
    pub(crate) server: String,
    pub(crate) event: String,
    pub(crate) event_id: Option<u32>,
    pub(crate) level: String,
    pub(crate) message: String,
    pub(crate) set: Option<String>,
}

impl Set {
    /// The base shares in it, by name.
    pub(crate) fn shares(&self) -> String {
        let shares = self.copies.iter().flat_map(|copy| &copy.mappings);
        let names: Vec<_> = shares.map(|mapping| mapping.share.as_str()).collect();
        names.join(", ")
    }

    /// The status as people say it.
    pub(crate) fn status_word(&self) -> &str {
        match self.status.as_str() {
            "creation_in_progress" => "creating",
            status => status,
        }
    }
}

impl Debt {
    /// What is owed.
    pub(crate) fn what(&self) -> String {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
        match (self.artefact.get("share"), self.artefact.get("copy")) {
            (Some(share), _) => format!("share {}", text(share)),
            (None, Some(copy)) => {
                let part = |name: &str| copy.get(name).map(text).unwrap_or_default();
                format!("snapshot {} ({})", part("copy"), part("backend"))
            }
            (None, None) => self.artefact.to_string(),
        }
    }
}
