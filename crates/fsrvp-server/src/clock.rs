//! The two clocks that drive the agent.

use fsrvp_idl::FileTime;
use fsrvp_proto::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    /// The instant at which the monotonic clock shows `at`.
    #[must_use]
    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        let far = Duration::from_secs(86_400 * 365);
        let instant = self.origin.checked_add(at.min(far)).unwrap_or(self.origin);
        tokio::time::Instant::from_std(instant)
    }
}
