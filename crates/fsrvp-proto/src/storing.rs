//! Persist, then reply: no change is the agent's state before the store has confirmed it
//! (PROTOCOL.md rule 17).

use crate::action::{Action, Now, PersistId};
use crate::agent::Agent;
use crate::calls::{Incoming, Pending};
use crate::durable::Change;
use crate::event::Event;
use crate::job::{Failure, FailureKind, JobId, JobOutcome};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

/// Debts whose payment may wait in memory for a commit to go with.
pub(crate) const MAX_UNSTORED_PAYMENTS: usize = 256;

type Continuation = Box<dyn FnOnce(&mut Agent, Now, Result<(), Failure>) + Send>;

/// What is being stored, and what waits for it.
#[derive(Default)]
pub(crate) struct Storing {
    last: u64,
    staged: Option<Staged>,
    /// What came in while a change was being stored.
    inbox: VecDeque<Input>,
    /// Paid debts that the store still holds. Recovery finds nothing of them and drops them, so
    /// they go with the next commit and never cost one of their own.
    paid: BTreeSet<u64>,
    /// The last commit failed: payments wait until another has succeeded.
    is_failing: bool,
}

struct Staged {
    id: PersistId,
    change: Change,
    then: Continuation,
    /// When it was handed to the store.
    since: Duration,
    /// The calls that `then` answers.
    callers: Vec<Pending>,
    /// It has taken so long that the store counts as one that hangs.
    is_hung: bool,
}

/// What has to wait while a change is being stored.
#[derive(Debug)]
pub(crate) enum Input {
    Asked(Incoming, Duration),
    Job(JobId, JobOutcome),
}

impl fmt::Debug for Storing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storing")
            .field("staged", &self.staged.as_ref().map(|staged| &staged.change))
            .field("inbox", &self.inbox)
            .field("paid", &self.paid)
            .finish()
    }
}

impl Storing {
    /// Whether a change is being stored.
    pub(crate) const fn is_busy(&self) -> bool {
        self.staged.is_some()
    }

    /// Whether nothing has come in.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_empty()
    }

    pub(crate) fn enqueue(&mut self, input: Input) {
        self.inbox.push_back(input);
    }

    /// Puts deferred calls before what has come in since.
    pub(crate) fn enqueue_first(&mut self, calls: VecDeque<(Incoming, Duration)>) {
        for (call, arrived) in calls.into_iter().rev() {
            self.inbox.push_front(Input::Asked(call, arrived));
        }
    }

    /// The next input, unless a change is being stored.
    pub(crate) fn next_input(&mut self) -> Option<Input> {
        if self.is_busy() {
            return None;
        }
        self.inbox.pop_front()
    }

    /// What is being stored: since when, and the calls that it will answer.
    pub(crate) fn in_flight(&self) -> Option<(Duration, &[Pending])> {
        let staged = self.staged.as_ref()?;
        Some((staged.since, &staged.callers))
    }

    pub(crate) fn is_hung(&self) -> bool {
        self.staged.as_ref().is_some_and(|staged| staged.is_hung)
    }

    /// What is being stored takes too long; false if that is known.
    pub(crate) fn set_hung(&mut self) -> bool {
        let is_hung = |staged: &mut Staged| !std::mem::replace(&mut staged.is_hung, true);
        self.staged.as_mut().is_some_and(is_hung)
    }

    /// When the calls that wait for their turn have arrived.
    pub(crate) fn queued(&self) -> impl Iterator<Item = Duration> {
        self.inbox.iter().filter_map(|input| match input {
            Input::Asked(_, arrived) => Some(*arrived),
            Input::Job(..) => None,
        })
    }

    /// Takes the calls that cannot wait for their turn any longer.
    pub(crate) fn expired(
        &mut self,
        is_over: impl Fn(&Incoming, Duration) -> bool,
    ) -> Vec<(Incoming, Duration)> {
        let mut expired = Vec::new();
        for input in std::mem::take(&mut self.inbox) {
            match input {
                Input::Asked(call, arrived) if is_over(&call, arrived) => {
                    expired.push((call, arrived));
                }
                input => self.inbox.push_back(input),
            }
        }
        expired
    }

    /// The jobs whose outcomes wait for their turn.
    pub(crate) fn queued_jobs(&self) -> impl Iterator<Item = JobId> {
        self.inbox.iter().filter_map(|input| match input {
            Input::Job(job, _) => Some(*job),
            Input::Asked(..) => None,
        })
    }

    /// Takes the outcome of a job before its turn.
    pub(crate) fn take_job(&mut self, job: JobId) -> Option<JobOutcome> {
        let is_it = |input: &Input| matches!(input, Input::Job(id, _) if *id == job);
        let at = self.inbox.iter().position(is_it)?;
        match self.inbox.remove(at)? {
            Input::Job(_, outcome) => Some(outcome),
            Input::Asked(..) => None,
        }
    }

    pub(crate) fn take_inbox(&mut self) -> VecDeque<Input> {
        std::mem::take(&mut self.inbox)
    }

    pub(crate) fn debt_paid(&mut self, number: u64) {
        self.paid.insert(number);
    }
}

impl Agent {
    /// Stores `change`; `then` goes on when the table has it, or with a failure when neither the
    /// store nor the table has, and answers `callers`.
    ///
    /// INVARIANT: called only while nothing is being stored; inputs wait for that.
    pub(crate) fn persist(
        &mut self,
        now: Now,
        mut change: Change,
        callers: Vec<Pending>,
        then: impl FnOnce(&mut Self, Now, Result<(), Failure>) + Send + 'static,
    ) {
        debug_assert!(!self.storing.is_busy(), "one change is stored at a time");
        for number in &self.storing.paid {
            change.debts.entry(*number).or_insert(None);
        }
        let edits = change.edits();
        self.storing.last = self.storing.last.saturating_add(1);
        let id = PersistId(self.storing.last);
        self.storing.staged = Some(Staged {
            id,
            change,
            then: Box::new(then),
            since: now.at,
            callers,
            is_hung: false,
        });
        self.push(Action::Persist { id, edits });
    }

    /// The store has answered.
    pub(crate) fn persisted(&mut self, now: Now, id: PersistId, result: Result<(), String>) {
        let Some(staged) = self.storing.staged.take_if(|staged| staged.id == id) else {
            return;
        };
        let Staged {
            change,
            then,
            since,
            is_hung,
            ..
        } = staged;
        if is_hung {
            let after = now.at.saturating_sub(since);
            self.push(Action::Report(Event::StoreAnswers { after }));
        }
        match result {
            Ok(()) => {
                self.storing.is_failing = false;
                for (number, debt) in &change.debts {
                    if debt.is_none() {
                        self.storing.paid.remove(number);
                    }
                }
                self.table.apply(change);
                then(self, now, Ok(()));
            }
            Err(error) => {
                let failure = self.not_stored(error);
                then(self, now, Err(failure));
            }
        }
    }

    fn not_stored(&mut self, error: String) -> Failure {
        self.storing.is_failing = true;
        self.push(Action::Report(Event::PersistFailed {
            error: error.clone(),
        }));
        Failure::new(
            FailureKind::Other,
            format!("the table could not be stored: {error}"),
        )
    }

    /// Stores the payments that no other commit has taken along, once they are `enough`.
    pub(crate) fn store_payments(&mut self, now: Now, enough: usize) {
        let Storing {
            paid, is_failing, ..
        } = &self.storing;
        if !self.storing.is_busy() && !is_failing && paid.len() >= enough.max(1) {
            self.persist(now, Change::default(), Vec::new(), |_, _, _| {});
        }
    }
}
