//! The File Share Shadow Copy Agent of MS-FSRVP, sans-IO.
//!
//! Typed calls, job outcomes and the time go in; actions come out. The agent does not know that it
//! is called over RPC, what a snapshot is made of, or where its table is stored.
//!
//! A driver loads the table ([`Table::load`]), compares it with the world ([`recover`]), stores the
//! edits that come of it, and builds an [`Agent`] with the result. From then on it feeds the
//! `handle_*` methods and performs what [`Agent::poll_action`] gives, in order.

pub mod action;
pub mod agent;
pub mod ages;
mod calls;
pub mod config;
mod debts;
pub mod directory;
pub mod durable;
pub mod event;
mod hung_store;
pub mod job;
mod jobs;
mod keeping;
mod live_set;
mod ops;
pub mod order;
pub mod own_names;
pub mod profile;
pub mod recovery;
mod removal;
mod restore;
pub mod retention;
pub mod set;
mod storing;
mod timer;
pub mod view;
mod waits;

pub use action::{Action, Call, CallId, Caller, Edit, Now, PersistId};
pub use agent::Agent;
pub use config::AgentConfig;
pub use directory::ShareDirectory;
pub use durable::{Table, TableError};
pub use event::{EndReason, Event};
pub use job::{Job, JobId, JobOutcome};
pub use order::{Order, OrderCall, OrderDone, OrderError};
pub use own_names::OwnNames;
pub use profile::Profile;
pub use recovery::{Found, Recovered, RecoveryNote, recover};
pub use retention::Retention;
pub use set::{MappedShare, SetStatus, ShadowCopy, ShadowCopySet};
pub use view::AgentView;
