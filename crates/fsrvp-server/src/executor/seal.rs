//! RecoveryComplete: shares turn read-only, writers are cut off, snapshots are sealed, and the
//! seal is tried through the path that the SMB server serves.

use super::{Executor, in_share};
use fsrvp_proto::job::{CopyRef, Exposure, Failure};
use fsrvp_snapshot::BackendError;
use fsrvp_sys::crash;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time that handles which the SMB server has been told to close are waited for.
const CLOSING_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks at them.
const CLOSING_PAUSE: Duration = Duration::from_millis(20);

impl Executor {
    pub(super) fn seal(&self, shares: &[Exposure]) -> Result<(), Failure> {
        let names: Vec<_> = shares
            .iter()
            .map(|exposure| exposure.name.clone())
            .collect();
        self.directory.make_read_only(&names)?;
        crash::point("executor.seal.after_shares");
        let copies: BTreeSet<&CopyRef> = shares.iter().map(|exposure| &exposure.copy).collect();
        for copy in copies {
            self.seal_when_free(copy)?;
            crash::point("executor.seal.after_copy");
        }
        for exposure in shares {
            self.verify(exposure)
                .map_err(|failure| in_share(&exposure.base, failure))?;
        }
        crash::point("executor.seal.after_all");
        Ok(())
    }

    /// The SMB server closes the handles of a connection that was cut in its own time.
    fn seal_when_free(&self, copy: &CopyRef) -> Result<(), Failure> {
        let backend = self.backend(&copy.backend)?;
        let began = Instant::now();
        loop {
            match backend.seal(copy) {
                Err(BackendError::Busy(_)) if began.elapsed() < CLOSING_LIMIT => {
                    std::thread::sleep(CLOSING_PAUSE);
                }
                done => return Ok(done?),
            }
        }
    }

    fn verify(&self, exposure: &Exposure) -> Result<(), Failure> {
        let backend = self.backend(&exposure.copy.backend)?;
        let path = backend.expose(exposure)?;
        let via = match self.directory.serving_process() {
            Some(process) => as_seen_by(process, &path),
            None => path,
        };
        Ok(backend.verify_sealed(&exposure.copy, &via)?)
    }
}

/// The path in the mount namespace of another process.
fn as_seen_by(process: u32, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{process}/root"));
    match path.strip_prefix("/") {
        Ok(relative) => root.join(relative),
        Err(_) => path.to_owned(),
    }
}
