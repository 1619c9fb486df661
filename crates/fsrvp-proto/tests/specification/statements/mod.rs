//! Statements of MS-FSRVP section 3.1 that no peer's suite checks, one test each.
//!
//! Security provider, authentication level and permissions (section 3.1.4) are decided before a
//! call reaches the agent and are tested where that happens.

mod context;
mod creation;
mod drivers;
mod durability;
mod ends;
mod jobs;
mod queries;
mod timer;

use crate::support::bench::{Bench, secs};
use crate::support::requests::{commit, expose, prepare, recovery, set_context, unc};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use fsrvp_proto::Profile;

/// Writable, and outlives a reboot.
const WRITABLE: u32 = 0x0040_0009;
/// Read-only, and outlives a reboot.
const READ_ONLY: u32 = 0x0000_0009;

fn spec() -> Bench {
    Bench::new(Profile::Spec)
}

fn started(bench: &mut Bench, context: u32) -> ShadowCopySetId {
    bench.ok(set_context(context));
    bench.started()
}

fn added(bench: &mut Bench, context: u32) -> (ShadowCopySetId, ShadowCopyId) {
    let set = started(bench, context);
    let copy = bench.added(set, &unc("Data"));
    (set, copy)
}

fn committed(bench: &mut Bench, context: u32) -> (ShadowCopySetId, ShadowCopyId) {
    let (set, copy) = added(bench, context);
    bench.ok(prepare(set, secs(60)));
    bench.ok(commit(set, secs(60)));
    (set, copy)
}

fn exposed(bench: &mut Bench, context: u32) -> (ShadowCopySetId, ShadowCopyId) {
    let (set, copy) = committed(bench, context);
    bench.ok(expose(set, secs(60)));
    (set, copy)
}

fn recovered(bench: &mut Bench, context: u32) -> (ShadowCopySetId, ShadowCopyId) {
    let (set, copy) = exposed(bench, context);
    bench.ok(recovery(set));
    (set, copy)
}
