//! What the packages take from outside: randomness and the time.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use dcerpc_proto::security::SecurityError;

/// 100 ns intervals between 1601-01-01 and 1970-01-01.
const FILETIME_OF_UNIX_EPOCH: u64 = 116_444_736_000_000_000;

/// Source of random bytes and of the time, so that tests can fix both.
pub trait Environment: Send + Sync + fmt::Debug {
    /// Fills `bytes` with unpredictable values.
    ///
    /// # Errors
    /// [`SecurityError::Unavailable`] if the system has none to give; the logon then fails.
    fn random(&self, bytes: &mut [u8]) -> Result<(), SecurityError>;

    /// The time as a FILETIME: 100 ns intervals since 1601-01-01 UTC.
    fn filetime(&self) -> u64;
}

/// The operating system's random numbers and clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Environment for System {
    fn random(&self, bytes: &mut [u8]) -> Result<(), SecurityError> {
        getrandom::fill(bytes)
            .map_err(|error| SecurityError::Unavailable(format!("random numbers: {error}")))
    }

    fn filetime(&self) -> u64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ticks = u64::try_from(since_epoch.as_nanos() / 100).unwrap_or(u64::MAX);
        ticks.saturating_add(FILETIME_OF_UNIX_EPOCH)
    }
}
