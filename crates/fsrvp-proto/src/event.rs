//! What the agent tells the operator.

use crate::job::{Artefact, Failure};
use crate::set::ShadowCopySet;
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Context, ShadowCopyId, ShadowCopySetId, ShareName,
};
use std::time::Duration;

/// Why a set ended before it was recovered, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// AbortShadowCopySet.
    Aborted,
    /// A SetContext of the same client.
    Replaced,
    /// The Message Sequence Timer fired.
    TimedOut,
    /// The last mapping was deleted.
    Deleted,
    /// A non-persistent set after a reboot.
    Rebooted,
    /// An operator's order.
    Operator,
    /// Recovered, and kept for as long as the configuration says.
    Expired,
}

/// What an event is about, in the words of the server and of its client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The set.
    pub set: Option<ShadowCopySetId>,
    /// What the client calls the set.
    pub client_set: Option<ClientShadowCopySetId>,
    /// The copy, where it is about one.
    pub copy: Option<ShadowCopyId>,
    /// What the client calls the copy.
    pub client_copy: Option<ClientShadowCopyId>,
    /// The base share, where it is about one.
    pub share: Option<ShareName>,
}

impl Subject {
    /// A set, or that share of it.
    #[must_use]
    pub fn of(set: &ShadowCopySet, share: Option<&ShareName>) -> Self {
        let mut mappings = set.mappings();
        let found = match share {
            Some(share) => mappings.find(|(_, mapping)| mapping.share == *share),
            // A set of one share leaves no doubt.
            None => mappings.next().filter(|_| set.mappings().count() == 1),
        };
        Self {
            set: Some(set.id),
            client_set: set.client_id,
            copy: found.map(|(copy, _)| copy.id),
            client_copy: found.and_then(|(_, mapping)| mapping.client_id),
            share: found.map(|(_, mapping)| mapping.share.clone()),
        }
    }
}

/// One event in the life of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Event {
    /// SetContext succeeded.
    ContextSet { context: Context, account: String },
    /// StartShadowCopySet succeeded.
    SetStarted {
        set: ShadowCopySetId,
        context: Context,
        account: String,
    },
    /// AddToShadowCopySet succeeded.
    ShareAdded {
        set: ShadowCopySetId,
        copy: ShadowCopyId,
        share: ShareName,
    },
    /// Prepare's job has ended well.
    Prepared {
        set: ShadowCopySetId,
        took: Duration,
    },
    /// Event 4089: CommitSnapshots for the set done.
    Committed {
        set: ShadowCopySetId,
        took: Duration,
    },
    /// Event 4364: the cut took more than 10 s, whether it succeeded or not.
    CommitSlow {
        set: ShadowCopySetId,
        took: Duration,
    },
    /// The set is exposed.
    Exposed {
        set: ShadowCopySetId,
        took: Duration,
    },
    /// The set is recovered and sealed.
    Recovered {
        set: ShadowCopySetId,
        took: Duration,
    },
    /// A mapping was deleted.
    MappingDeleted {
        set: ShadowCopySetId,
        copy: ShadowCopyId,
        share: ShareName,
    },
    /// The set is gone. `idle` for time-outs.
    SetEnded {
        set: ShadowCopySetId,
        reason: EndReason,
        idle: Option<Duration>,
    },
    /// The Message Sequence Timer fired before a set was started.
    ContextExpired { idle: Duration },
    /// A job failed.
    JobFailed {
        subject: Subject,
        operation: &'static str,
        failure: Failure,
    },
    /// Something could not be removed and is kept as a debt.
    DebtKept {
        artefact: Artefact,
        failure: Failure,
        attempts: u32,
    },
    /// A debt is paid.
    DebtPaid { artefact: Artefact },
    /// A set has been kept for long enough and stays: a client has it open, or with `failure` that
    /// could not be said.
    RetentionHeld {
        set: ShadowCopySetId,
        failure: Option<Failure>,
    },
    /// The wall clock was set: no set goes by its age before the next look.
    ClockJumped,
    /// A snapshot of a recovered copy is kept.
    Kept {
        set: ShadowCopySetId,
        copy: ShadowCopyId,
        share: ShareName,
    },
    /// A snapshot of a recovered copy could not be kept; with `is_last` it is given up.
    KeepFailed {
        set: ShadowCopySetId,
        failure: Failure,
        is_last: bool,
    },
    /// The table could not be stored.
    PersistFailed { error: String },
    /// The store has not answered for this long; calls that need it fail.
    StoreHangs { since: Duration },
    /// The store that hung has answered after this time.
    StoreAnswers { after: Duration },
}
