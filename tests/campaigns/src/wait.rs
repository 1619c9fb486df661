//! Waiting for what comes about in its own time.

use crate::Outcome;
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks again and again until there is something; nothing if `limit` has passed before.
///
/// # Errors
/// A look that fails.
pub(crate) fn until<T>(
    limit: Duration,
    mut look: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<Option<T>> {
    let began = Instant::now();
    loop {
        let found = look()?;
        if found.is_some() || began.elapsed() > limit {
            return Ok(found);
        }
        thread::sleep(PAUSE);
    }
}
