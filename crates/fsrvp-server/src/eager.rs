//! Looking for the next call without going to sleep: a client that sends one call after the other
//! sends the next within microseconds of an answer, and to be woken up for it takes as long as
//! everything else together.
//!
//! A connection is eager when its last calls came that fast. An eager connection may look for the
//! next call for a moment before it sleeps, but only while no other one is eager: with several of
//! them there is work anyway, and a processor that looks is missing elsewhere.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long the next call is looked for, and how soon it has to come to count as fast.
const LOOK: Duration = Duration::from_micros(50);
/// Calls in a row that make a connection eager.
const IN_A_ROW: u8 = 16;

/// What all connections share.
#[derive(Debug)]
pub struct Eagerness {
    eager: AtomicUsize,
    has_processors: bool,
}

impl Default for Eagerness {
    fn default() -> Self {
        let processors = std::thread::available_parallelism();
        Self {
            eager: AtomicUsize::new(0),
            has_processors: processors.is_ok_and(|processors| processors.get() > 1),
        }
    }
}

/// One connection's part.
#[derive(Debug)]
pub(crate) struct Eager<'a> {
    all: &'a Eagerness,
    answered: Option<Instant>,
    in_a_row: u8,
}

impl<'a> Eager<'a> {
    pub(crate) fn new(all: &'a Eagerness) -> Self {
        Self {
            all,
            answered: None,
            in_a_row: 0,
        }
    }

    /// An answer has been sent. Until when to look for the next call; `None` to sleep at once.
    pub(crate) fn answered(&mut self, now: Instant) -> Option<Instant> {
        self.answered = Some(now);
        let alone = || self.all.eager.load(Ordering::Relaxed) == 1;
        let looks = self.is_eager() && self.all.has_processors && alone();
        looks.then(|| now.checked_add(LOOK)).flatten()
    }

    /// Something has arrived.
    pub(crate) fn arrived(&mut self, now: Instant) {
        let Some(answered) = self.answered.take() else {
            return;
        };
        if now.saturating_duration_since(answered) > 2 * LOOK {
            self.rest();
        } else if !self.is_eager() {
            self.in_a_row = self.in_a_row.saturating_add(1);
            if self.is_eager() {
                self.all.eager.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn is_eager(&self) -> bool {
        self.in_a_row >= IN_A_ROW
    }

    fn rest(&mut self) {
        if self.is_eager() {
            self.all.eager.fetch_sub(1, Ordering::Relaxed);
        }
        self.in_a_row = 0;
    }
}

impl Drop for Eager<'_> {
    fn drop(&mut self) {
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    fn all() -> Eagerness {
        Eagerness {
            eager: AtomicUsize::new(0),
            has_processors: true,
        }
    }

    /// Calls that come `gap` after the answer before; the last answer is looked after, or not.
    fn calls(eager: &mut Eager<'_>, count: u8, gap: Duration) -> bool {
        let mut now = Instant::now();
        for _ in 0..count {
            eager.answered(now);
            now += gap;
            eager.arrived(now);
        }
        eager.answered(now).is_some()
    }

    #[test]
    fn only_fast_calls_in_a_row_are_looked_for() {
        let all = all();
        let mut eager = Eager::new(&all);
        assert!(!calls(&mut eager, IN_A_ROW - 1, MICROSECOND));
        assert!(calls(&mut eager, 1, MICROSECOND));
        assert!(!calls(&mut eager, 1, 1000 * MICROSECOND), "it paused");
        assert!(!calls(&mut eager, IN_A_ROW - 1, MICROSECOND));
    }

    #[test]
    fn nobody_looks_while_two_are_eager() {
        let all = all();
        let (mut one, mut other) = (Eager::new(&all), Eager::new(&all));
        assert!(calls(&mut one, IN_A_ROW, MICROSECOND));
        assert!(!calls(&mut other, IN_A_ROW, MICROSECOND));
        assert!(!calls(&mut one, 1, MICROSECOND));
        drop(other);
        assert!(calls(&mut one, 1, MICROSECOND));
    }

    #[test]
    fn one_processor_is_not_spent_on_looking() {
        let all = Eagerness {
            has_processors: false,
            ..all()
        };
        assert!(!calls(&mut Eager::new(&all), 100, MICROSECOND));
    }
}
