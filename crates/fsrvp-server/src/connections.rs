//! The open connections of a server, for the admin socket and the figures.

use crate::metrics;
use dashmap::DashMap;
use fsrvp_idl::DateTime;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// One open connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    /// Its number, unique while the daemon runs.
    pub id: u64,
    /// Since when it is open, as RFC 3339.
    pub since: String,
    /// `pipe` or `tcp`.
    pub transport: &'static str,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The SMB session's account.
    pub account: Option<String>,
}

/// All open connections of one server.
#[derive(Debug, Default)]
pub struct Connections {
    open: DashMap<u64, ConnectionView>,
    last: AtomicU64,
}

impl Connections {
    /// A connection is open until the value that this gives is dropped.
    pub fn enter(
        self: &Arc<Self>,
        server: &str,
        transport: &'static str,
        client: Option<IpAddr>,
        account: Option<String>,
    ) -> Counted {
        let id = self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = DateTime::from_unix_seconds(since_epoch.unwrap_or_default().as_secs());
        let view = ConnectionView {
            id,
            since: since.to_string(),
            transport,
            client,
            account,
        };
        self.open.insert(id, view);
        metrics::connections(server, 1.0);
        Counted {
            all: Arc::clone(self),
            server: server.to_owned(),
            id,
        }
    }

    /// Those that are open, oldest first.
    #[must_use]
    pub fn view(&self) -> Vec<ConnectionView> {
        let mut views: Vec<_> = self
            .open
            .iter()
            .map(|entry| entry.value().clone())
            .collect();
        views.sort_by_key(|view| view.id);
        views
    }
}

/// An open connection; dropped when it ends.
#[derive(Debug)]
pub struct Counted {
    all: Arc<Connections>,
    server: String,
    id: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.open.remove(&self.id);
        metrics::connections(&self.server, -1.0);
    }
}
