//! Keeps a client from filling the log: so many lines a span, the rest counted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines that pass in one span.
const LINES: u32 = 20;
/// The span.
const SPAN: Duration = Duration::from_secs(10);

/// A gate for one kind of line.
#[derive(Debug, Default)]
pub struct LogGate(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    span_began: Duration,
    passed: u32,
    suppressed: u64,
}

impl LogGate {
    /// Whether a line may be written at `now`: then with the number of lines that were suppressed
    /// since the last one.
    pub fn admit(&self, now: Duration) -> Option<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(inner.span_began) >= SPAN {
            inner.span_began = now;
            inner.passed = 0;
        }
        if inner.passed >= LINES {
            inner.suppressed += 1;
            return None;
        }
        inner.passed += 1;
        Some(std::mem::take(&mut inner.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_later() {
        let gate = LogGate::default();
        let at = Duration::from_secs(5);
        for _ in 0..LINES {
            assert_eq!(gate.admit(at), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(gate.admit(at + Duration::from_secs(4)), None);
        }
        assert_eq!(gate.admit(at + SPAN), Some(1_000));
        assert_eq!(gate.admit(at + SPAN), Some(0));
    }
}
