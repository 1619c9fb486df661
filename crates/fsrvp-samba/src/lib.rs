//! All that knows Samba: the named pipe hand-over and the share directory.

pub mod npa;
pub mod pipe;
