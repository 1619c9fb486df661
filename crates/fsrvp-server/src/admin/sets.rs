//! Sets, copies and mappings.

use super::{Admin, ApiError, Routes};
use crate::events::Recorded;
use axum::Json;
use axum::extract::{Path, State};
use fsrvp_idl::{DateTime, ShadowCopyId, ShadowCopySetId};
use fsrvp_proto::AgentView;
use fsrvp_proto::set::SetStatus;
use fsrvp_proto::view::{CopyView, SetView};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/sets", sets)
        .get("/v1/sets/{set}", set)
        .get("/v1/copies", copies)
        .get("/v1/mappings", mappings)
}

/// `GET /v1/sets`
#[derive(Debug, Serialize)]
struct Sets {
    servers: BTreeMap<String, AgentView>,
}

/// `GET /v1/sets/{set}`
#[derive(Debug, Serialize)]
struct Set {
    server: String,
    #[serde(flatten)]
    set: SetView,
    /// What the daemon remembers of it.
    events: Vec<Recorded>,
}

/// One of `GET /v1/copies`
#[derive(Debug, Serialize)]
struct Copy {
    server: String,
    set: ShadowCopySetId,
    status: SetStatus,
    account: String,
    age_seconds: u64,
    #[serde(flatten)]
    copy: CopyView,
}

#[derive(Debug, Serialize)]
struct Copies {
    copies: Vec<Copy>,
}

/// One of `GET /v1/mappings`
#[derive(Debug, Serialize)]
struct Mapping {
    server: String,
    set: ShadowCopySetId,
    copy: ShadowCopyId,
    share: String,
    share_name_unc: String,
    shadow_copy_share_name: Option<String>,
    writable: bool,
}

#[derive(Debug, Serialize)]
struct Mappings {
    mappings: Vec<Mapping>,
}

pub(super) fn set_id(text: &str) -> Result<ShadowCopySetId, ApiError> {
    guid(text).map(ShadowCopySetId)
}

pub(super) fn guid(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| ApiError::bad_request(format!("{text:?} is no GUID")))
}

async fn sets(State(admin): State<Admin>) -> Json<Sets> {
    let servers = admin
        .servers()
        .map(|(name, server)| (name.clone(), server.agent.view()))
        .collect();
    Json(Sets { servers })
}

async fn set(State(admin): State<Admin>, Path(id): Path<String>) -> Result<Json<Set>, ApiError> {
    let id = set_id(&id)?;
    for (name, server) in admin.servers() {
        let mut sets = server.agent.view().sets.into_iter();
        if let Some(set) = sets.find(|set| set.id == id) {
            return Ok(Json(Set {
                server: name.clone(),
                set,
                events: admin.parts.history.of_set(id),
            }));
        }
    }
    Err(ApiError::not_found(format!("there is no set {id}")))
}

async fn copies(State(admin): State<Admin>) -> Json<Copies> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since_epoch.unwrap_or_default().as_secs();
    let mut copies = Vec::new();
    for (name, server) in admin.servers() {
        for set in server.agent.view().sets {
            let of_set = set.copies.into_iter().map(|copy| Copy {
                server: name.clone(),
                set: set.id,
                status: set.status,
                account: set.account.clone(),
                age_seconds: now.saturating_sub(copy.created.unix_seconds()),
                copy,
            });
            copies.extend(of_set);
        }
    }
    copies.sort_by_key(|copy| std::cmp::Reverse((copy.age_seconds, copy.copy.id)));
    Json(Copies { copies })
}

async fn mappings(State(admin): State<Admin>) -> Json<Mappings> {
    let mut mappings = Vec::new();
    for (name, server) in admin.servers() {
        for set in server.agent.view().sets {
            for copy in set.copies {
                mappings.extend(copy.mappings.into_iter().map(|mapping| Mapping {
                    server: name.clone(),
                    set: set.id,
                    copy: copy.id,
                    share: mapping.share.as_str().to_owned(),
                    share_name_unc: mapping.share_name_unc,
                    shadow_copy_share_name: mapping.shadow_copy_share_name,
                    writable: set.writable,
                }));
            }
        }
    }
    Json(Mappings { mappings })
}

/// A moment for people and programs.
pub(super) fn rfc3339(time: fsrvp_idl::FileTime) -> String {
    DateTime::from(time).to_string()
}
