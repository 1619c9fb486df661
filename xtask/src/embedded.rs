//! The embedded laboratory: fsrvpd with a static list of shares and a backend without a disk.

use crate::Outcome;

pub(crate) fn run(_release: bool) -> Outcome {
    Err("not root".into())
}
