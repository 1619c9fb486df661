//! Snapshot backends behind one trait.
//!
//! [`SnapshotBackend`] is the contract, [`Memory`] obeys it without a disk, [`Backends`] chooses
//! a backend for a share's directory.

pub mod backend;
pub mod memory;
pub mod names;
pub mod registry;

pub use backend::{BackendError, Deadline, Probe, ProviderFacts, SnapshotBackend};
pub use fsrvp_sys::crash;
pub use memory::Memory;
pub use registry::{Backends, Choice, Selected};
