//! Counters and histograms, rendered for Prometheus on the admin socket.

use crate::authz::Refusal;
use dcerpc_proto::FaultStatus;
use dcerpc_proto::assoc::CloseReason;
use fsrvp_idl::{Opnum, Status};
use fsrvp_proto::AgentView;
use fsrvp_proto::set::SetStatus;
use fsrvp_proto::view::SetView;
use metrics::{
    Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Every status of a set.
const STATUSES: [SetStatus; 6] = [
    SetStatus::Started,
    SetStatus::Added,
    SetStatus::CreationInProgress,
    SetStatus::Committed,
    SetStatus::Exposed,
    SetStatus::Recovered,
];

/// Bounds of the phase histograms, in seconds.
const PHASE_BUCKETS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0,
];

/// Installs the recorder of this process.
///
/// # Errors
/// One is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&PHASE_BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

/// What each figure is, as Prometheus shows it.
fn describe() {
    let counters = [
        ("fsrvpd_calls_total", "Answered calls."),
        ("fsrvpd_closed_total", "Connections that fsrvpd closed."),
        ("fsrvpd_faults_total", "RPC faults that were sent."),
        (
            "fsrvpd_pipe_take_backs_total",
            "Times that the pipe's socket was taken back.",
        ),
        ("fsrvpd_refused_total", "Callers who were refused."),
        (
            "fsrvpd_sets_total",
            "Sets that were recovered, or ended otherwise.",
        ),
        (
            "fsrvpd_turned_away_total",
            "Clients for whom there was no place.",
        ),
    ];
    for (name, text) in counters {
        describe_counter!(name, text);
    }
    let gauges = [
        ("fsrvpd_connections", "Open connections."),
        ("fsrvpd_debts", "Things that could not be removed yet."),
        ("fsrvpd_jobs", "Running jobs."),
        ("fsrvpd_oldest_set_seconds", "Age of the oldest set."),
        ("fsrvpd_open_sets", "Sets in each status."),
        (
            "fsrvpd_snapshot_bytes",
            "Bytes that would be free without the copies and kept snapshots of each volume.",
        ),
        ("fsrvpd_snapshots", "Copies on each volume."),
        ("fsrvpd_volume_free_bytes", "Free bytes of each volume."),
        ("fsrvpd_volume_total_bytes", "Size of each volume."),
        ("fsrvpd_uptime_seconds", "How long the daemon has run."),
    ];
    for (name, text) in gauges {
        describe_gauge!(name, text);
    }
    let histograms = [
        (
            "fsrvpd_freeze_seconds",
            "How long clients waited for a Commit, their writers frozen.",
        ),
        ("fsrvpd_phase_seconds", "How long the work of a phase took."),
        (
            "fsrvpd_store_seconds",
            "How long a durable commit of the table took.",
        ),
    ];
    for (name, text) in histograms {
        describe_histogram!(name, text);
    }
}

/// Lets the counters that alerts watch begin at zero: a counter that appears with its first event
/// has grown in nobody's eyes.
pub(crate) fn begin(server: &str) {
    let outcomes = [
        "recovered",
        "aborted",
        "replaced",
        "timed_out",
        "deleted",
        "rebooted",
        "operator",
        "expired",
    ];
    for outcome in outcomes {
        counter!("fsrvpd_sets_total", "server" => server.to_owned(), "outcome" => outcome)
            .increment(0);
    }
    let reasons = [
        "no_identity",
        "unauthenticated",
        "unknown_groups",
        "not_a_member",
        "logon",
        "level",
    ];
    for reason in reasons {
        counter!("fsrvpd_refused_total", "server" => server.to_owned(), "reason" => reason)
            .increment(0);
    }
    for fault in [
        FaultStatus::ACCESS_DENIED,
        FaultStatus::BAD_STUB_DATA,
        FaultStatus::OP_RANGE,
    ] {
        counter!("fsrvpd_faults_total", "status" => format!("{:#010x}", fault.0)).increment(0);
    }
    gauge!("fsrvpd_connections", "server" => server.to_owned()).increment(0.0);
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

/// A call was refused because its authentication level is too low.
pub(crate) fn refused_level(server: &str) {
    counter!("fsrvpd_refused_total", "server" => server.to_owned(), "reason" => "level")
        .increment(1);
}

/// A client was turned away because all connections are taken.
pub(crate) fn turned_away(server: &str) {
    counter!("fsrvpd_turned_away_total", "server" => server.to_owned()).increment(1);
}

/// A fault was sent.
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

/// A Commit was answered: a client's writers were frozen at least as long.
pub(crate) fn freeze(server: &str, took: Duration) {
    histogram!("fsrvpd_freeze_seconds", "server" => server.to_owned()).record(took.as_secs_f64());
}

/// A set has ended, recovered or otherwise.
pub(crate) fn outcome(server: &str, outcome: &'static str) {
    counter!("fsrvpd_sets_total", "server" => server.to_owned(), "outcome" => outcome).increment(1);
}

/// What can be read off an agent's state.
pub(crate) fn of_view(server: &str, view: &AgentView) {
    for status in STATUSES {
        let of_status = view.sets.iter().filter(|set| set.status == status);
        let count = of_status.count();
        gauge!(
            "fsrvpd_open_sets",
            "server" => server.to_owned(),
            "status" => status.name()
        )
        .set(count_as_figure(count));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let age = |set: &SetView| now.saturating_sub(set.changed.unix_seconds());
    let oldest = |recovered: bool| {
        let wanted = view
            .sets
            .iter()
            .filter(|set| (set.status == SetStatus::Recovered) == recovered);
        let seconds = wanted.map(age).max().unwrap_or_default();
        Duration::from_secs(seconds).as_secs_f64()
    };
    for (state, recovered) in [("recovered", true), ("unfinished", false)] {
        gauge!(
            "fsrvpd_oldest_set_seconds",
            "server" => server.to_owned(),
            "state" => state
        )
        .set(oldest(recovered));
    }
    let mut volumes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let committed = view.sets.iter().filter(|set| {
        matches!(
            set.status,
            SetStatus::Committed | SetStatus::Exposed | SetStatus::Recovered
        )
    });
    for copy in committed.flat_map(|set| &set.copies) {
        *volumes.entry((&copy.backend, &copy.volume)).or_default() += 1;
    }
    SNAPSHOTS.with_previous(server, &volumes, |backend, volume, count| {
        gauge!(
            "fsrvpd_snapshots",
            "server" => server.to_owned(),
            "backend" => backend.to_owned(),
            "volume" => volume.to_owned()
        )
        .set(count_as_figure(count));
    });
    gauge!("fsrvpd_jobs", "server" => server.to_owned()).set(count_as_figure(view.jobs.len()));
    gauge!("fsrvpd_debts", "server" => server.to_owned()).set(count_as_figure(view.debts.len()));
}

/// What was measured on a volume, in bytes.
pub(crate) struct VolumeFigures<'a> {
    pub(crate) server: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) volume: &'a str,
    /// Of copies and kept snapshots alone; nothing where the backend cannot say.
    pub(crate) snapshots: Option<u64>,
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// A volume was measured.
pub(crate) fn volume(figures: &VolumeFigures<'_>) {
    for (name, bytes) in [
        ("fsrvpd_snapshot_bytes", figures.snapshots),
        ("fsrvpd_volume_free_bytes", Some(figures.free)),
        ("fsrvpd_volume_total_bytes", Some(figures.total)),
    ] {
        let labels = [
            ("server", figures.server.to_owned()),
            ("backend", figures.backend.to_owned()),
            ("volume", figures.volume.to_owned()),
        ];
        // Prometheus' own word for what is not known; a gauge that was told once cannot be taken back.
        gauge!(name, &labels).set(bytes.map_or(f64::NAN, bytes_as_figure));
    }
}

/// Exact below 8 PiB, which is enough for a figure.
#[allow(
    clippy::cast_precision_loss,
    reason = "figures are floating-point numbers"
)]
fn bytes_as_figure(bytes: u64) -> f64 {
    bytes as f64
}

/// How long the daemon has run.
pub(crate) fn uptime(uptime: Duration) {
    gauge!("fsrvpd_uptime_seconds").set(uptime.as_secs_f64());
}

/// Counts are small enough for a figure.
fn count_as_figure(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The volumes whose snapshots were counted at the last look: one that has none any more is told
/// as zero, not as what it was.
static SNAPSHOTS: Counted = Counted(Mutex::new(BTreeSet::new()));

struct Counted(Mutex<BTreeSet<(String, String, String)>>);

impl Counted {
    fn with_previous(
        &self,
        server: &str,
        now: &BTreeMap<(&str, &str), usize>,
        tell: impl Fn(&str, &str, usize),
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (backend, volume) in now.keys() {
            known.insert((
                server.to_owned(),
                (*backend).to_owned(),
                (*volume).to_owned(),
            ));
        }
        for (of, backend, volume) in known.iter() {
            if of == server {
                let count = now.get(&(backend.as_str(), volume.as_str())).copied();
                tell(backend, volume, count.unwrap_or_default());
            }
        }
    }
}

/// A commit of the store has ended.
pub(crate) fn store_commit(took: Duration, succeeded: bool) {
    let outcome = if succeeded { "stored" } else { "failed" };
    histogram!("fsrvpd_store_seconds", "outcome" => outcome).record(took.as_secs_f64());
}

/// The pipe's socket was taken back.
pub(crate) fn take_backs(server: &str, total: u64) {
    counter!("fsrvpd_pipe_take_backs_total", "server" => server.to_owned()).absolute(total);
}
