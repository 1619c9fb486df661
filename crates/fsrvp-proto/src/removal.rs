//! Sets that go: AbortShadowCopySet, SetContext over an unfinished set, the Message Sequence Timer
//! (PROTOCOL.md rules 3, 8, 13, 18).
//!
//! One commit takes the set out of the table and makes debts of all that it may have outside; then
//! a job removes that. The reply comes when everything is out of sight, or after the reply limit;
//! what a running job still holds is not waited for.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::durable::Change;
use crate::event::{EndReason, Event};
use crate::job::{Artefact, Failure};
use crate::set::{SetStatus, ShadowCopySet};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pause before the timer fires again when its effect could not be stored.
const TIMER_RETRY: Duration = Duration::from_secs(10);

/// A call that is answered when debts are paid.
#[derive(Debug)]
pub(crate) struct Removal {
    ticket: Ticket,
    remaining: BTreeSet<u64>,
    failure: Option<Failure>,
    end: RemovalEnd,
}

/// What the answer is.
#[derive(Debug)]
pub(crate) enum RemovalEnd {
    /// Success, or what the backend said: Abort, DeleteShareMapping.
    Outcome,
    /// What SetContext has come to, whatever the backend says.
    Context(Status),
}

impl Agent {
    /// Whether the set is in creation: short of Recovered, and not set aside (ws2012, Exposed).
    fn is_unfinished(&self, set: &ShadowCopySet) -> bool {
        match set.status {
            SetStatus::Started
            | SetStatus::Added
            | SetStatus::CreationInProgress
            | SetStatus::Committed => true,
            SetStatus::Exposed => !self.config.profile.sets_exposed_aside(),
            SetStatus::Recovered => false,
        }
    }

    /// The sets in creation: one, but for a change of profile.
    pub(crate) fn unfinished_sets(&self) -> Vec<ShadowCopySetId> {
        self.table
            .unrecovered()
            .filter(|set| self.is_unfinished(set))
            .map(|set| set.id)
            .collect()
    }

    /// Puts the end of sets into `change`; gives the numbers of the debts that come of it.
    pub(crate) fn remove_sets(
        &mut self,
        now: Now,
        ids: &[ShadowCopySetId],
        change: &mut Change,
    ) -> Vec<u64> {
        let mut numbers = Vec::new();
        for id in ids {
            let Some(set) = self.table.set(*id) else {
                continue;
            };
            let artefacts = self.artefacts_of(set);
            numbers.extend(self.record_debts(now, *id, artefacts, change));
            change.sets.insert(*id, None);
        }
        numbers
    }

    /// All that a set may have outside, shares first.
    fn artefacts_of(&self, set: &ShadowCopySet) -> Vec<(ShadowCopyId, Artefact)> {
        let live = self.live.get(&set.id);
        let mut artefacts = Vec::new();
        if set.is_exposed() || live.is_some_and(|live| live.may_have_shares) {
            artefacts.extend(set.share_artefacts());
        }
        if set.is_committed() || live.is_some_and(|live| live.may_have_copies) {
            artefacts.extend(set.copy_artefacts());
        }
        artefacts
    }

    /// Sets have left the table, durably: "the job is told to stop, waiters get WAIT_FAILED, what
    /// it still delivers is deleted by its owner".
    pub(crate) fn sets_removed(
        &mut self,
        now: Now,
        ids: &[ShadowCopySetId],
        reason: EndReason,
        idle: Option<Duration>,
    ) {
        for id in ids {
            if let Some(mut live) = self.live.remove(id) {
                let waiters = live.take_all_waiters();
                let withdrawal = live.running.and_then(|job| {
                    self.cancel(job.id);
                    self.jobs.disown(job.id);
                    job.kind.into_withdrawal()
                });
                let waiting = waiters.into_iter().map(|waiter| (waiter.ticket, true));
                let withdrawal =
                    withdrawal.map(|withdrawal| (withdrawal.ticket, withdrawal.holds_timer));
                for (ticket, holds_timer) in waiting.chain(withdrawal) {
                    self.finish(ticket, Status::FSRVP_E_WAIT_FAILED);
                    // A set with a timer of its own has taken it along.
                    if holds_timer && !live.own_timer.is_used() {
                        self.timer.release(now.at, None);
                    }
                }
                self.storing.enqueue_first(live.deferred);
            }
            let set = *id;
            self.push(Action::Report(Event::SetEnded { set, reason, idle }));
        }
    }

    /// Sets that recovery has dropped because their context does not outlive a reboot.
    pub fn handle_rebooted(&mut self, sets: &[ShadowCopySetId]) {
        for set in sets {
            self.push(Action::Report(Event::SetEnded {
                set: *set,
                reason: EndReason::Rebooted,
                idle: None,
            }));
        }
    }

    /// Pays the debts of a removal, and answers the call that brought it about.
    pub(crate) fn answer_when_paid(
        &mut self,
        now: Now,
        ticket: Ticket,
        numbers: &[u64],
        end: RemovalEnd,
    ) {
        self.owe(now, numbers);
        // Nobody waits any more for what took too long to be stored.
        let is_awaited = !self.answered.contains(&ticket.pending().id);
        let removal = Removal {
            ticket,
            remaining: self.pay(now, numbers),
            failure: None,
            end,
        };
        if removal.remaining.is_empty() || !is_awaited {
            self.answer_removal(now, removal);
        } else {
            self.removals.push(removal);
        }
    }

    /// Debts were tried; `failures` of them are not paid.
    pub(crate) fn removals_progress(
        &mut self,
        now: Now,
        tried: &[u64],
        failures: &BTreeMap<u64, Failure>,
    ) {
        for removal in &mut self.removals {
            for number in tried {
                if removal.remaining.remove(number)
                    && let Some(failure) = failures.get(number)
                {
                    removal.failure.get_or_insert_with(|| failure.clone());
                }
            }
        }
        let ended: Vec<_> = self
            .removals
            .extract_if(.., |removal| removal.remaining.is_empty())
            .collect();
        for removal in ended {
            self.answer_removal(now, removal);
        }
    }

    /// Rule 18: "SetContext, Abort, Delete and RecoveryComplete answer within 170 s; the rest
    /// becomes a debt."
    pub(crate) fn expire_removals(&mut self, now: Now) {
        let limit = self.config.reply_limit;
        let expired: Vec<_> = self
            .removals
            .extract_if(.., |removal| removal.until(limit) <= now.at)
            .collect();
        for removal in expired {
            self.answer_removal(now, removal);
        }
    }

    /// Answers every call that waits for debts, as far as they are paid.
    pub(crate) fn end_removals(&mut self, now: Now) {
        for removal in std::mem::take(&mut self.removals) {
            self.answer_removal(now, removal);
        }
    }

    fn answer_removal(&mut self, now: Now, removal: Removal) {
        match removal.end {
            RemovalEnd::Outcome => match removal.failure {
                Some(failure) => self.fail(removal.ticket, &failure),
                None => self.finish(removal.ticket, Status::ZERO),
            },
            // Rule 13: "SetContext and the timer ignore such errors."
            RemovalEnd::Context(status) => {
                self.finish(removal.ticket, status);
                if !status.is_ok() {
                    return;
                }
                if self.table.context().current.is_some() {
                    let short = self.config.short_timer;
                    self.timer.release_unless_started(now.at, short);
                } else {
                    self.timer.release(now.at, None);
                }
            }
        }
    }

    /// [3.1.5] "When the Message Sequence Timer elapses, the server MUST delete the ShadowCopySet
    /// where ShadowCopySet.Status is not equal to "Recovered", ContextSet MUST be set to FALSE,
    /// ShadowCopyClientAddress MUST be set to NULL".
    pub(crate) fn fire_timers(&mut self, now: Now) {
        let mut change = Change::default();
        let mut expired = Vec::new();
        let fired = self.timer.fired(now.at);
        if let Some(idle) = fired {
            if self.table.context().current.is_some() {
                change.context = Some(self.table.context().cleared());
            }
            expired.extend(self.unfinished_sets().into_iter().map(|id| (id, idle)));
        }
        for (id, live) in &self.live {
            expired.extend(live.own_timer.fired(now.at).map(|idle| (*id, idle)));
        }
        if change.context.is_none() && expired.is_empty() {
            if fired.is_some() {
                self.timer.stop();
            }
            return;
        }
        let ids: Vec<_> = expired.iter().map(|(id, _)| *id).collect();
        let numbers = self.remove_sets(now, &ids, &mut change);
        self.persist(now, change, Vec::new(), move |agent, now, stored| {
            if stored.is_err() {
                agent.try_timers_later(now, fired.is_some(), &ids);
                return;
            }
            if let Some(idle) = fired {
                agent.timer.stop();
                if expired.is_empty() {
                    agent.push(Action::Report(Event::ContextExpired { idle }));
                }
            }
            for (id, idle) in expired {
                agent.sets_removed(now, &[id], EndReason::TimedOut, Some(idle));
            }
            agent.owe(now, &numbers);
            agent.pay(now, &numbers);
        });
    }

    fn try_timers_later(&mut self, now: Now, server: bool, ids: &[ShadowCopySetId]) {
        if server {
            self.timer.start(now.at, TIMER_RETRY);
        }
        for id in ids {
            if let Some(live) = self.live.get_mut(id)
                && live.own_timer.fired(now.at).is_some()
            {
                live.own_timer.start(now.at, TIMER_RETRY);
            }
        }
    }
}

impl Removal {
    pub(crate) fn until(&self, limit: Duration) -> Duration {
        self.ticket.arrived.saturating_add(limit)
    }
}
