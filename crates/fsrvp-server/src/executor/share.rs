//! Expose: the snapshots become reachable, then all shares appear in one step. And copies become
//! reachable again whose file systems come late.

use super::{Executor, in_share};
use fsrvp_proto::directory::Publication;
use fsrvp_proto::job::{Exposure, Failure};
use fsrvp_sys::crash;

impl Executor {
    pub(super) fn reach(&self, share: &Exposure) -> Result<(), Failure> {
        self.backend(&share.copy.backend)?
            .expose(share)
            .map(drop)
            .map_err(|error| in_share(&share.base, error.into()))
    }

    pub(super) fn expose(&self, shares: &[Exposure]) -> Result<(), Failure> {
        let publications = shares
            .iter()
            .map(|exposure| {
                let path = self
                    .backend(&exposure.copy.backend)?
                    .expose(exposure)
                    .map_err(|error| in_share(&exposure.base, error.into()))?;
                Ok(Publication {
                    exposure: exposure.clone(),
                    path,
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        crash::point("executor.expose.after_backends");
        self.directory
            .publish(&publications)
            .map_err(|mut failure| {
                for publication in &publications {
                    if let Err(error) = self.directory.withdraw(&publication.exposure.name) {
                        failure.detail = format!("{}; and not undone: {error}", failure.detail);
                    }
                }
                failure
            })
    }
}
