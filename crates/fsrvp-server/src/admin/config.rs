//! The configuration in force, what of it can change, and the log's level.

use super::{Admin, ApiError, Operator, Routes};
use crate::config::Config;
use crate::reload::Reloaded;
use axum::Json;
use axum::extract::{ConnectInfo, State};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/config", config)
        .post("/v1/reload", reload)
        .get("/v1/log", log)
        .put("/v1/log", set_log)
}

/// `GET /v1/config`
#[derive(Debug, Serialize)]
struct Loaded {
    /// The file that it was read from.
    path: PathBuf,
    /// With every default.
    config: Config,
}

/// `GET` and `PUT /v1/log`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    /// A level, or directives as in `RUST_LOG`.
    level: String,
}

async fn config(State(admin): State<Admin>) -> Json<Loaded> {
    let reload = &admin.parts.reload;
    Json(Loaded {
        path: reload.path().to_owned(),
        config: reload.current(),
    })
}

async fn reload(
    State(admin): State<Admin>,
    ConnectInfo(by): ConnectInfo<Operator>,
) -> Result<Json<Reloaded>, ApiError> {
    let reload = Arc::clone(&admin.parts.reload);
    let reloaded = admin.blocking.act(move || reload.run()).await?;
    let outcome = reloaded.as_ref().map(drop);
    let outcome = outcome.map_err(|error| error as &dyn std::fmt::Display);
    admin.note_act("", &by, "reload", "the configuration", outcome);
    reloaded
        .map(Json)
        .map_err(|error| ApiError::bad_request(error.to_string()))
}

async fn log(State(admin): State<Admin>) -> Json<Log> {
    Json(Log {
        level: admin.parts.reload.log_level(),
    })
}

async fn set_log(
    State(admin): State<Admin>,
    ConnectInfo(by): ConnectInfo<Operator>,
    Json(log): Json<Log>,
) -> Result<Json<Log>, ApiError> {
    let done = admin.parts.reload.set_log_level(&log.level);
    let outcome = done.as_ref().map(drop);
    let outcome = outcome.map_err(|error| error as &dyn std::fmt::Display);
    admin.note_act("", &by, "set log level", &log.level, outcome);
    done.map_err(ApiError::bad_request)?;
    Ok(Json(log))
}
