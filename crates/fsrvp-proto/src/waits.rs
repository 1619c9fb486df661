//! The wait is not the work (PROTOCOL.md rule 6): a set's jobs, the calls that wait for them, and
//! outcomes that came when nobody waited.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::calls::{Incoming, Ticket};
use crate::event::{Event, Subject};
use crate::job::{Failure, FailureKind, Job};
use crate::jobs::{Purpose, wrong_outcome};
use crate::live_set::{LiveSet, Outcome, SetJob, SetJobEnd, SetJobKind, Waiter, Work};
use crate::set::{Phase, PhaseRecord, SetStatus, ShadowCopySet};
use crate::timer::SequenceTimer;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, Status};
use std::time::Duration;

/// Event 4364: a cut that takes longer.
const SLOW_COMMIT: Duration = Duration::from_secs(10);

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
            SetJobKind::Keep => self.kept(now, set, end.kept(), took),
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
            self.report_failure(id, work.name(), failure.clone());
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
            SetJobEnd::Done(_) | SetJobEnd::Kept(_) => live
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
        self.fail_waits(now, set, waiters, &failure);
        self.report_failure(set, "undo", failure);
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
            (_, Err(failure)) => self.fail_waits(now, set, waiters, &failure),
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

    /// Answers callers that have waited for what failed, as [`Self::end_waits`].
    pub(crate) fn fail_waits(
        &mut self,
        now: Now,
        set: ShadowCopySetId,
        waiters: Vec<Waiter>,
        failure: &Failure,
    ) {
        for waiter in waiters {
            self.fail(waiter.ticket, failure);
            let short = self.config.short_timer;
            self.timer_of(set).release(now.at, Some(short));
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
        set: ShadowCopySetId,
        operation: &'static str,
        failure: Failure,
    ) {
        let share = failure.share.as_ref();
        let known = self.table.set(set).map(|set| Subject::of(set, share));
        // One that has gone meanwhile is named by its id.
        let subject = known.unwrap_or_else(|| Subject {
            set: Some(set),
            share: share.cloned(),
            ..Subject::default()
        });
        self.push(Action::Report(Event::JobFailed {
            subject,
            operation,
            failure,
        }));
    }
}
