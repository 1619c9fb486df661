//! Share directories: Samba's, and one without Samba.

mod connections;
pub(crate) mod definition;
mod helper;
mod means;
mod memory;
mod message;
mod samba;
pub(crate) mod sources;
mod tools;

pub use helper::HelperConfig;
pub use memory::{Operation, StaticDirectory, StaticError};
pub use samba::{CRASH_POINTS, Earlier, SambaConfig, SambaDirectory};
