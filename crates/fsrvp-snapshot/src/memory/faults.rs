//! Faults for tests: errors, hangs and hooks at each step of the memory backend.

use crate::backend::BackendError;
use fsrvp_idl::ShadowCopyId;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where a fault can be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Start of `probe`.
    Probe,
    /// Once for each copy in `prepare`.
    Prepare,
    /// Once for each copy in `commit`, before its snapshot is made.
    Commit,
    /// In `commit`, when all snapshots are made and the deadline has not been looked at.
    Committed,
    /// Once for each copy that `commit` undoes; an error leaves the copy behind.
    Undo,
    /// Start of `expose`.
    Expose,
    /// Start of `seal`.
    Seal,
    /// Start of `verify_sealed`.
    Verify,
    /// Start of `delete`.
    Delete,
    /// Start of `enumerate`.
    Enumerate,
    /// Start of `keep`.
    Keep,
    /// Start of `delete_kept`.
    DeleteKept,
}

type MakeError = Arc<dyn Fn() -> BackendError + Send + Sync>;
type Hook = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
enum Fault {
    Fail(MakeError),
    Run(Hook),
    Hang(Gate),
}

/// A fault and when it strikes.
#[derive(Clone)]
pub struct Injection {
    step: Step,
    copy: Option<ShadowCopyId>,
    left: Option<u32>,
    fault: Option<Fault>,
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injection")
            .field("step", &self.step)
            .field("copy", &self.copy)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Injection {
    /// At every pass of `step`, until [`Memory::clear_faults`](super::Memory::clear_faults).
    #[must_use]
    pub const fn at(step: Step) -> Self {
        Self {
            step,
            copy: None,
            left: None,
            fault: None,
        }
    }

    /// Only for this copy.
    #[must_use]
    pub const fn copy(mut self, copy: ShadowCopyId) -> Self {
        self.copy = Some(copy);
        self
    }

    /// Only the next `times` passes.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// The step fails with this error.
    #[must_use]
    pub fn fail(mut self, error: impl Fn() -> BackendError + Send + Sync + 'static) -> Self {
        self.fault = Some(Fault::Fail(Arc::new(error)));
        self
    }

    /// The step first calls `hook`: to move a clock, to set a cancel flag, to look.
    #[must_use]
    pub fn run(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.fault = Some(Fault::Run(Arc::new(hook)));
        self
    }

    /// The step hangs, as a blocked ioctl does, until `gate` is released.
    #[must_use]
    pub fn hang(mut self, gate: &Gate) -> Self {
        self.fault = Some(Fault::Hang(gate.clone()));
        self
    }
}

/// What a hung step waits for.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    waiting: usize,
    open: bool,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Blocks until at least `count` threads hang at the gate.
    pub fn wait_for(&self, count: usize) {
        let mut state = self.state();
        while state.waiting < count {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many threads hang at the gate.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Lets everybody through, now and later.
    pub fn release(&self) {
        self.state().open = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_add(1);
        self.0.1.notify_all();
        while !state.open {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting = state.waiting.saturating_sub(1);
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The faults of one backend, and the steps that it has passed.
#[derive(Debug, Default)]
pub(super) struct Faults {
    injections: Mutex<Vec<Injection>>,
    passed: Mutex<Vec<(Step, Option<ShadowCopyId>)>>,
}

impl Faults {
    pub(super) fn inject(&self, injection: Injection) {
        lock(&self.injections).push(injection);
    }

    pub(super) fn clear(&self) {
        lock(&self.injections).clear();
    }

    pub(super) fn passed(&self) -> Vec<(Step, Option<ShadowCopyId>)> {
        lock(&self.passed).clone()
    }

    /// Records the step and lets every fault that waits for it strike, in the order of injection.
    pub(super) fn pass(&self, step: Step, copy: Option<ShadowCopyId>) -> Result<(), BackendError> {
        lock(&self.passed).push((step, copy));
        for fault in self.due(step, copy) {
            match fault {
                Fault::Fail(error) => return Err(error()),
                Fault::Run(hook) => hook(),
                Fault::Hang(gate) => gate.pass(),
            }
        }
        Ok(())
    }

    /// Takes the faults out under the lock, so that they strike without it.
    fn due(&self, step: Step, copy: Option<ShadowCopyId>) -> Vec<Fault> {
        let mut due = Vec::new();
        for injection in lock(&self.injections).iter_mut() {
            let fits = injection.step == step
                && (injection.copy.is_none() || injection.copy == copy)
                && injection.left != Some(0);
            if fits && let Some(fault) = &injection.fault {
                injection.left = injection.left.map(|left| left.saturating_sub(1));
                due.push(fault.clone());
            }
        }
        due
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
