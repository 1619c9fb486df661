//! Whether the daemon serves, and the description of this interface.

use super::{Admin, Routes};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;

/// `GET /v1/health`
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    servers: Vec<String>,
}

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/health", health)
        .get("/v1/openapi.json", description)
}

async fn health(State(admin): State<Admin>) -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: admin.parts.started.elapsed().as_secs(),
        servers: admin.parts.servers.keys().cloned().collect(),
    })
}

async fn description() -> impl IntoResponse {
    let description = include_str!("../../../../docs/openapi.json");
    ([(CONTENT_TYPE, "application/json")], description)
}
