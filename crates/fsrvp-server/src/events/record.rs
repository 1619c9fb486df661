//! An event as the admin socket shows it.

use super::{COMMIT_SLOW, COMMITTED, describe, hex, outcome};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use fsrvp_proto::event::Event;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The ordinary course of things.
    Info,
    /// Somebody should look.
    Warn,
    /// Something is broken.
    Error,
}

/// One event.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Its name, which never changes.
    pub event: &'static str,
    /// The number that Windows administrators know, for two of them.
    pub event_id: Option<u32>,
    /// How much it matters.
    pub level: Level,
    /// What happened, for people.
    pub message: String,
    /// The set that it is about.
    pub set: Option<ShadowCopySetId>,
    /// The copy.
    pub copy: Option<ShadowCopyId>,
    /// The base share.
    pub share: Option<String>,
    /// What else there is to know.
    pub details: Map<String, Value>,
}

impl Record {
    /// An event with nothing but a name and a message.
    #[must_use]
    pub fn new(event: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self {
            event,
            event_id: None,
            level,
            message: message.into(),
            set: None,
            copy: None,
            share: None,
            details: Map::new(),
        }
    }

    /// An operator's act: who ordered what, and what came of it.
    #[must_use]
    pub fn act(act: &'static str, target: &str, by: &str, outcome: &str) -> Self {
        Self::new(
            "fsrvp.operator.act",
            Level::Info,
            format!("{by}: {act} {target}"),
        )
        .with("act", act)
        .with("target", target)
        .with("by", by)
        .with("outcome", outcome)
    }

    pub(super) fn of(event: &Event) -> Self {
        use Level::{Error, Info, Warn};
        match event {
            Event::ContextSet { context, account } => {
                Self::new("fsrvp.context.set", Info, "context set")
                    .with("context", hex(context.bits()))
                    .with("account", account.as_str())
            }
            Event::SetStarted {
                set,
                context,
                account,
            } => Self::new("fsrvp.set.started", Info, "set started")
                .of_set(*set)
                .with("context", hex(context.bits()))
                .with("account", account.as_str()),
            Event::ShareAdded { set, copy, share } => Self::new(
                "fsrvp.share.added",
                Info,
                format!("share {share} added"),
            )
            .of_copy(*set, *copy, share.as_str()),
            Event::Prepared { set, took } => phase("fsrvp.set.prepared", "prepared", *set, *took),
            Event::Committed { set, took } => Self {
                event_id: Some(COMMITTED),
                ..phase("fsrvp.set.committed", "committed", *set, *took)
            },
            Event::CommitSlow { set, took } => Self {
                event_id: Some(COMMIT_SLOW),
                level: Warn,
                message: "the commit exceeded 10 seconds".to_owned(),
                ..phase("fsrvp.commit.slow", "", *set, *took)
            },
            Event::Exposed { set, took } => phase("fsrvp.set.exposed", "exposed", *set, *took),
            Event::Recovered { set, took } => {
                phase("fsrvp.set.recovered", "recovered and sealed", *set, *took)
            }
            Event::MappingDeleted { set, copy, share } => {
                let message = format!("the copy of share {share} was deleted");
                Self::new("fsrvp.mapping.deleted", Info, message).of_copy(
                    *set,
                    *copy,
                    share.as_str(),
                )
            }
            Event::SetEnded {
                set,
                idle: Some(idle),
                reason,
            } => {
                let minutes = idle.as_secs() / 60;
                let message = format!("set aborted: its client was silent for {minutes} minutes");
                Self::new("cifs.shadowcopy.abort", Warn, message)
                    .of_set(*set)
                    .with("reason", outcome(*reason))
                    .with("idle_minutes", minutes)
                    .with("idle_seconds", idle.as_secs())
            }
            Event::SetEnded {
                set,
                reason,
                idle: None,
            } => {
                let reason = outcome(*reason);
                Self::new("fsrvp.set.ended", Info, format!("set ended: {reason}"))
                    .of_set(*set)
                    .with("reason", reason)
            }
            Event::ContextExpired { idle } => Self::new(
                "fsrvp.context.expired",
                Info,
                "context cleared: its client was silent",
            )
            .with("idle_minutes", idle.as_secs() / 60),
            Event::JobFailed {
                subject,
                operation,
                failure,
            } => {
                let message = format!("{operation} failed: {}", failure.detail);
                let record = Self::new("cifs.shadowcopy.failure", Warn, message)
                    .with("operation", *operation)
                    .with("reason", failure.detail.as_str())
                    .with("status", failure.status().to_string())
                    .with("client_set", text(subject.client_set))
                    .with("client_copy", text(subject.client_copy))
                    .with(
                        "object",
                        text(failure.object.as_ref().map(|path| path.display())),
                    );
                Self {
                    set: subject.set,
                    copy: subject.copy,
                    share: subject.share.as_ref().map(ToString::to_string),
                    ..record
                }
            }
            Event::DebtKept {
                artefact,
                failure,
                attempts,
            } => {
                let message = format!("{} stays: {}", describe(artefact), failure.detail);
                Self::new("fsrvp.debt.kept", Warn, message)
                    .with("artefact", describe(artefact))
                    .with("reason", failure.detail.as_str())
                    .with("attempts", *attempts)
            }
            Event::DebtPaid { artefact } => {
                let artefact = describe(artefact);
                Self::new(
                    "fsrvp.debt.paid",
                    Info,
                    format!("{artefact} removed at last"),
                )
                .with("artefact", artefact)
            }
            Event::RetentionHeld { set, failure } => {
                let message = "kept for long enough, and stays: a client may have it open";
                let record = Self::new("fsrvp.retention.held", Info, message).of_set(*set);
                match failure {
                    Some(failure) => record.with("reason", failure.detail.as_str()),
                    None => record.with("reason", "in use"),
                }
            }
            Event::ClockJumped => Self::new("fsrvp.clock.jumped", Warn, "the clock was set"),
            Event::Kept { set, copy, share } => Self::new(
                "fsrvp.snapshot.kept",
                Info,
                format!("snapshot of {share} kept"),
            )
            .of_copy(*set, *copy, share.as_str()),
            Event::KeepFailed {
                set,
                failure,
                is_last,
            } => {
                let message = format!("no snapshot could be kept: {}", failure.detail);
                Self::new("fsrvp.snapshot.keep_failed", Warn, message)
                    .of_set(*set)
                    .with("reason", failure.detail.as_str())
                    .with("is_last", *is_last)
            }
            Event::PersistFailed { error } => {
                let message = format!("the table could not be stored: {error}");
                Self::new("fsrvp.store.failed", Error, message).with("reason", error.as_str())
            }
            Event::StoreHangs { since } => {
                let message = "the file system of state_dir does not answer";
                Self::new("fsrvp.store.hangs", Error, message).with("seconds", since.as_secs())
            }
            Event::StoreAnswers { after } => {
                let message = "the file system of state_dir answers again";
                Self::new("fsrvp.store.answers", Warn, message).with("seconds", after.as_secs())
            }
            other => Self::new("fsrvp.other", Info, format!("{other:?}")),
        }
    }

    fn of_set(mut self, set: ShadowCopySetId) -> Self {
        self.set = Some(set);
        self
    }

    fn of_copy(mut self, set: ShadowCopySetId, copy: ShadowCopyId, share: &str) -> Self {
        self.set = Some(set);
        self.copy = Some(copy);
        self.share = Some(share.to_owned());
        self
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }
}

/// What is not known is null.
fn text(value: Option<impl ToString>) -> Value {
    value.map_or(Value::Null, |value| Value::String(value.to_string()))
}

fn phase(event: &'static str, done: &str, set: ShadowCopySetId, took: Duration) -> Record {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let message = format!("set {done} in {milliseconds} ms");
    Record::new(event, Level::Info, message)
        .of_set(set)
        .with("milliseconds", milliseconds)
}
