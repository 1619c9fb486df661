//! Looking for the next call without going to sleep: a client that sends one call after the other
//! sends the next within microseconds of an answer, and to be woken up for it takes as long as
//! everything else together.
//!
//! A connection is eager when its last calls came that fast and nobody else's came in between. Only
//! then it looks for the next call for a moment before it sleeps: with several busy clients there
//! is work anyway, and a processor that looks is missing elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the next call is looked for, and half of how soon it has to come to count as fast.
const LOOK: Duration = Duration::from_micros(50);
/// Calls in a row that make a connection eager.
const IN_A_ROW: u8 = 16;

/// What all connections share.
#[derive(Debug)]
pub struct Eagerness {
    /// Calls of all connections.
    arrivals: AtomicU64,
    has_processors: bool,
}

impl Default for Eagerness {
    fn default() -> Self {
        let processors = std::thread::available_parallelism();
        Self {
            arrivals: AtomicU64::new(0),
            has_processors: processors.is_ok_and(|processors| processors.get() > 1),
        }
    }
}

/// One connection's part.
#[derive(Debug)]
pub(crate) struct Eager<'a> {
    all: &'a Eagerness,
    answered: Option<Instant>,
    last: u64,
    in_a_row: u8,
}

impl<'a> Eager<'a> {
    pub(crate) fn new(all: &'a Eagerness) -> Self {
        Self {
            all,
            answered: None,
            last: 0,
            in_a_row: 0,
        }
    }

    /// An answer has been sent. Until when to look for the next call; `None` to sleep at once.
    pub(crate) fn answered(&mut self, now: Instant) -> Option<Instant> {
        self.answered = Some(now);
        let looks = self.in_a_row >= IN_A_ROW && self.all.has_processors;
        looks.then(|| now.checked_add(LOOK)).flatten()
    }

    /// Something has arrived.
    pub(crate) fn arrived(&mut self, now: Instant) {
        let before = self.all.arrivals.fetch_add(1, Ordering::Relaxed);
        let alone = before == self.last;
        self.last = before.wrapping_add(1);
        let Some(answered) = self.answered.take() else {
            return;
        };
        let fast = now.saturating_duration_since(answered) <= 2 * LOOK;
        self.in_a_row = match alone && fast {
            true => self.in_a_row.saturating_add(1),
            false => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    fn all() -> Eagerness {
        Eagerness {
            arrivals: AtomicU64::new(0),
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
    fn nobody_looks_while_calls_of_others_come_in_between() {
        let all = all();
        let (mut one, mut other) = (Eager::new(&all), Eager::new(&all));
        assert!(calls(&mut one, IN_A_ROW + 1, MICROSECOND));
        assert!(calls(&mut other, IN_A_ROW + 1, MICROSECOND), "one is idle");
        for _ in 0..100 {
            assert!(!calls(&mut one, 1, MICROSECOND));
            assert!(!calls(&mut other, 1, MICROSECOND));
        }
        assert!(calls(&mut one, IN_A_ROW + 1, MICROSECOND));
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
