//! fsrvpd, the File Share Shadow Copy Agent daemon.

pub mod config;
pub mod store;
