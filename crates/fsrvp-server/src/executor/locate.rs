//! Which backend serves a share: looked up at every call, told in the log when it has changed.

use super::Executor;
use fsrvp_idl::ShareName;
use fsrvp_proto::job::{Failure, FailureKind, Located};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most shares that are remembered; a client may ask for any name.
const MOST_SHARES: usize = 10_000;

/// What was found of each share the last time.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HashMap<String, String>>);

impl Heard {
    /// Whether this is something new about a share.
    fn is_new(&self, share: &ShareName, found: &str) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = heard.get(&share.folded()).map(String::as_str);
        if before == Some(found) {
            return false;
        }
        if heard.len() >= MOST_SHARES {
            heard.clear();
        }
        heard.insert(share.folded(), found.to_owned());
        true
    }
}

impl Executor {
    pub(super) fn locate(&self, share: &ShareName) -> Result<Located, Failure> {
        match self.select(share) {
            Ok((base, selected)) => {
                let found = format!("{} {}", selected.name, selected.probe.volume);
                if self.heard.is_new(share, &found) {
                    tracing::info!(
                        %share,
                        path = %base.path.display(),
                        backend = %selected.name,
                        volume = %selected.probe.volume,
                        reason = selected.reason,
                        "the share's backend"
                    );
                }
                Ok(Located {
                    share: base.name,
                    path: base.path,
                    backend: selected.name,
                    volume: selected.probe.volume,
                    inner: selected.probe.inner,
                    compatibility: selected.probe.compatibility,
                })
            }
            Err(failure) => {
                // Clients may ask for shares that do not exist as often as they like.
                let is_share = failure.kind != FailureKind::NotFound;
                if is_share && self.heard.is_new(share, &failure.detail) {
                    tracing::warn!(
                        %share,
                        error = failure.detail,
                        "the share cannot be shadow copied"
                    );
                }
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_new() {
        let heard = Heard::default();
        let share = ShareName::new("vm");
        assert!(heard.is_new(&share, "btrfs"));
        assert!(!heard.is_new(&ShareName::new("VM"), "btrfs"));
        assert!(heard.is_new(&ShareName::new("other"), "btrfs"));
        assert!(heard.is_new(&share, "a mount is in the way"));
        assert!(heard.is_new(&share, "btrfs"));
    }
}
