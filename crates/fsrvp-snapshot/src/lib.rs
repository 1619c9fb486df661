//! Snapshot backends behind one trait.

pub mod backend;

pub use backend::{BackendError, Probe, ProviderFacts, SnapshotBackend};
