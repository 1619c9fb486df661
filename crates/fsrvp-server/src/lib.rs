//! fsrvpd, the File Share Shadow Copy Agent daemon.

pub mod admin;
pub mod agent_cell;
mod audit;
pub mod authz;
pub mod backends;
pub mod clock;
pub mod config;
pub mod connection;
pub mod connections;
pub mod crash_points;
pub mod daemon;
pub mod dispatch;
pub mod eager;
pub mod environment;
pub mod events;
pub mod executor;
mod laboratory;
pub mod listen;
pub mod log_gate;
pub mod metrics;
pub mod own_names;
pub mod recovery;
pub mod reload;
pub mod security;
pub mod server;
pub mod store;
pub mod streams;
