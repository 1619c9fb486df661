//! All that knows Samba: the named pipe hand-over and the share directory.

mod children;
mod command;
mod config;
pub mod directory;
pub mod npa;
pub mod pipe;

pub use command::{CommandError, said_by};
pub use config::{ConfigError, SambaFacts};
