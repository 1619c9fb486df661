//! The agent: what goes in, in which order, and what comes out.

use crate::action::{Action, Call, CallId, Now, PersistId};
use crate::calls::{Incoming, Ticket};
use crate::config::AgentConfig;
use crate::debts::Debts;
use crate::durable::Table;
use crate::job::{Artefact, JobId, JobOutcome};
use crate::jobs::{Jobs, Purpose};
use crate::live_set::LiveSet;
use crate::order::OrderCall;
use crate::own_names::OwnNames;
use crate::removal::Removal;
use crate::retention::RetentionState;
use crate::set::SetStatus;
use crate::storing::{Input, MAX_UNSTORED_PAYMENTS, Storing};
use crate::timer::SequenceTimer;
use fsrvp_idl::{ShadowCopySetId, Status};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// The File Share Shadow Copy Agent.
///
/// Calls that change something, and job outcomes that do, are taken one after another: while a
/// change is being stored the others wait. Looking a share up, waiting for a job, and removing what
/// has left the table hold up nobody.
pub struct Agent {
    pub(crate) config: AgentConfig,
    pub(crate) own_names: OwnNames,
    pub(crate) table: Table,
    pub(crate) storing: Storing,
    /// What the sets have in memory only. Recovered sets have an entry only while a call works on
    /// them.
    pub(crate) live: BTreeMap<ShadowCopySetId, LiveSet>,
    /// \[3.1.2\] Message Sequence Timer of the server.
    pub(crate) timer: SequenceTimer,
    pub(crate) jobs: Jobs,
    pub(crate) debts: Debts,
    pub(crate) removals: Vec<Removal>,
    pub(crate) retention: RetentionState,
    pub(crate) open_calls: usize,
    /// Calls that have been answered while something still holds their tickets.
    pub(crate) answered: BTreeSet<CallId>,
    pub(crate) is_stopped: bool,
    ids: Box<dyn FnMut() -> Uuid + Send>,
    actions: VecDeque<Action>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("table", &self.table)
            .field("storing", &self.storing)
            .field("live", &self.live)
            .field("timer", &self.timer)
            .field("jobs", &self.jobs)
            .field("debts", &self.debts)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that goes on from `table`, which [`crate::recover`] has gone through; `ids` gives a
    /// new random GUID each time.
    ///
    /// Sets short of Recovered go on where they were with the timer set to 180 s.
    #[must_use]
    pub fn new(
        config: AgentConfig,
        table: Table,
        ids: Box<dyn FnMut() -> Uuid + Send>,
        now: Now,
    ) -> Self {
        let mut agent = Self {
            config,
            own_names: OwnNames::default(),
            table,
            storing: Storing::default(),
            live: BTreeMap::new(),
            timer: SequenceTimer::default(),
            jobs: Jobs::default(),
            debts: Debts::default(),
            removals: Vec::new(),
            retention: RetentionState::new(now),
            open_calls: 0,
            answered: BTreeSet::new(),
            is_stopped: false,
            ids,
            actions: VecDeque::new(),
        };
        agent.resume(now);
        agent
    }

    /// Rule 17: "Started, Added, Committed and Exposed go on where they were".
    fn resume(&mut self, now: Now) {
        let short = self.config.short_timer;
        let unfinished = self.unfinished_sets();
        if self.table.context().current.is_some() || !unfinished.is_empty() {
            self.timer.start(now.at, short);
        }
        let sets: Vec<_> = self
            .table
            .unrecovered()
            .map(|set| (set.id, set.status, set.undo.clone()))
            .collect();
        for (id, status, undo) in sets {
            let live = self.live.entry(id).or_default();
            for artefact in &undo {
                match artefact {
                    Artefact::Copy(_) => live.may_have_copies = true,
                    Artefact::Share(_) => live.may_have_shares = true,
                }
            }
            live.must_undo(undo);
            if status == SetStatus::Exposed && self.config.profile.sets_exposed_aside() {
                live.own_timer.start(now.at, short);
            }
            self.advance(now, id);
        }
        self.load_debts(now);
        self.resume_keeping(now);
        self.retention_may_be_due(now);
        self.settle(now);
    }

    /// Replaces the names and addresses under which clients reach this server.
    pub fn set_own_names(&mut self, own_names: OwnNames) {
        self.own_names = own_names;
    }

    /// Takes over a configuration that has changed. The server's name and the profile stay: clients
    /// were told the one, and sets are in states that the other decides. Timers that run go on as
    /// they were set.
    pub fn reconfigure(&mut self, now: Now, config: AgentConfig) {
        let retention_changed = self.config.retention != config.retention;
        self.config = AgentConfig {
            server_name: std::mem::take(&mut self.config.server_name),
            profile: self.config.profile,
            ..config
        };
        if retention_changed {
            self.retention_changed(now);
        }
        self.settle(now);
    }

    /// A client calls. Answered by exactly one [`Action::Reply`].
    pub fn handle_call(&mut self, now: Now, call: Call) {
        self.settle(now);
        self.open_calls = self.open_calls.saturating_add(1);
        if self.is_stopped {
            return self.refuse(call, now.at, Status::FSRVP_E_WAIT_FAILED);
        }
        if let Some(call) = self.begin(now, call) {
            self.storing.enqueue(Input::Asked(call.into(), now.at));
        }
        self.settle(now);
    }

    /// An operator orders. Answered by exactly one [`Action::Answer`]; [`Self::handle_caller_gone`]
    /// holds for orders too.
    pub fn handle_order(&mut self, now: Now, order: OrderCall) {
        self.settle(now);
        self.open_calls = self.open_calls.saturating_add(1);
        if self.is_stopped {
            let ticket = Ticket::of_order(&order, now.at);
            return self.finish(ticket, Status::FSRVP_E_WAIT_FAILED);
        }
        let order = Incoming::Order(order);
        self.storing.enqueue(Input::Asked(order, now.at));
        self.settle(now);
    }

    /// The caller of an unanswered call has gone. Nothing changes: "a caller that vanished counts
    /// as waiting to its time-out", and nothing is released on a disconnect.
    pub fn handle_caller_gone(&mut self, now: Now, _call: CallId) {
        self.settle(now);
    }

    /// A job has ended. Called once for each [`Action::Run`], cancelled or not.
    pub fn handle_job(&mut self, now: Now, job: JobId, outcome: JobOutcome) {
        self.settle(now);
        self.jobs.end(job);
        self.storing.enqueue(Input::Job(job, outcome));
        self.settle(now);
    }

    /// Nobody finds any of the artefacts of a running [`Job::Remove`](crate::Job::Remove) any more. The job goes on
    /// until that outlasts a power cut too, and what it removes stays owed until then; but "the
    /// reply goes out when share *and* snapshot are out of sight" (PROTOCOL.md rule 14).
    pub fn handle_out_of_sight(&mut self, now: Now, job: JobId) {
        self.settle(now);
        if let Some(numbers) = self.jobs.debts_of(job) {
            self.removals_progress(now, &numbers, &BTreeMap::new());
        }
        self.settle(now);
    }

    /// A commit of the store has ended; `Err` means that nothing of it is durable.
    pub fn handle_persisted(&mut self, now: Now, id: PersistId, result: Result<(), String>) {
        self.persisted(now, id, result);
        self.settle(now);
    }

    /// The time that [`Self::poll_timeout`] gave has come. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// When to call [`Self::handle_timeout`], on the clock of [`Now::at`]. Ask again after every
    /// other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.is_stopped {
            return None;
        }
        let limit = self.config.reply_limit;
        let waits = self.live.values().filter_map(|live| live.next_limit(limit));
        let removals = self.removals.iter().map(|removal| removal.until(limit));
        let lookups = self.jobs.iter().filter_map(|(_, job)| match &job.purpose {
            Purpose::Lookup(lookup) => Some(lookup.as_ref()?.ticket.arrived.saturating_add(limit)),
            Purpose::Set(_) | Purpose::Orphan | Purpose::Debts(_) | Purpose::Retention(_) => None,
        });
        let soonest = waits.chain(removals).chain(lookups).chain(self.next_due());
        if self.storing.is_busy() {
            return soonest.chain(self.next_unstored()).min();
        }
        // What changes the table waits for the store.
        let withdrawals = self.live.values().filter_map(LiveSet::withdrawal_limit);
        let own_timers = self
            .live
            .values()
            .filter_map(|live| live.own_timer.deadline());
        soonest
            .chain(withdrawals)
            .chain(own_timers)
            .chain(self.next_restore())
            .chain(self.next_keep())
            .chain(self.next_retention())
            .chain(self.timer.deadline())
            .min()
    }

    /// The next action; perform all of them, in order, after every other call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The server ends: whoever waits gets WAIT_FAILED, jobs are told to stop, and so is answered
    /// every later call. What jobs leave behind is recovered at the next start. A commit that is
    /// under way, or that this call asks for, may still be told to [`Self::handle_persisted`].
    pub fn shutdown(&mut self, now: Now) {
        self.settle(now);
        self.is_stopped = true;
        self.settle(now);
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn new_id(&mut self) -> Uuid {
        (self.ids)()
    }

    /// Does everything that can be done now: what came in, and what time has brought.
    fn settle(&mut self, now: Now) {
        if self.is_stopped {
            return self.stop(now);
        }
        loop {
            self.expire_waits(now);
            self.expire_lookups(now);
            self.expire_removals(now);
            self.expire_unstored(now);
            match self.storing.next_input() {
                Some(Input::Asked(Incoming::Call(call), arrived)) => {
                    self.dispatch(now, call, arrived);
                }
                Some(Input::Asked(Incoming::Order(order), arrived)) => {
                    self.obey(now, order, arrived);
                }
                Some(Input::Job(job, outcome)) => self.job_ended(now, job, outcome),
                None if self.storing.is_busy() => break,
                None => {
                    self.expire_withdrawals(now);
                    if !self.storing.is_busy() {
                        self.fire_timers(now);
                    }
                    if !self.storing.is_busy() {
                        self.restore_due(now);
                        self.keep_due(now);
                        self.look_at_retention(now);
                    }
                    if self.storing.is_busy() || self.storing.is_idle() {
                        break;
                    }
                }
            }
        }
        self.pay_due(now);
        self.store_payments(now, MAX_UNSTORED_PAYMENTS);
    }

    fn stop(&mut self, now: Now) {
        let lost = Status::FSRVP_E_WAIT_FAILED;
        for input in self.storing.take_inbox() {
            if let Input::Asked(asked, arrived) = input {
                self.refuse_incoming(asked, arrived, lost);
            }
        }
        let lookups = self.jobs.values_mut().filter_map(|job| job.take_lookup());
        let mut tickets: Vec<_> = lookups.map(|lookup| lookup.ticket).collect();
        for mut live in std::mem::take(&mut self.live).into_values() {
            tickets.extend(
                live.take_all_waiters()
                    .into_iter()
                    .map(|waiter| waiter.ticket),
            );
            let withdrawal = live.running.and_then(|job| job.kind.into_withdrawal());
            tickets.extend(withdrawal.map(|withdrawal| withdrawal.ticket));
            for (asked, arrived) in live.deferred {
                self.refuse_incoming(asked, arrived, lost);
            }
        }
        for ticket in tickets {
            self.finish(ticket, lost);
        }
        // What these calls asked for is durable; only sight is missing.
        self.end_removals(now);
        let jobs: Vec<_> = self.jobs.iter().map(|(id, _)| id).collect();
        for job in jobs {
            self.cancel(job);
        }
        self.store_payments(now, 1);
    }

    pub(crate) fn refuse_incoming(
        &mut self,
        incoming: Incoming,
        arrived: Duration,
        status: Status,
    ) {
        match incoming {
            Incoming::Call(call) => self.refuse(call, arrived, status),
            Incoming::Order(order) => self.finish(Ticket::of_order(&order, arrived), status),
        }
    }

    pub(crate) fn refuse(&mut self, call: Call, arrived: Duration, status: Status) {
        let ticket = Ticket::of(&call, arrived);
        self.reply(ticket, call.request.failed(status));
    }
}
