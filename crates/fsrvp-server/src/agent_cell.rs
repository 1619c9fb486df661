//! The single owner of an agent: calls, job outcomes, commits and time go in one after the other,
//! and what the agent wants done is handed on before the next one gets its turn.
//!
//! The agent computes and never waits, so a plain mutex guards it: a call that needs no job and no
//! commit is answered on the connection's own task without a hop. Jobs run on threads of their own;
//! a job's thread also makes the commits that its outcome leads to, so that a call which waits for
//! both waits for one thread. All other commits are made by the store's thread.

use crate::clock::Clock;
use crate::executor::Executor;
use crate::metrics;
use crate::store::StateStore;
use fsrvp_idl::{Request, Response};
use fsrvp_proto::event::Event;
use fsrvp_proto::{
    Action, Agent, AgentConfig, AgentView, Call, CallId, Caller, Edit, JobId, JobOutcome, Order,
    OrderCall, OrderDone, OrderError, OwnNames, PersistId,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak, mpsc};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Where events go.
pub type EventSink = Box<dyn Fn(Event) + Send + Sync>;

/// An agent with its driver.
pub struct AgentCell {
    state: Mutex<State>,
    /// Held by the thread that makes commits: they are made in the agent's order. Empty once the
    /// last one is made.
    store: Mutex<Option<Arc<dyn StateStore>>>,
    executor: Arc<Executor>,
    clock: Clock,
    events: EventSink,
    timer: Arc<Notify>,
    this: Weak<Self>,
}

struct State {
    agent: Agent,
    next_call: u64,
    waiting: HashMap<CallId, oneshot::Sender<Response>>,
    ordered: HashMap<CallId, oneshot::Sender<Result<OrderDone, OrderError>>>,
    /// The call that is being passed in, and its reply if that comes at once.
    current: Option<(CallId, Option<Response>)>,
    timeout: Option<Duration>,
    commits: VecDeque<(PersistId, Vec<Edit>)>,
    /// Tells the store's thread that there are commits; `None` when none is accepted any more.
    wake: Option<mpsc::Sender<()>>,
    threads: Option<Threads>,
}

impl State {
    fn wake_store(&self) {
        if let Some(wake) = self.wake.as_ref().filter(|_| !self.commits.is_empty()) {
            let _ = wake.send(());
        }
    }
}

struct Threads {
    store: std::thread::JoinHandle<()>,
    timer: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for AgentCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCell").finish_non_exhaustive()
    }
}

impl AgentCell {
    /// Starts to drive an agent: its store's thread and its timer run until the cell is shut down
    /// or dropped. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The store's thread cannot be started.
    pub fn start(
        agent: Agent,
        executor: Arc<Executor>,
        store: Arc<dyn StateStore>,
        clock: Clock,
        events: EventSink,
    ) -> std::io::Result<Arc<Self>> {
        let (wake, woken) = mpsc::channel();
        let cell = Arc::new_cyclic(|this| Self {
            state: Mutex::new(State {
                agent,
                next_call: 0,
                waiting: HashMap::new(),
                ordered: HashMap::new(),
                current: None,
                timeout: None,
                commits: VecDeque::new(),
                wake: Some(wake),
                threads: None,
            }),
            store: Mutex::new(Some(store)),
            executor,
            clock,
            events,
            timer: Arc::default(),
            this: Weak::clone(this),
        });
        let owner = Arc::downgrade(&cell);
        let store = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || commit_when_woken(&woken, &owner))?;
        let timer = tokio::spawn(run_timer(Arc::downgrade(&cell), Arc::clone(&cell.timer)));
        cell.lock().threads = Some(Threads { store, timer });
        cell.with(|_, _| {});
        Ok(cell)
    }

    /// Passes a call to the agent and waits for its reply. Dropping the future tells the agent
    /// that the caller has gone; the call's effects go on.
    pub async fn call(&self, caller: Caller, request: Request) -> Option<Response> {
        let (id, receiver) = {
            let mut state = self.lock();
            let id = CallId(state.next_call);
            state.next_call += 1;
            state.current = Some((id, None));
            state.agent.handle_call(
                self.clock.now(),
                Call {
                    id,
                    caller,
                    request,
                },
            );
            self.pump(&mut state);
            state.wake_store();
            if let Some((_, Some(response))) = state.current.take() {
                return Some(response);
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(id, sender);
            (id, receiver)
        };
        let _gone = CallerGone { cell: self, id };
        receiver.await.ok()
    }

    /// Passes an operator's order to the agent and waits for the answer; `None` when the server
    /// ends before. What was begun goes on if nobody waits any more.
    pub async fn order(&self, order: Order) -> Option<Result<OrderDone, OrderError>> {
        let receiver = {
            let mut state = self.lock();
            let id = CallId(state.next_call);
            state.next_call += 1;
            let (sender, receiver) = oneshot::channel();
            state.ordered.insert(id, sender);
            let order = OrderCall { id, order };
            state.agent.handle_order(self.clock.now(), order);
            self.pump(&mut state);
            state.wake_store();
            receiver
        };
        receiver.await.ok()
    }

    /// Takes over what of a configuration can change while the agent runs.
    pub fn reconfigure(&self, config: AgentConfig) {
        self.with(|agent, now| agent.reconfigure(now, config));
    }

    /// The clocks that drive the agent.
    pub fn now(&self) -> fsrvp_proto::Now {
        self.clock.now()
    }

    /// What the operator may see.
    pub fn view(&self) -> AgentView {
        self.lock().agent.view(self.clock.now())
    }

    /// Replaces the names and addresses under which clients may name this server.
    pub fn set_own_names(&self, names: OwnNames) {
        self.lock().agent.set_own_names(names);
    }

    /// Answers everybody who waits and tells jobs to stop.
    pub fn shut_down(&self) {
        self.with(Agent::shutdown);
    }

    /// Stops driving: no commit is accepted any more, the timer stops. Gives the store's thread,
    /// which ends when the commits handed to it before are done.
    pub fn close(&self) -> Option<std::thread::JoinHandle<()>> {
        let mut state = self.lock();
        state.wake = None;
        let threads = state.threads.take()?;
        threads.timer.abort();
        Some(threads.store)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes something to the agent and leaves the commits to the store's thread.
    fn with(&self, change: impl FnOnce(&mut Agent, fsrvp_proto::Now)) {
        let mut state = self.lock();
        change(&mut state.agent, self.clock.now());
        self.pump(&mut state);
        state.wake_store();
    }

    /// Called on the job's thread, which may block.
    fn job_ended(&self, id: JobId, outcome: JobOutcome) {
        {
            let mut state = self.lock();
            state.agent.handle_job(self.clock.now(), id, outcome);
            self.pump(&mut state);
        }
        match self.store.try_lock() {
            Ok(store) => self.make_commits(store.as_deref()),
            Err(TryLockError::Poisoned(store)) => self.make_commits(store.into_inner().as_deref()),
            Err(TryLockError::WouldBlock) => self.lock().wake_store(),
        }
    }

    /// Makes the commits that the agent has asked for. The caller has locked `store`.
    fn make_commits(&self, store: Option<&dyn StateStore>) {
        let Some(store) = store else { return };
        loop {
            let Some((id, edits)) = self.lock().commits.pop_front() else {
                return;
            };
            let begun = self.clock.monotonic();
            let result = store.commit(&edits);
            let took = self.clock.monotonic().saturating_sub(begun);
            metrics::store_commit(took, result.is_ok());
            let result = result.map_err(|error| {
                tracing::error!(error = %error, "the table could not be stored");
                error.to_string()
            });
            let mut state = self.lock();
            state.agent.handle_persisted(self.clock.now(), id, result);
            self.pump(&mut state);
        }
    }

    /// Performs what the agent asks for, in its order. What is only told to the operator waits
    /// until clients have their replies.
    fn pump(&self, state: &mut State) {
        let mut events = Vec::new();
        while let Some(action) = state.agent.poll_action() {
            match action {
                Action::Persist { id, edits } => {
                    if state.wake.is_some() {
                        state.commits.push_back((id, edits));
                    }
                }
                Action::Run { id, job } => {
                    let [teller, ender] = [&self.this; 2].map(Weak::clone);
                    let out_of_sight = move || {
                        if let Some(cell) = teller.upgrade() {
                            cell.with(|agent, now| agent.handle_out_of_sight(now, id));
                        }
                    };
                    self.executor.start(id, job, out_of_sight, move |outcome| {
                        if let Some(cell) = ender.upgrade() {
                            cell.job_ended(id, outcome);
                        }
                    });
                }
                Action::Cancel { id } => self.executor.cancel(id),
                Action::Reply { id, response } => match &mut state.current {
                    Some((current, reply)) if *current == id => *reply = Some(response),
                    _ => {
                        if let Some(sender) = state.waiting.remove(&id) {
                            let _ = sender.send(response);
                        }
                    }
                },
                Action::Answer { id, result } => {
                    if let Some(sender) = state.ordered.remove(&id) {
                        let _ = sender.send(result);
                    }
                }
                Action::Report(event) => events.push(event),
            }
        }
        let timeout = state.agent.poll_timeout();
        if timeout != state.timeout {
            state.timeout = timeout;
            self.timer.notify_one();
        }
        events.into_iter().for_each(&self.events);
    }
}

/// Tells the agent that nobody waits for the reply any more, unless it has come.
struct CallerGone<'a> {
    cell: &'a AgentCell,
    id: CallId,
}

impl Drop for CallerGone<'_> {
    fn drop(&mut self) {
        let mut state = self.cell.lock();
        if state.waiting.remove(&self.id).is_some() {
            state
                .agent
                .handle_caller_gone(self.cell.clock.now(), self.id);
            self.cell.pump(&mut state);
            state.wake_store();
        }
    }
}

fn commit_when_woken(woken: &mpsc::Receiver<()>, owner: &Weak<AgentCell>) {
    loop {
        let goes_on = woken.recv().is_ok();
        let Some(cell) = owner.upgrade() else { return };
        // Also waits for a job's thread that is making commits: none may be under way at the end.
        let mut store = cell.store.lock().unwrap_or_else(PoisonError::into_inner);
        cell.make_commits(store.as_deref());
        if !goes_on {
            *store = None;
            return;
        }
    }
}

/// Ends with the cell, which wakes it then.
async fn run_timer(owner: Weak<AgentCell>, woken: Arc<Notify>) {
    let timeout = || {
        let cell = owner.upgrade()?;
        let timeout = cell.lock().timeout;
        Some(timeout.map(|at| cell.clock.instant(at)))
    };
    loop {
        let changed = woken.notified();
        match timeout() {
            Some(Some(at)) => tokio::select! {
                () = changed => continue,
                () = tokio::time::sleep_until(at) => {}
            },
            Some(None) => {
                changed.await;
                continue;
            }
            None => return,
        }
        if let Some(cell) = owner.upgrade() {
            cell.with(|agent, now| agent.handle_timeout(now));
        }
    }
}

impl Drop for AgentCell {
    fn drop(&mut self) {
        self.timer.notify_one();
    }
}
