//! The admin socket: HTTP/JSON for the operator's tools, and figures for Prometheus.
//!
//! One file a subject, each with its routes; `docs/openapi.json` describes them all, and a test
//! holds the one against the other.

mod acts;
mod blocking;
mod config;
mod debts;
mod error;
mod events;
mod health;
mod routes;
mod sets;
mod shares;
mod snapshots;
mod socket;
mod sources;
mod space;
mod targets;
mod work;

pub use error::ApiError;
pub use routes::{Endpoint, Routes};
pub use socket::{Operator, bind};

use crate::agent_cell::AgentCell;
use crate::connections::Connections;
use crate::events::{History, Record};
use crate::executor::Executor;
use crate::reload::Reload;
use crate::targets::FileListEditor;
use crate::{audit, metrics};
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use blocking::Blocking;
use fsrvp_proto::ShareDirectory;
use fsrvp_samba::pipe::PipeCounters;
use fsrvp_snapshot::Backends;
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};

/// What the admin socket shows and directs.
#[derive(Clone)]
pub struct Admin {
    parts: Arc<Parts>,
    blocking: Blocking,
}

/// All of it.
pub struct Parts {
    /// The servers, by name.
    pub servers: BTreeMap<String, Administered>,
    /// The figures.
    pub prometheus: PrometheusHandle,
    /// The last events.
    pub history: Arc<History>,
    /// The configuration and what of it can change.
    pub reload: Arc<Reload>,
    /// When the daemon began.
    pub started: Instant,
}

/// What the admin socket knows of one server.
#[derive(Clone)]
pub struct Administered {
    /// Its agent.
    pub agent: Arc<AgentCell>,
    /// What has happened to its pipe.
    pub pipe: Arc<PipeCounters>,
    /// Its open connections.
    pub connections: Arc<Connections>,
    /// Its shares.
    pub directory: Arc<dyn ShareDirectory>,
    /// Its backends.
    pub backends: Arc<Backends>,
    /// What runs its jobs.
    pub executor: Arc<Executor>,
    /// Its file lists.
    pub targets: FileListEditor,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("servers", &self.parts.servers.keys())
            .finish_non_exhaustive()
    }
}

/// All routes below `/v1`, by subject.
fn routes() -> Routes {
    Routes::default()
        .merge(health::routes())
        .merge(sets::routes())
        .merge(acts::routes())
        .merge(debts::routes())
        .merge(shares::routes())
        .merge(snapshots::routes())
        .merge(sources::routes())
        .merge(space::routes())
        .merge(targets::routes())
        .merge(work::routes())
        .merge(config::routes())
        .merge(events::routes())
}

/// Every path and verb that the socket serves, for the test that holds the description against it.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = routes().endpoints().to_vec();
    endpoints.push(Endpoint {
        verb: "get",
        path: "/metrics",
    });
    endpoints
}

/// The paths that show all of something as JSON and need no name: what a report asks for.
pub fn overviews() -> impl Iterator<Item = &'static str> {
    // The description is no state of the daemon, and to measure space takes minutes; the figures have what was
    // measured last.
    let is_overview = |endpoint: &Endpoint| {
        endpoint.verb == "get"
            && !endpoint.path.contains('{')
            && !matches!(endpoint.path, "/metrics" | "/v1/openapi.json" | "/v1/space")
    };
    let all = endpoints().into_iter().filter(is_overview);
    all.map(|endpoint| endpoint.path)
}

impl Admin {
    /// Shows and directs these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            blocking: Blocking::default(),
        }
    }

    fn router(self) -> Router {
        routes()
            .into_router()
            .route("/metrics", get(figures))
            .fallback(ApiError::no_such_path)
            .with_state(self)
    }

    /// Serves the socket until the task is dropped, and measures what copies cost in this interval.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self,
        listener: UnixListener,
        measure_interval: Duration,
    ) -> std::io::Result<()> {
        tokio::spawn(space::keep_measuring(self.clone(), measure_interval));
        let upkeep = self.parts.prometheus.clone();
        tokio::spawn(async move {
            let mut pause = tokio::time::interval(Duration::from_secs(60));
            loop {
                pause.tick().await;
                upkeep.run_upkeep();
            }
        });
        let service = self
            .router()
            .into_make_service_with_connect_info::<Operator>();
        axum::serve(listener, service).await
    }

    /// Serves the figures, and nothing else, over TCP.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve_metrics(self, listener: TcpListener) -> std::io::Result<()> {
        let router = Router::new()
            .route("/metrics", get(figures))
            .with_state(self);
        axum::serve(listener, router).await
    }

    fn servers(&self) -> impl Iterator<Item = (&String, &Administered)> {
        self.parts.servers.iter()
    }

    fn server(&self, name: &str) -> Result<&Administered, ApiError> {
        let found = self
            .servers()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, server)| server).ok_or_else(|| {
            let known: Vec<_> = self.parts.servers.keys().map(String::as_str).collect();
            ApiError::not_found(format!(
                "no server {name:?}; there are: {}",
                known.join(", ")
            ))
        })
    }

    /// "Every act is logged with who did it."
    fn note_act(
        &self,
        server: &str,
        operator: &Operator,
        act: &'static str,
        target: &str,
        outcome: Result<(), &dyn std::fmt::Display>,
    ) {
        let by = operator.to_string();
        let outcome = match outcome {
            Ok(()) => "done".to_owned(),
            Err(error) => format!("failed: {error}"),
        };
        audit::order(server, &by, act, target, &outcome);
        self.parts
            .history
            .add(server, Record::act(act, target, &by, &outcome));
    }
}

async fn figures(State(admin): State<Admin>) -> impl IntoResponse {
    for (name, server) in admin.servers() {
        metrics::take_backs(name, server.pipe.take_backs());
        metrics::of_view(name, &server.agent.view());
    }
    metrics::uptime(admin.parts.started.elapsed());
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        admin.parts.prometheus.render(),
    )
}
