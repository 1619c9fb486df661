//! Laboratory for tests and demonstrations.
//!
//! A [`Lab`] is a private Samba with its own directories and port on loopback, file systems in loop
//! images, and an agent: ours, or Samba's own for comparisons. Everything lies below one directory,
//! and [`down`] removes every trace of it from that directory alone, so that a laboratory whose
//! owner crashed is removed as well as one that was closed in good order.
//!
//! This crate links nothing but the standard library and small crates: it has to compile on a
//! machine that does not have Samba yet, because it is what installs it.

mod agent;
pub mod client;
mod disk;
pub mod domain;
mod embedded;
mod environment;
mod error;
mod http;
mod isolation;
mod lab;
mod mounts;
pub mod packages;
mod place;
pub mod process;
pub mod programs;
mod random;
mod realm;
mod run;
mod samba;
mod system;
mod trace;
mod volume;
mod wait;
pub mod zfs;

pub use agent::{AgentKind, MinAuthLevel, Profile};
pub use embedded::{Embedded, EmbeddedOptions};
pub use environment::Environment;
pub use error::Error;
pub use http::{HttpAnswer, unix_http, unix_http_get};
pub use isolation::Isolation;
pub use lab::{Camera, Lab, LabOptions, SequenceTimeout, down, sweep};
pub use random::Random;
pub use realm::Realm;
pub use run::{Output, Run};
pub use samba::Account;
pub use trace::NetworkTrace;
pub use volume::{Share, ShareKey};
pub use wait::{comes_true, until};

/// Whether the machine can carry a laboratory: root, loop devices and the programs it needs.
///
/// # Errors
/// One sentence that says what is missing.
pub fn machine_fits() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("a laboratory needs root for loop devices, mounts and smbd".to_owned());
    }
    if !std::path::Path::new("/dev/loop-control").exists() {
        return Err("this kernel offers no loop devices (/dev/loop-control)".to_owned());
    }
    let missing = packages::missing_programs(packages::LABORATORY);
    if !missing.is_empty() {
        return Err(format!(
            "these programs are not installed: {}",
            missing.join(", ")
        ));
    }
    Ok(())
}

/// True when a test that cannot run must fail instead of being skipped
/// (`FSRVP_REQUIRE_LAB=1`, as CI sets it).
#[must_use]
pub fn laboratory_required() -> bool {
    std::env::var_os("FSRVP_REQUIRE_LAB").is_some_and(|value| value == "1")
}
