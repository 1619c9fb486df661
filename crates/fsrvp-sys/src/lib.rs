//! System calls and C libraries that need unsafe code: ioctls, mounts, libwbclient, GSSAPI.
#![allow(unsafe_code)]

pub mod btrfs;
pub mod crash;
pub mod mount;
pub mod mountinfo;
