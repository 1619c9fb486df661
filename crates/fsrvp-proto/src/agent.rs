//! The agent.

use crate::action::{Action, Call, CallId, Now, PersistId};
use crate::config::AgentConfig;
use crate::durable::Table;
use crate::job::{JobId, JobOutcome};
use crate::own_names::OwnNames;
use crate::view::{AgentView, ContextView};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// The File Share Shadow Copy Agent.
pub struct Agent {
    config: AgentConfig,
    own_names: OwnNames,
    table: Table,
    ids: Box<dyn FnMut() -> Uuid + Send>,
    actions: VecDeque<Action>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("config", &self.config)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that goes on from `table`; `ids` gives a new random GUID each time.
    #[must_use]
    pub fn new(
        config: AgentConfig,
        table: Table,
        ids: Box<dyn FnMut() -> Uuid + Send>,
        _now: Now,
    ) -> Self {
        Self {
            config,
            own_names: OwnNames::default(),
            table,
            ids,
            actions: VecDeque::new(),
        }
    }

    /// Replaces the names and addresses under which clients reach this server.
    pub fn set_own_names(&mut self, own_names: OwnNames) {
        self.own_names = own_names;
    }

    /// A client calls. Answered by exactly one [`Action::Reply`].
    pub fn handle_call(&mut self, _now: Now, _call: Call) {
        let _ = (self.ids)();
    }

    /// The caller of an unanswered call has gone. It counts as waiting to its time-out.
    pub fn handle_caller_gone(&mut self, _now: Now, _call: CallId) {}

    /// A job has ended.
    pub fn handle_job(&mut self, _now: Now, _job: JobId, _outcome: JobOutcome) {}

    /// A commit of the store has ended; `Err` means that nothing of it is durable.
    pub fn handle_persisted(&mut self, _now: Now, _id: PersistId, _result: Result<(), String>) {}

    /// The time that [`Self::poll_timeout`] gave has come. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// When to call [`Self::handle_timeout`], on the clock of [`Now::at`]. Ask again after every
    /// other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// The next action; perform all of them, in order, after every other call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What an operator may see.
    #[must_use]
    pub fn view(&self, _now: Now) -> AgentView {
        let context = self.table.context();
        AgentView {
            server_name: self.config.server_name.clone(),
            profile: self.config.profile,
            context: ContextView {
                is_set: context.current.is_some(),
                current: context.current,
                client_address: context.address,
                retry_count: context.retry_count,
            },
            timer_remaining_ms: None,
            sets: Vec::new(),
            debts: Vec::new(),
            jobs: Vec::new(),
            calls_in_progress: 0,
        }
    }

    /// The server ends: waiters get WAIT_FAILED, jobs are cancelled. What they leave behind is
    /// recovered at the next start.
    pub fn shutdown(&mut self, _now: Now) {}
}
