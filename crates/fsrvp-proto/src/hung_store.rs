//! A store that does not answer. It cannot make anything durable, so whoever waits for it is told
//! so in time; the table stays as it was until the store says what has become of the change that
//! it was given, and only then goes on with what that means.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::calls::{Asked, Incoming, Pending, Ticket};
use crate::event::Event;
use crate::job::JobId;
use crate::jobs::Purpose;
use crate::live_set::{SetJobKind, Waiter};
use crate::ops::{Lookup, LookupMethod};
use fsrvp_idl::{Opnum, ShadowCopySetId, Status};
use std::time::Duration;

/// What a call that was held up until its limit still gets to be stored.
const GRACE: Duration = Duration::from_secs(5);

/// The failure of whoever waits for a store that hangs.
const UNSTORED: Status = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;

impl Agent {
    /// Answers the calls that have waited for the store as long as they may.
    pub(crate) fn expire_unstored(&mut self, now: Now) {
        let limit = self.config.reply_limit;
        let is_over = |_: &Incoming, arrived: Duration| arrived.saturating_add(limit) <= now.at;
        for (call, arrived) in self.storing.expired(is_over) {
            self.refuse_incoming(call, arrived, UNSTORED);
        }
        let Some((since, callers)) = self.storing.in_flight() else {
            return;
        };
        let over: Vec<_> = callers
            .iter()
            .filter(|call| self.unstored_limit(since, call) <= now.at)
            .copied()
            .collect();
        for call in over {
            self.answer_before_its_turn(call);
        }
        self.answer_withdrawals(now);
        if self.hung_from().is_some_and(|from| from <= now.at) {
            self.store_hangs(now, since);
        }
    }

    /// When the next of them is to be answered.
    pub(crate) fn next_unstored(&self) -> Option<Duration> {
        let limit = self.config.reply_limit;
        let (since, callers) = self.storing.in_flight()?;
        let callers = callers
            .iter()
            .filter(|call| !self.answered.contains(&call.id))
            .map(|call| self.unstored_limit(since, call));
        let queued = self
            .storing
            .queued()
            .map(|arrived| arrived.saturating_add(limit));
        let withdrawals = self.live.values().filter_map(|live| {
            let (limit, call) = live.withdrawal()?;
            (!self.answered.contains(&call.id)).then_some(limit)
        });
        callers
            .chain(queued)
            .chain(withdrawals)
            .chain(self.hung_from().filter(|_| !self.storing.is_hung()))
            .min()
    }

    /// Whether the store has been told to hang.
    pub(crate) fn hangs_since(&self) -> Option<Duration> {
        let (since, _) = self.storing.in_flight()?;
        self.storing.is_hung().then_some(since)
    }

    /// From when on the change that is being stored counts as one that never may be.
    fn hung_from(&self) -> Option<Duration> {
        let (since, _) = self.storing.in_flight()?;
        Some(since.saturating_add(self.config.store_limit))
    }

    /// Until when a call waits for the change to be stored of which it is a part.
    fn unstored_limit(&self, since: Duration, call: &Pending) -> Duration {
        let hung = since.saturating_add(self.config.store_limit);
        if !bounded(call.asked) {
            return hung;
        }
        let own = call.arrived.saturating_add(self.config.reply_limit);
        own.max(since.saturating_add(GRACE)).min(hung)
    }

    /// Nobody is kept waiting for a store that hangs; what comes in meanwhile is told at once.
    fn store_hangs(&mut self, now: Now, since: Duration) {
        if self.storing.set_hung() {
            let since = now.at.saturating_sub(since);
            self.push(Action::Report(Event::StoreHangs { since }));
        }
        for (call, arrived) in self.storing.expired(|_, _| true) {
            self.refuse_incoming(call, arrived, UNSTORED);
        }
        let outcomes: Vec<_> = self.storing.queued_jobs().collect();
        for job in outcomes {
            self.answer_without_outcome(now, job);
        }
    }

    /// The job has ended, and what it means cannot be stored: those who wait for it are told; the
    /// outcome comes to its turn later, as one that nobody has waited for.
    fn answer_without_outcome(&mut self, now: Now, job: JobId) {
        match self.jobs.purpose_mut(job) {
            Some(Purpose::Lookup(lookup)) => {
                let needs_store = |lookup: &mut Box<Lookup>| {
                    matches!(lookup.method, LookupMethod::AddToShadowCopySet(_))
                };
                if let Some(lookup) = lookup.take_if(needs_store) {
                    self.finish(lookup.ticket, UNSTORED);
                } else if let Some(outcome) = self.storing.take_job(job) {
                    self.job_ended(now, job, outcome);
                }
            }
            Some(Purpose::Set(set)) => {
                let set = *set;
                let waiters = self.take_waiters(set, job);
                self.end_waits(now, set, waiters, UNSTORED, self.config.short_timer);
            }
            Some(Purpose::Orphan | Purpose::Debts(_) | Purpose::Retention(_)) | None => {}
        }
    }

    fn take_waiters(&mut self, set: ShadowCopySetId, job: JobId) -> Vec<Waiter> {
        let running = self
            .live
            .get_mut(&set)
            .and_then(|live| live.running.as_mut())
            .filter(|running| running.id == job);
        match running.map(|running| &mut running.kind) {
            Some(SetJobKind::Wanted { waiters, .. }) => std::mem::take(waiters),
            _ => Vec::new(),
        }
    }

    /// Deletions whose share takes too long to be withdrawn: the record cannot be changed now.
    fn answer_withdrawals(&mut self, now: Now) {
        let over: Vec<_> = self
            .live
            .values()
            .filter_map(|live| live.withdrawal())
            .filter(|(limit, _)| *limit <= now.at)
            .map(|(_, call)| call)
            .collect();
        for call in over {
            self.answer_before_its_turn(call);
        }
    }

    /// Fails a call whose ticket is elsewhere; what that brings later goes nowhere.
    fn answer_before_its_turn(&mut self, call: Pending) {
        if self.answered.contains(&call.id) {
            return;
        }
        self.finish(Ticket::again(call), UNSTORED);
        self.answered.insert(call.id);
    }
}

/// Whether the method has no wait of its own that the client chooses.
const fn bounded(asked: Asked) -> bool {
    !matches!(
        asked,
        Asked::Method(
            Opnum::PrepareShadowCopySet | Opnum::CommitShadowCopySet | Opnum::ExposeShadowCopySet
        )
    )
}
