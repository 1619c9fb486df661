//! The admin socket: HTTP/JSON for the operator's tools, and figures for Prometheus.

use crate::agent_cell::AgentCell;
use crate::config::AdminConfig;
use crate::metrics;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use fsrvp_proto::AgentView;
use fsrvp_samba::pipe::PipeCounters;
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::fs::{Gid, Mode, Uid, chmod, chown};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;

/// What the admin socket shows.
#[derive(Clone)]
pub struct Admin {
    servers: Arc<BTreeMap<String, Administered>>,
    prometheus: PrometheusHandle,
    started: std::time::Instant,
}

/// What the admin socket knows of one server.
#[derive(Debug, Clone)]
pub struct Administered {
    /// Its agent.
    pub agent: Arc<AgentCell>,
    /// What has happened to its pipe.
    pub pipe: Arc<PipeCounters>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("servers", &self.servers.keys())
            .finish_non_exhaustive()
    }
}

/// `GET /v1/health`
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    servers: Vec<String>,
}

/// `GET /v1/sets`
#[derive(Debug, Serialize)]
struct Sets {
    servers: BTreeMap<String, AgentView>,
}

impl Admin {
    /// Shows these servers.
    #[must_use]
    pub fn new(servers: BTreeMap<String, Administered>, prometheus: PrometheusHandle) -> Self {
        Self {
            servers: Arc::new(servers),
            prometheus,
            started: std::time::Instant::now(),
        }
    }

    /// The routes.
    fn router(self) -> Router {
        Router::new()
            .route("/v1/health", get(health))
            .route("/v1/sets", get(sets))
            .route("/metrics", get(figures))
            .with_state(self)
    }

    /// Serves the socket until the task is dropped.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self, listener: UnixListener) -> std::io::Result<()> {
        let upkeep = self.prometheus.clone();
        tokio::spawn(async move {
            let mut pause = tokio::time::interval(Duration::from_secs(60));
            loop {
                pause.tick().await;
                upkeep.run_upkeep();
            }
        });
        axum::serve(listener, self.router()).await
    }
}

async fn health(State(admin): State<Admin>) -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: admin.started.elapsed().as_secs(),
        servers: admin.servers.keys().cloned().collect(),
    })
}

async fn sets(State(admin): State<Admin>) -> Json<Sets> {
    let servers = admin
        .servers
        .iter()
        .map(|(name, server)| (name.clone(), server.agent.view()))
        .collect();
    Json(Sets { servers })
}

async fn figures(State(admin): State<Admin>) -> impl IntoResponse {
    for (name, server) in &*admin.servers {
        metrics::take_backs(name, server.pipe.take_backs());
    }
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        admin.prometheus.render(),
    )
}

/// Makes the socket, `root:GROUP 0660`. A socket that a dead process left is replaced.
///
/// # Errors
/// Another process answers on it, the group does not exist, or the path cannot be used.
pub fn bind(config: &AdminConfig) -> std::io::Result<UnixListener> {
    let path = &config.socket;
    let group = config.group.as_deref().map(group_id).transpose()?;
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::new(
            ErrorKind::AddrInUse,
            "another process answers on it; is fsrvpd running already?",
        ));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody may connect before the mode and the group are right.
    let listener = {
        let staging = staging_name(path);
        let _ = std::fs::remove_file(&staging);
        let listener = UnixListener::bind(&staging)?;
        let owner = std::fs::metadata(&staging)?.uid();
        chown(&staging, Some(Uid::from_raw(owner)), group)?;
        chmod(&staging, Mode::from_raw_mode(0o660))?;
        std::fs::rename(&staging, path)?;
        listener
    };
    Ok(listener)
}

fn staging_name(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Looks a group up in the system's group file.
fn group_id(name: &str) -> std::io::Result<Gid> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == name;
            let number = fields.nth(1)?.parse().ok()?;
            found.then_some(Gid::from_raw(number))
        })
        .next()
        .ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no group {name:?} in /etc/group"),
            )
        })
}
