//! The agent's events become log lines with fixed fields, figures, and a history that the admin
//! socket shows. Every event has a name that never changes: `docs/operations.md` lists them.

mod catalogue;
mod history;
mod record;
mod system_log;

pub use catalogue::{CATALOGUE, message_id};
pub use history::{History, Recorded};
pub use record::{Level, Record};
pub use system_log::{JOURNAL, Receiver, SYSLOG, SystemLog};

use crate::metrics;
use fsrvp_proto::event::{EndReason, Event};
use fsrvp_proto::job::Artefact;

/// \[SEEDS\] "CommitSnapshots for SnapshotSetId done in N ms".
const COMMITTED: u32 = 4_089;
/// "The 10 second limit of CommitSnapshots was exceeded".
const COMMIT_SLOW: u32 = 4_364;

/// The target of the log's lines that tell events.
pub const TARGET: &str = module_path!();

/// Reports one event of `server`.
pub fn report(server: &str, event: &Event, history: &History) {
    let record = Record::of(event);
    log(server, event, record.event);
    history.add(server, record);
}

fn log(server: &str, event: &Event, name: &'static str) {
    match event {
        Event::ContextSet { context, account } => {
            tracing::info!(server, event = name, context = %hex(context.bits()), account, "context set");
        }
        Event::SetStarted {
            set,
            context,
            account,
        } => {
            tracing::info!(server, event = name, %set, context = %hex(context.bits()), account, "set started");
        }
        Event::ShareAdded { set, copy, share } => {
            tracing::info!(server, event = name, %set, %copy, %share, "share added");
        }
        Event::Prepared { set, took } => {
            metrics::phase(server, "prepare", *took);
            tracing::info!(server, event = name, %set, milliseconds = took.as_millis(), "set prepared");
        }
        Event::Committed { set, took } => {
            metrics::phase(server, "commit", *took);
            tracing::info!(
                server, event = name,
                event_id = COMMITTED,
                %set,
                milliseconds = took.as_millis(),
                "set committed"
            );
        }
        Event::CommitSlow { set, took } => {
            tracing::warn!(
                server, event = name,
                event_id = COMMIT_SLOW,
                %set,
                milliseconds = took.as_millis(),
                "the commit exceeded 10 seconds"
            );
        }
        Event::Exposed { set, took } => {
            metrics::phase(server, "expose", *took);
            tracing::info!(server, event = name, %set, milliseconds = took.as_millis(), "set exposed");
        }
        Event::Recovered { set, took } => {
            metrics::phase(server, "recover", *took);
            metrics::outcome(server, "recovered");
            tracing::info!(server, event = name, %set, milliseconds = took.as_millis(), "set recovered");
        }
        Event::MappingDeleted { set, copy, share } => {
            tracing::info!(server, event = name, %set, %copy, %share, "share mapping deleted");
        }
        Event::SetEnded { set, reason, idle } => {
            let outcome = outcome(*reason);
            metrics::outcome(server, outcome);
            match idle {
                Some(idle) => tracing::warn!(
                    server, event = name,
                    %set,
                    idle_minutes = idle.as_secs() / 60,
                    idle_seconds = idle.as_secs(),
                    "set aborted: its client has been silent"
                ),
                None => tracing::info!(server, event = name, %set, reason = outcome, "set ended"),
            }
            if *reason == EndReason::Expired {
                tracing::info!(
                    target: "audit",
                    server,
                    %set,
                    by = "retention",
                    "set deleted"
                );
            }
        }
        Event::JobFailed {
            subject,
            operation,
            failure,
        } => tracing::warn!(
            server, event = name,
            set = subject.set.map(|set| set.to_string()),
            operation,
            status = %failure.status(),
            error = failure.detail,
            "an operation failed"
        ),
        Event::DebtKept {
            artefact,
            failure,
            attempts,
        } => {
            tracing::warn!(
                server, event = name,
                artefact = %describe(artefact),
                attempts,
                error = failure.detail,
                "something could not be removed and will be tried again"
            );
        }
        Event::DebtPaid { artefact } => {
            tracing::info!(server, event = name, artefact = %describe(artefact), "removed at last");
        }
        Event::PersistFailed { error } => {
            tracing::error!(
                server,
                event = name,
                error,
                "the table could not be stored; the call failed"
            );
        }
        Event::StoreHangs { since } => tracing::error!(
            server,
            event = name,
            seconds = since.as_secs(),
            "the file system of state_dir does not answer: calls that change something fail until \
             it does; look at its disk"
        ),
        Event::StoreAnswers { after } => tracing::warn!(
            server,
            event = name,
            seconds = after.as_secs(),
            "the file system of state_dir answers again"
        ),
        Event::ContextExpired { idle } => tracing::info!(
            server,
            event = name,
            idle_minutes = idle.as_secs() / 60,
            "context cleared: its client has been silent"
        ),
        Event::RetentionHeld { set, failure } => tracing::info!(
            server, event = name,
            %set,
            error = failure.as_ref().map(|failure| failure.detail.as_str()),
            "the set has been kept for long enough and stays: a client may have it open"
        ),
        Event::ClockJumped => tracing::warn!(
            server,
            event = name,
            "the clock was set: no set goes by its age within the next hour"
        ),
        Event::Kept { set, copy, share } => {
            tracing::info!(server, event = name, %set, %copy, %share, "a snapshot is kept");
            tracing::info!(
                target: "audit",
                server,
                %set,
                %copy,
                %share,
                by = "policy",
                "snapshot kept"
            );
        }
        Event::KeepFailed {
            set,
            failure,
            is_last,
        } => tracing::warn!(
            server, event = name,
            %set,
            error = failure.detail,
            is_last,
            "a snapshot could not be kept"
        ),
        other => tracing::info!(server, event = name, details = ?other, "event"),
    }
}

fn hex(bits: u32) -> String {
    format!("{bits:#010x}")
}

const fn outcome(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Aborted => "aborted",
        EndReason::Replaced => "replaced",
        EndReason::TimedOut => "timed_out",
        EndReason::Deleted => "deleted",
        EndReason::Rebooted => "rebooted",
        EndReason::Operator => "operator",
        EndReason::Expired => "expired",
    }
}

fn describe(artefact: &Artefact) -> String {
    match artefact {
        Artefact::Share(name) => format!("share {name}"),
        Artefact::Copy(copy) => {
            format!(
                "snapshot {} of {} ({})",
                copy.copy, copy.volume, copy.backend
            )
        }
    }
}
