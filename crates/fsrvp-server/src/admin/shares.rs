//! Shares, each with its volume, backend and the reason; the providers.

use super::{Admin, Administered, ApiError, Routes};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::path::PathBuf;
use uuid::Uuid;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/shares", shares)
        .get("/v1/providers", providers)
}

/// One of `GET /v1/shares`
#[derive(Debug, Serialize)]
struct Share {
    server: String,
    name: String,
    path: Option<PathBuf>,
    /// Whether it can be shadow copied.
    supported: bool,
    backend: Option<String>,
    volume: Option<String>,
    /// Its directory below the root of the volume.
    inner: Option<PathBuf>,
    /// Why this backend, or why none.
    reason: String,
    /// The folder of its previous versions, for `shadow:snapdir`.
    previous_versions: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Shares {
    shares: Vec<Share>,
}

/// One of `GET /v1/providers`
#[derive(Debug, Serialize)]
struct Provider {
    server: String,
    backend: String,
    name: String,
    kind: &'static str,
    id: Uuid,
    version: String,
}

#[derive(Debug, Serialize)]
struct Providers {
    providers: Vec<Provider>,
}

async fn shares(State(admin): State<Admin>) -> Result<Json<Shares>, ApiError> {
    let mut shares = Vec::new();
    for (name, server) in admin.servers() {
        let (name, server) = (name.clone(), server.clone());
        shares.extend(
            admin
                .blocking
                .survey(move || of_server(&name, &server))
                .await??,
        );
    }
    Ok(Json(Shares { shares }))
}

fn of_server(name: &str, server: &Administered) -> Result<Vec<Share>, ApiError> {
    let bases = server.directory.bases()?;
    let shares = bases.into_iter().map(|base| {
        let mut share = Share {
            server: name.to_owned(),
            name: base.as_str().to_owned(),
            path: None,
            supported: false,
            backend: None,
            volume: None,
            inner: None,
            reason: String::new(),
            previous_versions: None,
        };
        match server.executor.select(&base) {
            Ok((found, selected)) => {
                share.previous_versions = selected.backend.previous_versions(&found.path, &base);
                share.path = Some(found.path);
                share.supported = true;
                share.backend = Some(selected.name.to_string());
                share.volume = Some(selected.probe.volume.to_string());
                share.inner = Some(selected.probe.inner);
                share.reason = selected.reason;
            }
            Err(failure) => {
                share.path = server.directory.lookup(&base).ok().map(|base| base.path);
                share.reason = failure.detail;
            }
        }
        share
    });
    Ok(shares.collect())
}

async fn providers(State(admin): State<Admin>) -> Json<Providers> {
    let mut providers = Vec::new();
    for (name, server) in admin.servers() {
        providers.extend(server.backends.iter().map(|backend| {
            let facts = backend.facts();
            Provider {
                server: name.clone(),
                backend: backend.name().to_string(),
                name: facts.name.into_owned(),
                kind: facts.kind,
                id: facts.id,
                version: facts.version.into_owned(),
            }
        }));
    }
    Json(Providers { providers })
}
