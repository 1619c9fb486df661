//! Threads for what may hang in a system call.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};

/// Threads that wait for more work when theirs has ended.
const IDLE_THREADS: usize = 8;

/// What a thread does.
pub(super) type Work = Box<dyn FnOnce() + Send>;

type Idle = Mutex<Vec<mpsc::Sender<Work>>>;

/// As many threads as there is work: nothing waits for a thread that hangs, as it would in the
/// runtime's pool, whose number of threads is fixed.
#[derive(Debug, Default)]
pub(super) struct Threads {
    idle: Arc<Idle>,
}

impl Threads {
    /// Runs work at once, on an idle thread or a new one.
    ///
    /// # Errors
    /// The system gives no thread; the work comes back.
    pub(super) fn run(&self, mut work: Work) -> Result<(), (Work, io::Error)> {
        while let Some(thread) = pop(&self.idle) {
            match thread.send(work) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(unsent)) => work = unsent,
            }
        }
        let idle = Arc::downgrade(&self.idle);
        let first = Arc::new(Mutex::new(Some(work)));
        let taken = Arc::clone(&first);
        let spawned = std::thread::Builder::new()
            .name("job".to_owned())
            .spawn(move || {
                if let Some(work) = lock(&taken).take() {
                    work_on(work, &idle);
                }
            });
        match spawned {
            Ok(_) => Ok(()),
            Err(error) => match lock(&first).take() {
                Some(work) => Err((work, error)),
                None => Ok(()),
            },
        }
    }
}

/// Works until nobody has work, or enough others wait for it.
fn work_on(first: Work, idle: &Weak<Idle>) {
    let mut work = first;
    loop {
        work();
        let (sender, receiver) = mpsc::channel();
        {
            let Some(idle) = idle.upgrade() else { return };
            let mut idle = lock(&idle);
            if idle.len() >= IDLE_THREADS {
                return;
            }
            idle.push(sender);
        }
        // Ends when the pool is dropped.
        let Ok(next) = receiver.recv() else { return };
        work = next;
    }
}

fn pop(idle: &Idle) -> Option<mpsc::Sender<Work>> {
    lock(idle).pop()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn a_thread_that_hangs_is_not_waited_for() {
        let threads = Threads::default();
        let gate = Arc::new(Barrier::new(1_001));
        for _ in 0..1_000 {
            let gate = Arc::clone(&gate);
            let work = move || {
                gate.wait();
            };
            assert!(threads.run(Box::new(work)).is_ok());
        }
        // Whoever comes here has found a thousand threads at the gate.
        gate.wait();
    }

    #[test]
    fn few_threads_are_kept_and_they_end_with_the_pool() {
        let threads = Threads::default();
        let gate = Arc::new(Barrier::new(IDLE_THREADS * 2 + 1));
        for _ in 0..IDLE_THREADS * 2 {
            let gate = Arc::clone(&gate);
            let work = move || {
                gate.wait();
            };
            assert!(threads.run(Box::new(work)).is_ok());
        }
        gate.wait();
        let (sender, receiver) = mpsc::channel();
        for _ in 0..IDLE_THREADS * 2 {
            let sender = sender.clone();
            let work = move || sender.send(()).unwrap();
            assert!(threads.run(Box::new(work)).is_ok());
        }
        drop(sender);
        assert_eq!(receiver.iter().count(), IDLE_THREADS * 2);
        let idle = Arc::downgrade(&threads.idle);
        assert!(lock(&threads.idle).len() <= IDLE_THREADS);
        drop(threads);
        // A thread that is about to wait for work holds the list for a moment.
        while idle.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
