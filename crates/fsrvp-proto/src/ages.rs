//! Whether ages by the wall clock can be believed: a clock that is wrong must not make anything
//! old that is deleted then.

use crate::action::Now;
use fsrvp_idl::FileTime;
use std::time::Duration;

/// Time after a start or a jump until ages are believed: a clock that is wrong is put right within
/// it.
const DOUBT: Duration = Duration::from_secs(3_600);
/// A wall clock that has moved by more than this beside the monotonic clock has been set.
const JUMP: Duration = Duration::from_secs(600);

/// Compares the two clocks from look to look.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    last: Now,
    believed_from: Duration,
}

impl Ages {
    /// Begins at a start: nobody knows whether the wall clock is right.
    #[must_use]
    pub const fn new(now: Now) -> Self {
        Self {
            last: now,
            believed_from: now.at.saturating_add(DOUBT),
        }
    }

    /// Looks at the clocks; true when the wall clock has been set since the last look.
    pub fn look(&mut self, now: Now) -> bool {
        let passed = now.at.saturating_sub(self.last.at);
        let wall = between(self.last.wall, now.wall);
        let jumped = wall.abs_diff(passed) > JUMP || now.wall < self.last.wall;
        self.last = now;
        if jumped {
            self.believed_from = now.at.saturating_add(DOUBT);
        }
        jumped
    }

    /// Time until ages are believed; zero when they are.
    #[must_use]
    pub const fn doubt(&self, now: Now) -> Duration {
        self.believed_from.saturating_sub(now.at)
    }
}

/// Time from `from` to `to`; zero if that is before.
pub(crate) fn between(from: FileTime, to: FileTime) -> Duration {
    let ticks = to.0.saturating_sub(from.0);
    Duration::from_nanos(ticks.saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn at(seconds: u64, wall: u64) -> Now {
        Now {
            at: Duration::from_secs(seconds),
            wall: FileTime(wall * 10_000_000),
        }
    }

    #[test]
    fn ages_are_believed_an_hour_after_a_start() {
        let mut ages = Ages::new(at(5, 1_000_005));
        assert!(!ages.look(at(10, 1_000_010)));
        assert_eq!(ages.doubt(at(10, 1_000_010)), Duration::from_secs(HOUR - 5));
        assert_eq!(ages.doubt(at(HOUR + 5, 0)), Duration::ZERO);
    }

    #[test]
    fn a_jump_either_way_begins_the_hour_anew() {
        let year = 365 * 24 * HOUR;
        for wall in [1_000_000 + year, 500_000] {
            let mut ages = Ages::new(at(0, 1_000_000));
            assert!(!ages.look(at(2 * HOUR, 1_000_000 + 2 * HOUR)));
            let now = at(2 * HOUR + 1, wall);
            assert!(ages.look(now));
            assert_eq!(ages.doubt(now), DOUBT);
            // A second look within the hour does not end the doubt.
            let later = at(2 * HOUR + 60, wall + 59);
            assert!(!ages.look(later));
            assert_eq!(ages.doubt(later), Duration::from_secs(HOUR - 59));
        }
    }
}
