//! The File Share Shadow Copy Agent of MS-FSRVP, sans-IO.
//!
//! Typed calls, job outcomes and the time go in; actions come out. The agent does not know that it
//! is called over RPC, what a snapshot is made of, or where its table is stored.

pub mod action;
pub mod directory;
pub mod event;
pub mod job;

pub use action::{Action, Call, CallId, Caller, Edit, Now, PersistId};
pub use directory::ShareDirectory;
pub use job::{Job, JobId, JobOutcome};
