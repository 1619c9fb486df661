//! The two clocks that drive the agent.

use fsrvp_idl::FileTime;
use fsrvp_proto::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nobody waits for longer without looking at the time again.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// Monotonic time since the start of the daemon, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Begins at zero now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            at: self.monotonic(),
            wall: FileTime::from_unix(wall),
        }
    }

    /// The monotonic clock alone.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The instant at which the monotonic clock shows `at`; what is further than a year from now
    /// comes then.
    #[must_use]
    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        let farthest = self.monotonic().saturating_add(FAR);
        let instant = self.origin.checked_add(at.min(farthest));
        tokio::time::Instant::from_std(instant.unwrap_or_else(|| Instant::now() + FAR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However long the daemon has run, what lies ahead of it lies ahead.
    #[test]
    fn timers_do_not_fire_early_after_years() {
        for days in [0, 364, 366, 3_660] {
            let running = Duration::from_secs(86_400 * days);
            let clock = Clock {
                origin: Instant::now().checked_sub(running).unwrap(),
            };
            let now = clock.monotonic();
            let ahead = |at: Duration| {
                let instant = clock.instant(at).into_std();
                instant.saturating_duration_since(Instant::now())
            };
            let minute = Duration::from_secs(60);
            let soon = ahead(now + minute);
            assert!(soon <= minute && soon > minute / 2, "{days} days: {soon:?}");
            assert_eq!(ahead(now.saturating_sub(minute)), Duration::ZERO);
            let never = ahead(Duration::MAX);
            assert!(never > FAR / 2 && never <= FAR, "{days} days: {never:?}");
        }
    }
}
