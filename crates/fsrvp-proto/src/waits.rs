//! The wait is not the work (PROTOCOL.md rule 6): a set's jobs, the calls that wait for them, and
//! outcomes that came when nobody waited.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::calls::{Incoming, Pending, Ticket};
use crate::event::Event;
use crate::job::{Artefact, Failure, FailureKind, Job, JobId, JobOutcome};
use crate::jobs::{Purpose, wrong_outcome};
use crate::keeping::Keeping;
use crate::ops::Withdrawal;
use crate::restore::Missing;
use crate::set::{Phase, PhaseRecord, SetStatus, ShadowCopySet};
use crate::timer::SequenceTimer;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, ShareName, Status};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Event 4364: a cut that takes longer.
const SLOW_COMMIT: Duration = Duration::from_secs(10);

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
    undo_failed: bool,
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
    started: Duration,
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
            | JobOutcome::Sealed(result)
            | JobOutcome::Kept(result) => Self::Done(result),
            JobOutcome::Removed(failed) => Self::Removed(failed),
            JobOutcome::Located(_) | JobOutcome::InUse(_) => Self::Done(Err(wrong_outcome())),
        }
    }

    pub(crate) fn result(self) -> Result<(), Failure> {
        match self {
            Self::Done(result) => result,
            Self::Removed(_) => Err(wrong_outcome()),
        }
    }

    pub(crate) fn removed(self) -> Result<(), Failure> {
        match self {
            Self::Removed(failed) => match failed.into_iter().next() {
                Some((_, failure)) => Err(failure),
                None => Ok(()),
            },
            Self::Done(_) => Err(wrong_outcome()),
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
    const fn timed_out(self) -> Status {
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
    fn waiters_of(&mut self, wanted: Work) -> Option<&mut Vec<Waiter>> {
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
    fn waiters_mut(&mut self) -> impl Iterator<Item = (Work, &mut Vec<Waiter>)> {
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

impl Agent {
    /// [3.1.1.2] ShadowCopySet.Status, with what only memory knows.
    pub(crate) fn status_of(&self, set: &ShadowCopySet) -> SetStatus {
        let live = self.live.get(&set.id);
        if set.status == SetStatus::Added && live.is_some_and(LiveSet::is_committing) {
            return SetStatus::CreationInProgress;
        }
        set.status
    }

    /// Lets a call wait for `work` of a set, for at most `timeout`. The state check is done.
    pub(crate) fn wait_for(
        &mut self,
        now: Now,
        set: ShadowCopySetId,
        work: Work,
        ticket: Ticket,
        timeout: Duration,
    ) {
        // "The server MUST stop the Message Sequence Timer"
        self.timer_of(set).hold();
        let until = ticket.arrived.saturating_add(timeout);
        let waiter = Waiter { ticket, until };
        let live = self.live.entry(set).or_default();
        // "a late outcome is stored, and the next call of the same method returns it at once";
        // another method makes it moot.
        if let Some((done, outcome)) = live.late.take()
            && done == work
        {
            return self.conclude(now, set, work, outcome, vec![waiter]);
        }
        // "A second call of the same method joins the running job with its own time-out."
        if let Some(waiters) = live.waiters_of(work) {
            waiters.push(waiter);
        } else {
            live.next.push_back((work, vec![waiter]));
            self.advance(now, set);
        }
    }

    /// Starts what the set has to do next, unless a job works on it.
    pub(crate) fn advance(&mut self, now: Now, id: ShadowCopySetId) {
        let Some(set) = self.table.set(id) else {
            return;
        };
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        if live.running.is_some() {
            return;
        }
        if !live.undo.is_empty() {
            if live.undo_failed && live.next.is_empty() {
                return;
            }
            let shares_of: Vec<_> = set.copies.iter().map(|copy| copy.id).collect();
            let artefacts = live.undo.clone();
            let job = Job::Remove { artefacts };
            return self.run_for(now, id, SetJobKind::Undo, job, shares_of);
        }
        let Some((work, waiters)) = live.next.pop_front() else {
            return;
        };
        let covered: Vec<_> = set.copies.iter().map(|copy| copy.id).collect();
        let job = match work {
            Work::Prepare => {
                live.may_have_copies = true;
                Job::Prepare {
                    set: id,
                    copies: set.sources(),
                }
            }
            Work::Commit => {
                live.may_have_copies = true;
                Job::Commit {
                    set: id,
                    copies: set.sources(),
                    unprepared: covered
                        .iter()
                        .filter(|copy| !live.prepared.contains(copy))
                        .copied()
                        .collect(),
                    writable: set.context.is_auto_recovery(),
                    limit: self.config.commit_limit,
                }
            }
            Work::Expose => {
                live.may_have_shares = true;
                Job::Expose {
                    set: id,
                    shares: set.exposures(),
                }
            }
            Work::Seal => Job::Seal {
                set: id,
                shares: set.exposures(),
            },
        };
        let kind = SetJobKind::Wanted {
            work,
            covered,
            waiters,
        };
        self.run_for(now, id, kind, job, []);
    }

    /// Starts a job for a set that has none.
    pub(crate) fn run_for(
        &mut self,
        now: Now,
        set: ShadowCopySetId,
        kind: SetJobKind,
        job: Job,
        shares_of: impl IntoIterator<Item = ShadowCopyId>,
    ) {
        let id = self.run(now, Purpose::Set(set), job, shares_of);
        self.live.entry(set).or_default().running = Some(SetJob {
            id,
            kind,
            started: now.at,
        });
    }

    /// The job of a set has ended.
    pub(crate) fn set_job_ended(&mut self, now: Now, set: ShadowCopySetId, end: SetJobEnd) {
        let Some(job) = self.live.get_mut(&set).and_then(|live| live.running.take()) else {
            return;
        };
        let took = now.at.saturating_sub(job.started);
        match job.kind {
            SetJobKind::Wanted {
                work,
                covered,
                waiters,
            } => {
                let result = end.result();
                self.note_outcome(set, work, covered, &result, took);
                let outcome = Outcome { result, took };
                if waiters.is_empty() {
                    // "State changes only inside a call: a late outcome is stored", unless the
                    // next step, which makes it moot, has been asked for.
                    let live = self.live.entry(set).or_default();
                    live.late = live.next.is_empty().then_some((work, outcome));
                } else {
                    self.conclude(now, set, work, outcome, waiters);
                }
            }
            SetJobKind::Undo => self.undone(now, set, end),
            SetJobKind::Keep => self.kept(now, set, end.result(), took),
            SetJobKind::Withdraw(withdrawal) => {
                self.share_withdrawn(now, set, withdrawal, end.removed());
            }
            SetJobKind::Restore { copy, share } => {
                self.restored(now, set, (copy, share), end.result());
            }
        }
        self.advance(now, set);
        self.resume_deferred(set);
        self.forget_recovered(set);
    }

    /// A recovered set needs nothing in memory while no job works on it.
    pub(crate) fn forget_recovered(&mut self, id: ShadowCopySetId) {
        let recovered = self.table.set(id).map(|set| set.status) == Some(SetStatus::Recovered);
        let idle = self.live.get(&id).is_some_and(|live| {
            live.running.is_none() && live.missing.is_empty() && live.keeping.is_none()
        });
        if recovered && idle {
            self.live.remove(&id);
        }
    }

    /// What an outcome means, whether or not somebody waits for it.
    fn note_outcome(
        &mut self,
        id: ShadowCopySetId,
        work: Work,
        covered: Vec<ShadowCopyId>,
        result: &Result<(), Failure>,
        took: Duration,
    ) {
        // Rule 7: "A cut that took more than 10 s raises event 4364 whether it succeeded or not."
        if work == Work::Commit && took > SLOW_COMMIT {
            self.push(Action::Report(Event::CommitSlow { set: id, took }));
        }
        if let Err(failure) = result {
            self.report_failure(Some(id), work.name(), failure.clone());
        }
        let Some(set) = self.table.set(id) else {
            return;
        };
        let live = self.live.entry(id).or_default();
        match (work, result) {
            (Work::Prepare, Ok(())) => live.prepared.extend(covered),
            // "Commit error: every snapshot of the set undone". The job has done it where it could;
            // a copy that stayed would pass for the next Commit's, of an older moment.
            (Work::Commit, Err(_)) => {
                live.prepared.clear();
                let artefacts = set.copy_artefacts().map(|(_, artefact)| artefact);
                live.must_undo(artefacts.collect());
            }
            // "Expose error: shares withdrawn": the job does it, unless it was lost.
            (Work::Expose, Err(failure)) if failure.kind == FailureKind::Lost => {
                let artefacts = set.share_artefacts().map(|(_, artefact)| artefact);
                live.must_undo(artefacts.collect());
            }
            (Work::Seal, Ok(()) | Err(_)) => live.is_closed = true,
            (Work::Prepare | Work::Expose, Err(_)) | (Work::Commit | Work::Expose, Ok(())) => {}
        }
    }

    fn undone(&mut self, now: Now, set: ShadowCopySetId, end: SetJobEnd) {
        let live = self.live.entry(set).or_default();
        let failed = match end {
            SetJobEnd::Removed(failed) => failed,
            SetJobEnd::Done(_) => live
                .undo
                .iter()
                .map(|artefact| (artefact.clone(), wrong_outcome()))
                .collect(),
        };
        let Some((_, failure)) = failed.first().cloned() else {
            live.undo.clear();
            return;
        };
        live.undo = failed.into_iter().map(|(artefact, _)| artefact).collect();
        live.undo_failed = true;
        let waiters = live.take_all_waiters();
        live.next.clear();
        let status = failure.status();
        self.report_failure(Some(set), "undo", failure);
        self.end_waits(now, set, waiters, status, self.config.short_timer);
    }

    /// Tells callers how the work ended that they waited for, after storing what it changes.
    fn conclude(
        &mut self,
        now: Now,
        set: ShadowCopySetId,
        work: Work,
        outcome: Outcome,
        waiters: Vec<Waiter>,
    ) {
        match (work, outcome.result) {
            (Work::Prepare, Ok(())) => {
                let took = outcome.took;
                let phase = PhaseRecord::new(Phase::Prepare, now.wall, took);
                self.live.entry(set).or_default().prepare = Some(phase);
                self.push(Action::Report(Event::Prepared { set, took }));
                // "start the Message Sequence Timer with a timeout value of 1800 seconds"
                self.end_waits(now, set, waiters, Status::ZERO, self.config.long_timer);
            }
            (Work::Commit, Ok(())) => self.record_commit(now, set, outcome.took, waiters),
            (Work::Expose, Ok(())) => self.record_expose(now, set, outcome.took, waiters),
            (Work::Seal, Ok(())) => self.record_recovery(now, set, outcome.took, waiters),
            // "If the operation returns an error, the server MUST start the Message Sequence Timer
            // with a timeout value of 180 seconds, and fail the call with the same error code."
            (_, Err(failure)) => {
                for waiter in waiters {
                    self.fail(waiter.ticket, &failure);
                    let short = self.config.short_timer;
                    self.timer_of(set).release(now.at, Some(short));
                }
            }
        }
    }

    /// Answers callers that have waited; the end of the last wait starts the timer.
    pub(crate) fn end_waits(
        &mut self,
        now: Now,
        set: ShadowCopySetId,
        waiters: Vec<Waiter>,
        status: Status,
        timer: Duration,
    ) {
        for waiter in waiters {
            self.finish(waiter.ticket, status);
            self.timer_of(set).release(now.at, Some(timer));
        }
    }

    /// Answers the calls whose waits are over although the work is not.
    pub(crate) fn expire_waits(&mut self, now: Now) {
        let limit = self.config.reply_limit;
        let mut expired = Vec::new();
        let mut too_late = Vec::new();
        for (set, live) in &mut self.live {
            for (work, waiters) in live.waiters_mut() {
                let over = waiters.extract_if(.., |waiter| waiter.until <= now.at);
                expired.extend(over.map(|waiter| (*set, work, waiter)));
            }
            while let Some((call, arrived)) = live
                .deferred
                .pop_front_if(|(_, arrived)| arrived.saturating_add(limit) <= now.at)
            {
                too_late.push(Ticket::of_incoming(&call, arrived));
            }
        }
        for (set, work, waiter) in expired {
            let short = self.config.short_timer;
            self.end_waits(now, set, vec![waiter], work.timed_out(), short);
        }
        for ticket in too_late {
            self.finish(ticket, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
        }
    }

    /// Lets a call wait until no job works on the set.
    pub(crate) fn defer(
        &mut self,
        set: ShadowCopySetId,
        call: impl Into<Incoming>,
        arrived: Duration,
    ) {
        let live = self.live.entry(set).or_default();
        live.deferred.push_back((call.into(), arrived));
    }

    pub(crate) fn resume_deferred(&mut self, set: ShadowCopySetId) {
        if let Some(live) = self.live.get_mut(&set)
            && live.running.is_none()
        {
            let deferred = std::mem::take(&mut live.deferred);
            self.storing.enqueue_first(deferred);
        }
    }

    /// The timer that calls on this set start and stop.
    pub(crate) fn timer_of(&mut self, id: ShadowCopySetId) -> &mut SequenceTimer {
        let exposed = self
            .table
            .set(id)
            .is_some_and(|set| set.status == SetStatus::Exposed);
        if exposed && self.config.profile.sets_exposed_aside() {
            return &mut self.live.entry(id).or_default().own_timer;
        }
        &mut self.timer
    }

    pub(crate) fn report_failure(
        &mut self,
        set: Option<ShadowCopySetId>,
        operation: &'static str,
        failure: Failure,
    ) {
        self.push(Action::Report(Event::JobFailed {
            set,
            operation,
            failure,
        }));
    }
}
