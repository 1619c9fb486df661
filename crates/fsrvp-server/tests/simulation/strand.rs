//! Work on real threads of which one at a time runs, up to its next step outside: who goes on, and
//! with which fate, is the scheduler's decision alone.
//!
//! A commit over several backends runs on threads of its own below the job's: they are adopted by
//! the first copy that they work on, and scheduled one by one.

use fsrvp_idl::ShadowCopyId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done.
    Done,
    /// It fails and has done nothing; the number chooses the error.
    Fails(u8),
    /// It is done, and fails all the same.
    FailsAfterwards(u8),
    /// The process has died before it.
    Crash,
}

/// Where a strand stands: the step that it is about to do.
pub(crate) type Point = &'static str;

/// How a strand's work ended.
pub(crate) enum End<T> {
    Value(T),
    Crashed,
    Panicked(String),
}

enum Report<T> {
    At(usize, Point),
    ForkEnded,
    Ended(End<T>),
}

/// Unwinds a strand whose process has died.
struct Crashed;

type Say = Arc<dyn Fn(usize, Option<Point>) + Send + Sync>;

/// A strand's own end.
struct Rope {
    number: usize,
    say: Say,
    fates: Mutex<Receiver<Fate>>,
}

thread_local! {
    static ROPE: RefCell<Option<Arc<Rope>>> = const { RefCell::new(None) };
}

/// Strands that wait for the thread that belongs to them, by the first copy that it works on.
#[derive(Default)]
pub(crate) struct Forks(Mutex<BTreeMap<ShadowCopyId, Arc<Rope>>>);

/// A step outside is about to be done by this thread. Outside of strands every step is done.
pub(crate) fn step(point: Point) -> Fate {
    let rope = ROPE.with_borrow(Clone::clone);
    let Some(rope) = rope else { return Fate::Done };
    (rope.say)(rope.number, Some(point));
    match rope.fates.lock().unwrap().recv() {
        Ok(Fate::Crash) | Err(_) => resume_unwind(Box::new(Crashed)),
        Ok(fate) => fate,
    }
}

/// Until it is dropped, this thread is the fork that works on `copy`, if there is one.
pub(crate) struct Adoption(bool);

impl Forks {
    pub(crate) fn adopt(&self, copy: Option<ShadowCopyId>) -> Adoption {
        let is_ours = ROPE.with_borrow(Option::is_some);
        let rope = copy
            .filter(|_| !is_ours)
            .and_then(|copy| self.0.lock().unwrap().remove(&copy));
        let adopted = rope.is_some();
        if adopted {
            ROPE.set(rope);
        }
        Adoption(adopted)
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        if self.0
            && let Some(rope) = ROPE.take()
        {
            (rope.say)(rope.number, None);
        }
    }
}

/// The scheduler's end of a piece of work.
pub(crate) struct Work<T> {
    reports: Receiver<Report<T>>,
    fates: Vec<Sender<Fate>>,
    waiting: BTreeMap<usize, Point>,
    /// Forks that have not ended.
    forks: usize,
    /// Forks that have not come to their first step.
    fresh: BTreeSet<usize>,
    end: Option<End<T>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl<T: Send + 'static> Work<T> {
    /// Starts the work and lets it come to its first step. `first_copies` are those that several
    /// threads below it begin with.
    pub(crate) fn start(
        forks: &Forks,
        first_copies: &[ShadowCopyId],
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let (sender, reports) = channel();
        let say: Say = {
            let sender: Sender<Report<T>> = sender.clone();
            Arc::new(move |number, point| {
                let report = match point {
                    Some(point) => Report::At(number, point),
                    None => Report::ForkEnded,
                };
                let _ = sender.send(report);
            })
        };
        let mut fates = Vec::new();
        let mut rope = |number| {
            let (fate, receiver) = channel();
            fates.push(fate);
            Arc::new(Rope {
                number,
                say: Arc::clone(&say),
                fates: Mutex::new(receiver),
            })
        };
        let main = rope(0);
        for (index, copy) in first_copies.iter().enumerate() {
            forks.0.lock().unwrap().insert(*copy, rope(index + 1));
        }
        let thread = std::thread::spawn(move || {
            ROPE.set(Some(main));
            let end = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(value) => End::Value(value),
                Err(payload) if payload.is::<Crashed>() => End::Crashed,
                Err(payload) => End::Panicked(
                    payload
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| {
                            payload
                                .downcast_ref::<&str>()
                                .map(|text| (*text).to_owned())
                        })
                        .unwrap_or_default(),
                ),
            };
            let _ = sender.send(Report::Ended(end));
        });
        let mut this = Self {
            reports,
            fates,
            waiting: BTreeMap::new(),
            forks: first_copies.len(),
            fresh: (1..=first_copies.len()).collect(),
            end: None,
            thread: Some(thread),
        };
        this.listen();
        this
    }

    /// The strands that can go on, each with the step that it is about to do.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (usize, Point)> {
        self.waiting.iter().map(|(strand, point)| (*strand, *point))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn into_end(mut self) -> Option<End<T>> {
        self.end.take()
    }

    /// Lets a strand do its step and come to the next one, or to its end.
    pub(crate) fn go_on(&mut self, strand: usize, fate: Fate) {
        if self.waiting.remove(&strand).is_some() {
            let _ = self.fates[strand].send(fate);
            self.listen();
        }
    }

    /// Reads reports until nothing of this work runs.
    fn listen(&mut self) {
        loop {
            match self.reports.recv().expect("the work reports its end") {
                Report::At(strand, point) => {
                    self.waiting.insert(strand, point);
                    // Forks come to their first step together, in any order.
                    let is_first = self.fresh.remove(&strand);
                    if !is_first || self.fresh.is_empty() {
                        return;
                    }
                }
                Report::ForkEnded => {
                    self.forks -= 1;
                    if self.forks > 0 {
                        return;
                    }
                }
                Report::Ended(end) => {
                    self.end = Some(end);
                    return;
                }
            }
        }
    }
}

impl<T> Drop for Work<T> {
    /// The process has died: nothing of the work does another step.
    fn drop(&mut self) {
        self.fates.clear();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
