//! What a set has in memory only: the job that works on it, the calls that wait, and what a failed
//! step has left.

use crate::calls::{Incoming, Pending, Ticket};
use crate::job::{Artefact, Failure, JobId, JobOutcome};
use crate::jobs::wrong_outcome;
use crate::keeping::Keeping;
use crate::ops::Withdrawal;
use crate::restore::Missing;
use crate::set::PhaseRecord;
use crate::timer::SequenceTimer;
use fsrvp_idl::{ShadowCopyId, ShareName, Status};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// What a set has in memory only. A restart loses it and goes on from the store.
#[derive(Debug, Default)]
pub(crate) struct LiveSet {
    /// Copies that a Prepare job has covered.
    pub(crate) prepared: BTreeSet<ShadowCopyId>,
    /// The last Prepare that ended well.
    pub(crate) prepare: Option<PhaseRecord>,
    /// When a snapshot is tried to be kept next, and how often it was.
    pub(crate) keeping: Option<Keeping>,
    /// A Prepare or Commit has been tried, so snapshots may exist in some form.
    pub(crate) may_have_copies: bool,
    /// An Expose has been tried, so shares may exist.
    pub(crate) may_have_shares: bool,
    /// A Seal has been tried, so shares may be read-only, and stay so.
    pub(crate) is_closed: bool,
    /// The job that works on the set; there is never a second.
    pub(crate) running: Option<SetJob>,
    /// Work that follows when the running job has ended.
    pub(crate) next: VecDeque<(Work, Vec<Waiter>)>,
    /// An outcome that nobody has been told.
    pub(crate) late: Option<(Work, Outcome)>,
    /// What a failed step has left; removed before the next one.
    pub(crate) undo: Vec<Artefact>,
    /// Removing `undo` has failed; tried again when somebody wants the next step.
    pub(crate) undo_failed: bool,
    /// Shares that the record wants and that are not there.
    pub(crate) missing: Vec<Missing>,
    /// Calls that cannot run beside the running job.
    pub(crate) deferred: VecDeque<(Incoming, Duration)>,
    /// The set's own deadline (ws2012, Exposed).
    pub(crate) own_timer: SequenceTimer,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Prepare,
    Commit,
    Expose,
    Seal,
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) ticket: Ticket,
    pub(crate) until: Duration,
}

/// The job that works on a set.
#[derive(Debug)]
pub(crate) struct SetJob {
    pub(crate) id: JobId,
    pub(crate) kind: SetJobKind,
    pub(crate) started: Duration,
}

#[derive(Debug)]
pub(crate) enum SetJobKind {
    /// Work that calls wait for.
    Wanted {
        work: Work,
        covered: Vec<ShadowCopyId>,
        waiters: Vec<Waiter>,
    },
    /// Removes what a failed step has left.
    Undo,
    /// DeleteShareMapping takes a share out of sight.
    Withdraw(Withdrawal),
    /// A snapshot of the recovered copies is kept.
    Keep,
    /// A share, or the copy behind it, comes back that the record wants.
    Restore {
        copy: ShadowCopyId,
        share: ShareName,
    },
}

/// How a job of a set ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) result: Result<(), Failure>,
    pub(crate) took: Duration,
}

/// A job's outcome without its kind.
#[derive(Debug)]
pub(crate) enum SetJobEnd {
    Done(Result<(), Failure>),
    Kept(Result<BTreeSet<ShadowCopyId>, Failure>),
    Removed(Vec<(Artefact, Failure)>),
}

impl SetJobKind {
    pub(crate) fn into_withdrawal(self) -> Option<Withdrawal> {
        match self {
            Self::Withdraw(withdrawal) => Some(withdrawal),
            Self::Wanted { .. } | Self::Undo | Self::Keep | Self::Restore { .. } => None,
        }
    }
}

impl SetJobEnd {
    pub(crate) fn of(outcome: JobOutcome) -> Self {
        match outcome {
            JobOutcome::Prepared(result)
            | JobOutcome::Committed(result)
            | JobOutcome::Exposed(result)
            | JobOutcome::Reached(result)
            | JobOutcome::Sealed(result) => Self::Done(result),
            JobOutcome::Kept(result) => Self::Kept(result),
            JobOutcome::Removed(failed) => Self::Removed(failed),
            JobOutcome::Located(_) | JobOutcome::InUse(_) => Self::Done(Err(wrong_outcome())),
        }
    }

    pub(crate) fn result(self) -> Result<(), Failure> {
        match self {
            Self::Done(result) => result,
            Self::Kept(_) | Self::Removed(_) => Err(wrong_outcome()),
        }
    }

    pub(crate) fn kept(self) -> Result<BTreeSet<ShadowCopyId>, Failure> {
        match self {
            Self::Kept(result) => result,
            Self::Done(_) | Self::Removed(_) => Err(wrong_outcome()),
        }
    }

    pub(crate) fn removed(self) -> Result<(), Failure> {
        match self {
            Self::Removed(failed) => match failed.into_iter().next() {
                Some((_, failure)) => Err(failure),
                None => Ok(()),
            },
            Self::Done(_) | Self::Kept(_) => Err(wrong_outcome()),
        }
    }
}

impl Work {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::Expose => "expose",
            Self::Seal => "seal",
        }
    }

    /// What a call gets whose wait ends before the job does.
    pub(crate) const fn timed_out(self) -> Status {
        match self {
            Self::Commit => Status::FSSAGENT_E_TIMEOUT,
            Self::Prepare | Self::Expose => Status::FSRVP_E_WAIT_TIMEOUT,
            // RecoveryComplete names no wait: this is our own limit.
            Self::Seal => Status::VSS_E_UNEXPECTED_PROVIDER_ERROR,
        }
    }
}

impl LiveSet {
    /// Whether Commit has been called and its outcome not yet been returned.
    pub(crate) fn is_committing(&self) -> bool {
        let wanted = |work: &Work| *work == Work::Commit;
        self.running_work().as_ref().is_some_and(wanted)
            || self.next.iter().any(|(work, _)| wanted(work))
            || self.late.as_ref().is_some_and(|(work, _)| wanted(work))
    }

    pub(crate) fn running_work(&self) -> Option<Work> {
        match self.running.as_ref()?.kind {
            SetJobKind::Wanted { work, .. } => Some(work),
            SetJobKind::Undo
            | SetJobKind::Keep
            | SetJobKind::Withdraw(_)
            | SetJobKind::Restore { .. } => None,
        }
    }

    /// The waiters of work that runs or follows.
    pub(crate) fn waiters_of(&mut self, wanted: Work) -> Option<&mut Vec<Waiter>> {
        if let Some(SetJob {
            kind: SetJobKind::Wanted { work, waiters, .. },
            ..
        }) = &mut self.running
            && *work == wanted
        {
            return Some(waiters);
        }
        self.next
            .iter_mut()
            .find(|(work, _)| *work == wanted)
            .map(|(_, waiters)| waiters)
    }

    /// Every list of waiters, with what they wait for.
    pub(crate) fn waiters_mut(&mut self) -> impl Iterator<Item = (Work, &mut Vec<Waiter>)> {
        let running = match &mut self.running {
            Some(SetJob {
                kind: SetJobKind::Wanted { work, waiters, .. },
                ..
            }) => Some((*work, waiters)),
            _ => None,
        };
        let next = self.next.iter_mut().map(|(work, waiters)| (*work, waiters));
        running.into_iter().chain(next)
    }

    pub(crate) fn take_all_waiters(&mut self) -> Vec<Waiter> {
        self.waiters_mut()
            .flat_map(|(_, waiters)| std::mem::take(waiters))
            .collect()
    }

    /// When the first wait of the set ends.
    pub(crate) fn next_limit(&self, reply_limit: Duration) -> Option<Duration> {
        let running = match self.running.as_ref().map(|job| &job.kind) {
            Some(SetJobKind::Wanted { waiters, .. }) => waiters.as_slice(),
            Some(
                SetJobKind::Undo
                | SetJobKind::Keep
                | SetJobKind::Withdraw(_)
                | SetJobKind::Restore { .. },
            )
            | None => &[],
        };
        let next = self.next.iter().flat_map(|(_, waiters)| waiters);
        let deferred = self.deferred.iter();
        running
            .iter()
            .chain(next)
            .map(|waiter| waiter.until)
            .chain(deferred.map(|(_, arrived)| arrived.saturating_add(reply_limit)))
            .min()
    }

    /// When the set's deletion of a share has to be answered.
    pub(crate) fn withdrawal_limit(&self) -> Option<Duration> {
        self.withdrawal().map(|(limit, _)| limit)
    }

    /// The deletion that waits for its share to be withdrawn, and when it is to be answered.
    pub(crate) fn withdrawal(&self) -> Option<(Duration, Pending)> {
        match &self.running.as_ref()?.kind {
            SetJobKind::Withdraw(withdrawal) => {
                Some((withdrawal.until, withdrawal.ticket.pending()))
            }
            SetJobKind::Wanted { .. }
            | SetJobKind::Undo
            | SetJobKind::Keep
            | SetJobKind::Restore { .. } => None,
        }
    }

    /// What has to be removed before the set goes on.
    pub(crate) fn must_undo(&mut self, artefacts: Vec<Artefact>) {
        self.undo = artefacts;
        self.undo_failed = false;
    }
}
