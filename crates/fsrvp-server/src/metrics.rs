//! Counters and histograms, rendered for Prometheus on the admin socket.

use crate::authz::Refusal;
use dcerpc_proto::FaultStatus;
use dcerpc_proto::assoc::CloseReason;
use fsrvp_idl::{Opnum, Status};
use metrics::{Counter, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// Bounds of the phase histograms, in seconds.
const PHASE_BUCKETS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0,
];

/// Installs the recorder of this process.
///
/// # Errors
/// One is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(&PHASE_BUCKETS)?
        .install_recorder()
}

/// Counts answered calls; the successful ones without a look-up.
#[derive(Debug)]
pub(crate) struct Calls {
    server: String,
    succeeded: Vec<Counter>,
}

impl Calls {
    /// Counters of one server.
    pub(crate) fn new(server: &str) -> Self {
        let succeeded = Opnum::ALL
            .iter()
            .map(|method| counter(server, *method, Status::ZERO));
        Self {
            succeeded: succeeded.collect(),
            server: server.to_owned(),
        }
    }

    /// A call was answered.
    pub(crate) fn answered(&self, method: Opnum, status: Status) {
        match self.succeeded.get(method as usize) {
            Some(counter) if status.is_ok() => counter.increment(1),
            _ => counter(&self.server, method, status).increment(1),
        }
    }
}

fn counter(server: &str, method: Opnum, status: Status) -> Counter {
    counter!(
        "fsrvpd_calls_total",
        "server" => server.to_owned(),
        "method" => format!("{method:?}"),
        "status" => format!("{:#010x}", status.0)
    )
}

/// A caller was refused.
pub(crate) fn refused(server: &str, refusal: &Refusal) {
    let reason = match refusal {
        Refusal::NoIdentity => "no_identity",
        Refusal::Unauthenticated => "unauthenticated",
        Refusal::UnknownGroups => "unknown_groups",
        Refusal::NotAMember => "not_a_member",
    };
    counter!("fsrvpd_refused_total", "server" => server.to_owned(), "reason" => reason)
        .increment(1);
}

/// A logon was refused.
pub(crate) fn refused_logon(server: &str) {
    counter!("fsrvpd_refused_total", "server" => server.to_owned(), "reason" => "logon")
        .increment(1);
}

/// A client was turned away because all connections are taken.
pub(crate) fn turned_away(server: &str) {
    counter!("fsrvpd_turned_away_total", "server" => server.to_owned()).increment(1);
}

/// A call was answered with a fault.
pub(crate) fn faulted(fault: FaultStatus) {
    counter!("fsrvpd_faults_total", "status" => format!("{:#010x}", fault.0)).increment(1);
}

/// We closed a connection.
pub(crate) fn closed(reason: &CloseReason) {
    let reason = match reason {
        CloseReason::Protocol(_) => "protocol",
        CloseReason::Timeout(_) => "timeout",
        _ => "other",
    };
    counter!("fsrvpd_closed_total", "reason" => reason).increment(1);
}

/// A connection began (`1.0`) or ended (`-1.0`).
pub(crate) fn connections(server: &str, change: f64) {
    gauge!("fsrvpd_connections", "server" => server.to_owned()).increment(change);
}

/// A phase of a set has ended.
pub(crate) fn phase(server: &str, phase: &'static str, took: Duration) {
    histogram!("fsrvpd_phase_seconds", "server" => server.to_owned(), "phase" => phase)
        .record(took.as_secs_f64());
}

/// A set has ended, recovered or otherwise.
pub(crate) fn outcome(server: &str, outcome: &'static str) {
    counter!("fsrvpd_sets_total", "server" => server.to_owned(), "outcome" => outcome).increment(1);
}

/// Number of debts that are kept.
pub(crate) fn debts(server: &str, change: f64) {
    gauge!("fsrvpd_debts", "server" => server.to_owned()).increment(change);
}

/// The pipe's socket was taken back.
pub(crate) fn take_backs(server: &str, total: u64) {
    counter!("fsrvpd_pipe_take_backs_total", "server" => server.to_owned()).absolute(total);
}
