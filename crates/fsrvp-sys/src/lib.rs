//! System calls and C libraries that need unsafe code: ioctls, mounts, libwbclient, GSSAPI.
#![allow(unsafe_code)]

pub mod btrfs;
pub mod crash;
#[cfg(feature = "kerberos")]
pub mod gssapi;
mod ioctl;
pub mod mount;
pub mod mount_cache;
pub mod mountinfo;
pub mod process_group;
pub mod reflink;
#[cfg(feature = "test-support")]
pub mod shared_mapping;
#[cfg(feature = "winbind")]
pub mod wbclient;
