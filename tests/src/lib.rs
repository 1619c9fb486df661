//! Suites that drive the whole program with clients that others wrote: `rpcclient`, `smbclient`,
//! `smbtorture`, impacket.
//!
//! Each suite is a test binary with one laboratory for all its cases, which run one after the other
//! because an agent has one shadow copy set in creation. The laboratory goes down when the last
//! case has ended, whatever the outcome.

pub mod descriptors;
mod file_server;
mod finally;
pub mod guide;
mod injection;
mod judge;
pub mod obstacles;
pub mod operator;
pub mod others;
pub mod protected;
pub mod restarts;
mod root;
mod secrets;
mod suite;
mod system;
pub mod torture;
pub mod walk;

pub use file_server::FileServer;
pub use finally::Finally;
pub use injection::Injection;
pub use judge::Judge;
pub use root::{Booted, Root, Service, package};
pub use suite::{Case, CaseResult, Suite, fail};
pub use system::{debian, debian_in_domain, debian_to_install, faketime_library};
