//! A share directory whose every step is the scheduler's to let happen.

use super::World;
use crate::strand::{Fate, step};
use fsrvp_idl::ShareName;
use fsrvp_proto::ShareDirectory;
use fsrvp_proto::directory::{BaseShare, ExposedShare, Publication};
use fsrvp_proto::job::{Failure, FailureKind};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One process's way to the shares.
pub(crate) struct SimDirectory(pub(crate) Arc<World>);

impl SimDirectory {
    fn step<T>(
        &self,
        point: &'static str,
        act: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let fate = step(point);
        if fate == Fate::Crash || matches!(fate, Fate::Fails(_)) {
            return Err(failure(FailureKind::Other, point, "simulated"));
        }
        let done = act()?;
        self.0.changed();
        match fate {
            Fate::FailsAfterwards(_) => {
                Err(failure(FailureKind::Lost, point, "lost after it was done"))
            }
            Fate::Done | Fate::Fails(_) | Fate::Crash => Ok(done),
        }
    }
}

impl ShareDirectory for SimDirectory {
    fn lookup(&self, share: &ShareName) -> Result<BaseShare, Failure> {
        self.step("look up", || self.0.shares.lookup(share))
    }

    fn publish(&self, shares: &[Publication]) -> Result<(), Failure> {
        // A crash may leave some of them; an error none.
        let done = shares.iter().try_for_each(|share| {
            self.step("publish", || {
                self.0.shares.publish(std::slice::from_ref(share))
            })
        });
        if done.is_err() {
            for share in shares {
                self.0.shares.withdraw(&share.exposure.name)?;
            }
            self.0.changed();
        }
        done
    }

    fn make_read_only(&self, names: &[String]) -> Result<(), Failure> {
        self.step("make read-only", || self.0.shares.make_read_only(names))
    }

    fn withdraw(&self, name: &str) -> Result<(), Failure> {
        // "The share is still there", unless whoever did it was lost.
        self.step("withdraw", || self.0.shares.withdraw(name))
    }

    fn exposed(&self) -> Result<Vec<ExposedShare>, Failure> {
        self.step("list shares", || self.0.shares.exposed())
    }

    fn in_use(&self, names: &[String]) -> Result<BTreeSet<String>, Failure> {
        self.step("ask who uses shares", || self.0.shares.in_use(names))
    }

    fn serving_process(&self) -> Option<u32> {
        None
    }

    fn server_names(&self) -> Result<Vec<String>, Failure> {
        self.0.shares.server_names()
    }
}

fn failure(kind: FailureKind, point: &str, text: &str) -> Failure {
    Failure::new(kind, format!("{point}: {text}"))
}
