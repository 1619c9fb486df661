//! FILETIME.

use serde::{Deserialize, Serialize};

/// \[MS-DTYP 2.3.3\] FILETIME: 100-nanosecond intervals since 1601-01-01 UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FileTime(pub u64);

/// Intervals between 1601-01-01 and 1970-01-01.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;

impl FileTime {
    /// From a time after the Unix epoch.
    #[must_use]
    pub fn from_unix(since_epoch: std::time::Duration) -> Self {
        let ticks = u64::try_from(since_epoch.as_nanos() / 100).unwrap_or(u64::MAX);
        Self(ticks.saturating_add(UNIX_EPOCH))
    }

    /// Whole seconds since the Unix epoch; zero for earlier times.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0.saturating_sub(UNIX_EPOCH) / 10_000_000
    }
}
