//! Kept snapshots.

use super::sets::rfc3339;
use super::{Admin, ApiError, Operator, Routes};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_snapshot::Kept;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/snapshots", snapshots)
        .delete("/v1/snapshots/{server}/{share}/{name}", delete)
}

/// One of `GET /v1/snapshots`
#[derive(Debug, Serialize)]
struct Snapshot {
    server: String,
    share: String,
    name: String,
    backend: String,
    volume: String,
    /// The copy that it was made of.
    copy: ShadowCopyId,
    created: String,
    /// The share's directory in it.
    path: PathBuf,
}

#[derive(Debug, Serialize)]
struct Snapshots {
    snapshots: Vec<Snapshot>,
}

impl Snapshot {
    fn of(server: &str, kept: Kept) -> Self {
        Self {
            server: server.to_owned(),
            share: kept.share.as_str().to_owned(),
            name: kept.name,
            backend: kept.backend.to_string(),
            volume: kept.volume.to_string(),
            copy: kept.copy,
            created: rfc3339(kept.created),
            path: kept.path,
        }
    }
}

async fn snapshots(State(admin): State<Admin>) -> Result<Json<Snapshots>, ApiError> {
    let mut snapshots = Vec::new();
    for (name, server) in admin.servers() {
        let executor = Arc::clone(&server.executor);
        let kept = admin.blocking.look(move || executor.kept()).await??;
        snapshots.extend(kept.into_iter().map(|kept| Snapshot::of(name, kept)));
    }
    Ok(Json(Snapshots { snapshots }))
}

async fn delete(
    State(admin): State<Admin>,
    ConnectInfo(by): ConnectInfo<Operator>,
    Path((server, share, name)): Path<(String, String, String)>,
) -> Result<Json<Snapshot>, ApiError> {
    let executor = Arc::clone(&admin.server(&server)?.executor);
    let wanted = (ShareName::new(share.as_str()), name.clone());
    let deleted = admin
        .blocking
        .act(move || {
            let mut all = executor.kept()?.into_iter();
            let kept = all.find(|kept| (&kept.share, &kept.name) == (&wanted.0, &wanted.1));
            if let Some(kept) = &kept {
                executor.delete_kept(kept)?;
            }
            Ok::<_, ApiError>(kept)
        })
        .await?;
    let target = format!("snapshot {name} of {share}");
    match deleted {
        Ok(Some(kept)) => {
            admin.note_act(&server, &by, "delete", &target, Ok(()));
            Ok(Json(Snapshot::of(&server, kept)))
        }
        Ok(None) => Err(ApiError::not_found(format!("there is no {target}"))),
        Err(error) => {
            admin.note_act(&server, &by, "delete", &target, Err(&error));
            Err(error)
        }
    }
}
