//! That shares are in Commit where they were in Prepare.

use crate::backend::{BackendError, Probe};
use crate::error::{failed, failed_io, unsupported};
use crate::location::{Identity, Location};
use crate::lock;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::{CopySource, SourceShare};
use fsrvp_sys::mountinfo::MountWatch;
use rustix::io::Errno;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

/// What was found of the shares of each prepared copy.
#[derive(Debug, Default)]
pub(crate) struct Guards(Mutex<HashMap<ShadowCopyId, Guard>>);

#[derive(Debug)]
struct Guard {
    mounts: MountWatch,
    shares: Vec<(SourceShare, Identity)>,
}

impl Guards {
    /// Locates every share of a copy and remembers where it is.
    ///
    /// # Errors
    /// As `locate`; `Unsupported` for a share that is elsewhere than the set says.
    pub(crate) fn set(
        &self,
        source: &CopySource,
        locate: impl Fn(&Path) -> Result<(Location, Probe), BackendError>,
    ) -> Result<(), BackendError> {
        let guard = Guard {
            // First: what is mounted from now on is noticed.
            mounts: MountWatch::start()
                .map_err(failed_io("open", Path::new("/proc/self/mountinfo")))?,
            shares: locate_all(source, locate)?,
        };
        lock(&self.0).insert(source.copy, guard);
        Ok(())
    }

    /// Whether every share of a copy still is where it was, in a few microseconds if it was
    /// prepared and nothing has been mounted since.
    ///
    /// # Errors
    /// As [`Guards::set`]; `NotFound`.
    pub(crate) fn check(
        &self,
        source: &CopySource,
        locate: impl Fn(&Path) -> Result<(Location, Probe), BackendError>,
    ) -> Result<(), BackendError> {
        let Some(guard) = lock(&self.0).remove(&source.copy) else {
            return locate_all(source, locate).map(drop);
        };
        for (share, identity) in &guard.shares {
            match Identity::at(&share.path) {
                Ok(now) if now == *identity => {}
                Ok(_) => return Err(moved(share)),
                Err(Errno::NOENT) => return Err(BackendError::NotFound(share.path.clone())),
                Err(errno) => return Err(failed("statx", &share.path)(errno)),
            }
        }
        if guard.mounts.changed() {
            locate_all(source, locate)?;
        }
        Ok(())
    }

    pub(crate) fn forget(&self, copy: ShadowCopyId) {
        lock(&self.0).remove(&copy);
    }
}

fn locate_all(
    source: &CopySource,
    locate: impl Fn(&Path) -> Result<(Location, Probe), BackendError>,
) -> Result<Vec<(SourceShare, Identity)>, BackendError> {
    let check = |share: &SourceShare| {
        let (location, probe) = locate(&share.path)?;
        if probe.volume != source.volume || probe.inner != share.inner {
            return Err(moved(share));
        }
        Ok((share.clone(), location.identity))
    };
    source.shares.iter().map(check).collect()
}

fn moved(share: &SourceShare) -> BackendError {
    unsupported(
        &share.path,
        "leads elsewhere than when the share was added to the set",
    )
}
