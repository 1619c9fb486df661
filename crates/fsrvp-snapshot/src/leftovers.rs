//! What failed commits could not take back: nothing may be taken for a copy of theirs.

use crate::backend::BackendError;
use crate::lock;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::CopySource;
use std::collections::HashSet;
use std::sync::Mutex;

/// Copies whose undo has failed. The next commit under their ids begins with another try.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<HashSet<ShadowCopyId>>);

impl Leftovers {
    /// Whether something of the copy may be left.
    pub(crate) fn holds(&self, copy: ShadowCopyId) -> bool {
        lock(&self.0).contains(&copy)
    }

    /// Nothing is left of the copy.
    pub(crate) fn forget(&self, copy: ShadowCopyId) {
        lock(&self.0).remove(&copy);
    }

    /// Takes a failed commit back, copy by copy; remembers those of which that fails.
    pub(crate) fn undo_all(
        &self,
        copies: &[CopySource],
        undo: impl Fn(&CopySource) -> Result<(), BackendError>,
    ) {
        for source in copies {
            match undo(source) {
                Ok(()) => self.forget(source.copy),
                Err(error) => {
                    tracing::error!(
                        copy = %source.copy,
                        error = &error as &dyn std::error::Error,
                        "a failed commit could not be undone"
                    );
                    lock(&self.0).insert(source.copy);
                }
            }
        }
    }

    /// Tries once more to take back what is left of the copy, if anything is.
    pub(crate) fn retry(
        &self,
        source: &CopySource,
        undo: impl FnOnce(&CopySource) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        if self.holds(source.copy) {
            undo(source)?;
            self.forget(source.copy);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsrvp_proto::job::{BackendName, VolumeId};
    use uuid::Uuid;

    #[test]
    fn what_cannot_be_undone_is_remembered_until_it_can() {
        let sources = [1, 2].map(|number| CopySource {
            copy: ShadowCopyId(Uuid::from_u128(number)),
            backend: BackendName("btrfs".to_owned()),
            volume: VolumeId("volume".to_owned()),
            shares: Vec::new(),
        });
        let [good, bad] = [sources[0].copy, sources[1].copy];
        let leftovers = Leftovers::default();
        let refuse = |source: &CopySource| match source.copy == bad {
            true => Err(BackendError::Busy("held".to_owned())),
            false => Ok(()),
        };
        leftovers.undo_all(&sources, refuse);
        assert_eq!((leftovers.holds(good), leftovers.holds(bad)), (false, true));
        // What is not left is not undone again.
        leftovers.retry(&sources[0], |_| panic!()).unwrap();
        leftovers.retry(&sources[1], refuse).unwrap_err();
        assert!(leftovers.holds(bad));
        leftovers.retry(&sources[1], |_| Ok(())).unwrap();
        assert!(!leftovers.holds(bad));
    }
}
