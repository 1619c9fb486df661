//! Where a share's files can be brought back from: its exposed copies and its kept snapshots.
//!
//! Nothing is measured or probed, so that the answer comes at once however large the share is.

use super::sets::rfc3339;
use super::targets::Which;
use super::{Admin, ApiError, Routes};
use axum::Json;
use axum::extract::{Path, Query, State};
use fsrvp_idl::ShadowCopySetId;
use serde::Serialize;
use std::path::PathBuf;

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/shares/{share}/sources", sources)
}

/// `GET /v1/shares/{share}/sources`
#[derive(Debug, Serialize)]
struct Sources {
    server: String,
    share: String,
    /// The share's own directory, as Samba has it.
    path: PathBuf,
    sources: Vec<Source>,
}

/// A copy, or a kept snapshot.
#[derive(Debug, Serialize)]
struct Source {
    /// `copy` or `snapshot`.
    kind: &'static str,
    /// Exposed share, or name of the kept snapshot.
    name: String,
    created: String,
    /// The share's directory in it.
    path: PathBuf,
    /// Whether clients may still change it.
    writable: bool,
    /// The set of a copy.
    set: Option<ShadowCopySetId>,
}

async fn sources(
    State(admin): State<Admin>,
    Path(share): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Sources>, ApiError> {
    let (name, server, share) = admin.with_share(share, which).await?;
    let found = admin.blocking.look(move || {
        let base = server.directory.lookup(&share)?;
        let exposed = server.directory.exposed()?;
        let mut sources = Vec::new();
        for set in server.agent.view().sets {
            for copy in &set.copies {
                let mapped = copy
                    .mappings
                    .iter()
                    .filter(|mapping| mapping.share == share);
                for mapping in mapped {
                    let name = mapping.shadow_copy_share_name.as_ref();
                    let offered = exposed.iter().find(|share| Some(&share.name) == name);
                    sources.extend(offered.map(|offered| Source {
                        kind: "copy",
                        name: offered.name.clone(),
                        created: rfc3339(copy.created),
                        path: offered.path.clone(),
                        writable: set.writable,
                        set: Some(set.id),
                    }));
                }
            }
        }
        let kept = server.executor.kept()?.into_iter();
        let kept = kept.filter(|kept| kept.share == share);
        sources.extend(kept.map(|kept| Source {
            kind: "snapshot",
            name: kept.name,
            created: rfc3339(kept.created),
            path: kept.path,
            writable: false,
            set: None,
        }));
        Ok::<_, ApiError>((share, base.path, sources))
    });
    let (share, path, sources) = found.await??;
    Ok(Json(Sources {
        server: name,
        share: share.as_str().to_owned(),
        path,
        sources,
    }))
}
