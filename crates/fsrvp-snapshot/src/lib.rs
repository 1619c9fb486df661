//! Snapshot backends behind one trait.
//!
//! [`SnapshotBackend`] is the contract; [`Btrfs`], [`TreeClone`], [`Zfs`], [`Exec`] and, without a
//! disk, [`Memory`] obey it; [`Backends`] chooses one for a share's directory; `battery` (a feature)
//! tries the contract on any of them.

mod attempt;
pub mod backend;
#[cfg(feature = "battery")]
pub mod battery;
pub mod btrfs;
pub mod clone;
mod error;
pub mod exec;
mod folder;
mod guard;
mod leftovers;
mod location;
pub mod memory;
pub mod names;
mod previous;
mod program;
pub mod registry;
pub mod zfs;

pub use backend::{BackendError, Deadline, Kept, Probe, ProviderFacts, SnapshotBackend, Usage};
pub use btrfs::{Btrfs, BtrfsConfig};
pub use clone::{CloneConfig, TreeClone};
pub use exec::{Exec, ExecConfig, ExecLimits};
pub use fsrvp_sys::crash;
pub use memory::Memory;
pub use previous::CRASH_POINTS as PREVIOUS_CRASH_POINTS;
pub use registry::{Backends, Choice, Selected};
pub use zfs::{Zfs, ZfsConfig};

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
