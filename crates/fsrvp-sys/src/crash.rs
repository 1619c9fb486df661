//! Named points at which a test can end the process, as a crash would.

/// The variable that names the point, `NAME` or `NAME:N` for the N-th time that it is passed.
pub const VARIABLE: &str = "FSRVP_CRASH_AT";

/// Ends the process at once, without unwinding or clean-up, if [`VARIABLE`] names this point.
/// Without the feature `crash-points` this is nothing.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(feature = "crash-points")]
    armed::pass(name);
    #[cfg(not(feature = "crash-points"))]
    let _ = name;
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        left: AtomicU64,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        ARMED
            .get_or_init(|| {
                let wanted = std::env::var(super::VARIABLE).ok()?;
                let (name, times) = match wanted.split_once(':') {
                    Some((name, times)) => (name.to_owned(), times.parse().ok()?),
                    None => (wanted, 1),
                };
                Some(Armed {
                    name,
                    left: AtomicU64::new(times),
                })
            })
            .as_ref()
    }

    pub(super) fn pass(name: &str) {
        if let Some(armed) = armed()
            && armed.name == name
            && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            std::process::abort();
        }
    }
}
