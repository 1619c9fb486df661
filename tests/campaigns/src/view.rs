//! What the admin socket shows.

use crate::Outcome;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use fsrvp_testkit::unix_http_get;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Clone, Deserialize)]
struct Body {
    servers: BTreeMap<String, View>,
}

/// `/v1/sets` of one server.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct View {
    pub(crate) sets: Vec<SetView>,
    pub(crate) debts: Vec<serde_json::Value>,
    pub(crate) jobs: Vec<serde_json::Value>,
}

/// A set.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SetView {
    pub(crate) id: ShadowCopySetId,
    pub(crate) status: Status,
    pub(crate) context: u32,
    pub(crate) copies: Vec<CopyView>,
    pub(crate) undo: Vec<serde_json::Value>,
}

/// \[3.1.1.2\] Status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Started,
    Added,
    CreationInProgress,
    Committed,
    Exposed,
    Recovered,
}

/// A copy.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CopyView {
    pub(crate) id: ShadowCopyId,
    pub(crate) mappings: Vec<MappingView>,
}

/// A mapping.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MappingView {
    pub(crate) share_name_unc: String,
    pub(crate) shadow_copy_share_name: Option<String>,
}

impl View {
    /// Asks the only server of an agent.
    pub(crate) fn ask(socket: &Path) -> Outcome<Self> {
        let answer = unix_http_get(socket, "/v1/sets")?;
        let body: Body = serde_json::from_str(&answer.body)
            .map_err(|error| format!("/v1/sets: {error}: {}", answer.body))?;
        let server = body.servers.into_values().next();
        server.ok_or_else(|| "/v1/sets names no server".into())
    }

    /// Nothing is under way and nothing is owed.
    pub(crate) fn is_settled(&self) -> bool {
        self.debts.is_empty()
            && self.jobs.is_empty()
            && self.sets.iter().all(|set| set.undo.is_empty())
    }

    pub(crate) fn set(&self, id: ShadowCopySetId) -> Option<&SetView> {
        self.sets.iter().find(|set| set.id == id)
    }
}

impl SetView {
    /// Whether its snapshots exist.
    pub(crate) fn has_copies(&self) -> bool {
        self.status >= Status::Committed
    }

    /// Whether its shares exist.
    pub(crate) fn has_shares(&self) -> bool {
        self.status >= Status::Exposed
    }
}
