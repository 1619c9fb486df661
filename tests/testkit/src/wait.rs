//! Waiting for what other processes and the kernel do in their own time: the one place where tests
//! against real programs sleep. What is ours alone is tested under virtual time.

use std::thread;
use std::time::{Duration, Instant};

/// Shortest and longest pause between two looks.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
/// Between them a pause is this part of the time that has passed, so that no wait, and nothing that
/// is measured by one, comes out longer by more than that.
const PART: u32 = 32;

/// Looks again and again until there is something; nothing if `limit` has passed before.
///
/// # Errors
/// A look that fails.
pub fn until<T, E>(
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let began = Instant::now();
    let [shortest, longest] = PAUSES;
    loop {
        let found = look()?;
        let passed = began.elapsed();
        if found.is_some() || passed > limit {
            return Ok(found);
        }
        thread::sleep((passed / PART).clamp(shortest, longest));
    }
}

/// Whether `holds` comes true before `limit` has passed.
pub fn comes_true(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let found = until::<(), std::convert::Infallible>(limit, || Ok(holds().then_some(())));
    matches!(found, Ok(Some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_find_ends_the_wait() {
        let mut looks = 0;
        let found = until::<_, ()>(Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some("there"))
        });
        assert_eq!((found, looks), (Ok(Some("there")), 3));
    }

    #[test]
    fn nothing_is_found_within_the_limit_and_a_failure_at_once() {
        assert_eq!(until::<(), ()>(Duration::ZERO, || Ok(None)), Ok(None));
        assert_eq!(
            until::<(), _>(Duration::MAX, || Err("broken")),
            Err("broken")
        );
        assert!(!comes_true(Duration::ZERO, || false));
    }
}
