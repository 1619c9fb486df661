//! The agent's events become log lines with fixed fields, and figures.

use crate::metrics;
use fsrvp_proto::event::{EndReason, Event};
use fsrvp_proto::job::Artefact;

/// \[SEEDS\] "CommitSnapshots for SnapshotSetId done in N ms".
const COMMITTED: u32 = 4_089;
/// "The 10 second limit of CommitSnapshots was exceeded".
const COMMIT_SLOW: u32 = 4_364;

/// Reports one event of `server`.
pub fn report(server: &str, event: &Event) {
    match event {
        Event::ContextSet { context, account } => {
            tracing::info!(server, context = %hex(context.bits()), account, "context set");
        }
        Event::SetStarted {
            set,
            context,
            account,
        } => {
            tracing::info!(server, %set, context = %hex(context.bits()), account, "set started");
        }
        Event::ShareAdded { set, copy, share } => {
            tracing::info!(server, %set, %copy, %share, "share added");
        }
        Event::Prepared { set, took } => {
            metrics::phase(server, "prepare", *took);
            tracing::info!(server, %set, milliseconds = took.as_millis(), "set prepared");
        }
        Event::Committed { set, took } => {
            metrics::phase(server, "commit", *took);
            tracing::info!(
                server,
                event_id = COMMITTED,
                %set,
                milliseconds = took.as_millis(),
                "set committed"
            );
        }
        Event::CommitSlow { set, took } => {
            tracing::warn!(
                server,
                event_id = COMMIT_SLOW,
                %set,
                milliseconds = took.as_millis(),
                "the commit exceeded 10 seconds"
            );
        }
        Event::Exposed { set, took } => {
            metrics::phase(server, "expose", *took);
            tracing::info!(server, %set, milliseconds = took.as_millis(), "set exposed");
        }
        Event::Recovered { set, took } => {
            metrics::phase(server, "recover", *took);
            metrics::outcome(server, "recovered");
            tracing::info!(server, %set, milliseconds = took.as_millis(), "set recovered");
        }
        Event::MappingDeleted { set, copy, share } => {
            tracing::info!(server, %set, %copy, %share, "share mapping deleted");
        }
        Event::SetEnded { set, reason, idle } => {
            let outcome = outcome(*reason);
            metrics::outcome(server, outcome);
            match idle {
                Some(idle) => tracing::warn!(
                    server,
                    %set,
                    idle_minutes = idle.as_secs() / 60,
                    idle_seconds = idle.as_secs(),
                    "set aborted: its client has been silent"
                ),
                None => tracing::info!(server, %set, reason = outcome, "set ended"),
            }
        }
        Event::JobFailed {
            set,
            operation,
            failure,
        } => tracing::warn!(
            server,
            set = set.map(|set| set.to_string()),
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
            if *attempts <= 1 {
                metrics::debts(server, 1.0);
            }
            tracing::warn!(
                server,
                artefact = %describe(artefact),
                attempts,
                error = failure.detail,
                "something could not be removed and will be tried again"
            );
        }
        Event::DebtPaid { artefact } => {
            metrics::debts(server, -1.0);
            tracing::info!(server, artefact = %describe(artefact), "removed at last");
        }
        Event::PersistFailed { error } => {
            tracing::error!(
                server,
                error,
                "the table could not be stored; the call failed"
            );
        }
        Event::StoreHangs { since } => tracing::error!(
            server,
            seconds = since.as_secs(),
            "the file system of state_dir does not answer: calls that change something fail until \
             it does; look at its disk"
        ),
        Event::StoreAnswers { after } => tracing::warn!(
            server,
            seconds = after.as_secs(),
            "the file system of state_dir answers again"
        ),
        other => tracing::info!(server, event = ?other, "event"),
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
