//! What copies and kept snapshots cost.

use super::{Admin, Administered, ApiError, Routes};
use crate::metrics;
use axum::Json;
use axum::extract::State;
use fsrvp_proto::job::BackendName;
use fsrvp_snapshot::Usage;
use rustix::fs::statvfs;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/space", space)
}

/// `GET /v1/space`
#[derive(Debug, Default, Serialize)]
struct Space {
    volumes: Vec<Volume>,
    items: Vec<Item>,
}

/// A volume that shares lie on.
#[derive(Debug, Serialize)]
struct Volume {
    server: String,
    backend: String,
    volume: String,
    /// Shares on it.
    shares: Vec<String>,
    /// Size of its file system.
    total_bytes: u64,
    /// What is free there.
    free_bytes: u64,
    /// Copies and kept snapshots of it.
    snapshots: usize,
}

/// A copy, or a kept snapshot.
#[derive(Debug, Serialize)]
struct Item {
    server: String,
    /// `copy` or `snapshot`.
    kind: &'static str,
    /// Exposed share, or name of the kept snapshot.
    name: String,
    share: String,
    volume: String,
    path: PathBuf,
    /// Bytes that would be free without it; nothing where the backend cannot say.
    exclusive_bytes: Option<u64>,
    /// Bytes that its files have, shared ones too.
    referenced_bytes: Option<u64>,
}

async fn space(State(admin): State<Admin>) -> Result<Json<Space>, ApiError> {
    let mut space = Space::default();
    for (name, server) in admin.servers() {
        let (name, server) = (name.clone(), server.clone());
        let work = move || measure(&name, &server);
        let of_server = admin.blocking.measure(work).await??;
        space.volumes.extend(of_server.volumes);
        space.items.extend(of_server.items);
    }
    Ok(Json(space))
}

/// Measures every hour or so, for the figures: what it costs to ask must not be a matter of how often
/// somebody reads them.
pub(super) async fn keep_measuring(admin: Admin, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    let mut pause = tokio::time::interval(interval);
    // At the start there is better to do.
    pause.tick().await;
    loop {
        pause.tick().await;
        let servers: Vec<_> = admin
            .servers()
            .map(|(name, server)| (name.clone(), server.clone()))
            .collect();
        for (name, server) in servers {
            let work = move || measure(&name, &server);
            let measured = admin.blocking.measure(work).await;
            if let Err(error) = measured.and_then(|measured| measured) {
                tracing::debug!(%error, "space cannot be measured");
            }
        }
    }
}

/// What each volume has and what its copies cost, which the figures show from then on.
fn measure(name: &str, server: &Administered) -> Result<Space, ApiError> {
    let space = of_server(name, server)?;
    for volume in &space.volumes {
        let bytes = exclusive(&space.items, &volume.volume);
        metrics::volume(&metrics::VolumeFigures {
            server: name,
            backend: &volume.backend,
            volume: &volume.volume,
            snapshots: bytes,
            free: volume.free_bytes,
            total: volume.total_bytes,
        });
    }
    Ok(space)
}

/// What would be free without all copies and kept snapshots of a volume. Zero would be a promise: one that nobody
/// could count makes the sum unknown.
fn exclusive(items: &[Item], volume: &str) -> Option<u64> {
    let of_volume = items.iter().filter(|item| item.volume == volume);
    of_volume.map(|item| item.exclusive_bytes).sum()
}

fn of_server(name: &str, server: &Administered) -> Result<Space, ApiError> {
    let mut items = Vec::new();
    let paths: BTreeMap<String, PathBuf> = server
        .directory
        .exposed()?
        .into_iter()
        .map(|share| (share.name, share.path))
        .collect();
    for set in server.agent.view().sets {
        for copy in set.copies {
            for mapping in copy.mappings {
                let Some(exposed) = mapping.shadow_copy_share_name else {
                    continue;
                };
                let Some(path) = paths.get(&exposed) else {
                    continue;
                };
                let usage = usage(server, &copy.backend, path);
                items.push(Item {
                    server: name.to_owned(),
                    kind: "copy",
                    name: exposed,
                    share: mapping.share.as_str().to_owned(),
                    volume: copy.volume.clone(),
                    path: path.clone(),
                    exclusive_bytes: usage.map(|usage| usage.exclusive),
                    referenced_bytes: usage.map(|usage| usage.referenced),
                });
            }
        }
    }
    for kept in server.executor.kept()? {
        let usage = usage(server, &kept.backend.0, &kept.path);
        items.push(Item {
            server: name.to_owned(),
            kind: "snapshot",
            name: kept.name,
            share: kept.share.as_str().to_owned(),
            volume: kept.volume.to_string(),
            path: kept.path,
            exclusive_bytes: usage.map(|usage| usage.exclusive),
            referenced_bytes: usage.map(|usage| usage.referenced),
        });
    }
    let volumes = volumes(name, server, &items)?;
    Ok(Space { volumes, items })
}

fn usage(server: &Administered, backend: &str, path: &Path) -> Option<Usage> {
    let backend = server.backends.get(&BackendName(backend.to_owned()))?;
    match backend.usage(path) {
        Ok(usage) => usage,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "space cannot be told");
            None
        }
    }
}

fn volumes(name: &str, server: &Administered, items: &[Item]) -> Result<Vec<Volume>, ApiError> {
    let mut found: BTreeMap<String, Volume> = BTreeMap::new();
    for base in server.directory.bases()? {
        let Ok((share, selected)) = server.executor.select(&base) else {
            continue;
        };
        let volume = selected.probe.volume.to_string();
        let share_name = base.as_str().to_owned();
        if let Some(known) = found.get_mut(&volume) {
            known.shares.push(share_name);
            continue;
        }
        let (total_bytes, free_bytes) = statvfs(&share.path).map_or((0, 0), |stat| {
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            (bytes(stat.f_blocks), bytes(stat.f_bavail))
        });
        // Two shares of one snapshot are one snapshot.
        let roots: BTreeSet<_> = items
            .iter()
            .filter(|item| item.volume == volume)
            .map(|item| match item.name.split_once("@{") {
                Some((_, copy)) if item.kind == "copy" => copy.to_owned(),
                _ => item.name.clone(),
            })
            .collect();
        let entry = Volume {
            server: name.to_owned(),
            backend: selected.name.to_string(),
            volume: volume.clone(),
            shares: vec![share_name],
            total_bytes,
            free_bytes,
            snapshots: roots.len(),
        };
        found.insert(volume, entry);
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_cannot_be_counted_makes_the_sum_unknown() {
        let item = |volume: &str, exclusive_bytes| Item {
            server: "FS".to_owned(),
            kind: "copy",
            name: "vm@{1}".to_owned(),
            share: "vm".to_owned(),
            volume: volume.to_owned(),
            path: PathBuf::new(),
            exclusive_bytes,
            referenced_bytes: None,
        };
        let items = [
            item("a", Some(5)),
            item("a", Some(7)),
            item("b", Some(1)),
            item("b", None),
        ];
        assert_eq!(exclusive(&items, "a"), Some(12));
        assert_eq!(exclusive(&items, "b"), None);
        assert_eq!(exclusive(&items, "c"), Some(0));
    }
}
