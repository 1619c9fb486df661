//! How soon the socket is taken back.

use std::time::{Duration, Instant};

/// Losses in a row that are answered at once.
const AT_ONCE: u32 = 5;
/// After this time without a loss the count starts anew.
const QUIET: Duration = Duration::from_secs(60);
/// First delay when the losses do not stop.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// How long an absent socket is left absent: whoever removed it is about to bind its own, and
/// would fail if it met ours.
const SETTLE: Duration = Duration::from_millis(5);

/// Answers losses at once, unless somebody else takes the name back just as eagerly: then ever
/// more slowly, so that two agents do not fight in a tight loop.
#[derive(Debug, Default)]
pub(super) struct TakeBack {
    losses: u32,
    last: Option<Instant>,
}

/// When to act on a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    /// How long to wait.
    pub(super) wait: Duration,
    /// Whether this is a fight.
    pub(super) contested: bool,
}

impl TakeBack {
    /// The socket was lost at `now`; `absent` says whether nobody has the name.
    pub(super) fn lost(&mut self, now: Instant, absent: bool) -> Delay {
        if self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) > QUIET)
        {
            self.losses = 0;
        }
        self.last = Some(now);
        self.losses = self.losses.saturating_add(1);
        match self.losses.checked_sub(AT_ONCE) {
            None | Some(0) => Delay {
                wait: if absent { SETTLE } else { Duration::ZERO },
                contested: false,
            },
            Some(over) => {
                let doublings = 2_u32.saturating_pow(over.saturating_sub(1));
                Delay {
                    wait: FIRST_DELAY.saturating_mul(doublings).min(LONGEST_DELAY),
                    contested: true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_fought_ever_more_slowly() {
        let start = Instant::now();
        let mut policy = TakeBack::default();
        let waits: Vec<u64> = (0..14)
            .map(|n| {
                let delay = policy.lost(start + Duration::from_millis(n), false);
                assert_eq!(delay.contested, n >= 5);
                u64::try_from(delay.wait.as_millis()).unwrap()
            })
            .collect();
        let expected = [
            0, 0, 0, 0, 0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
        ];
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_quiet_minute_ends_the_fight() {
        let start = Instant::now();
        let mut policy = TakeBack::default();
        for _ in 0..10 {
            policy.lost(start, false);
        }
        let later = start + QUIET + Duration::from_millis(1);
        let delay = policy.lost(later, false);
        assert_eq!(delay.wait, Duration::ZERO);
        assert!(!delay.contested);
    }

    #[test]
    fn an_absent_socket_is_left_for_a_moment() {
        let mut policy = TakeBack::default();
        assert_eq!(policy.lost(Instant::now(), true).wait, SETTLE);
    }
}
