//! The clone backend on loop images with XFS and btrfs, as root.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test"
)]

#[path = "../common/mod.rs"]
mod common;

mod battery;
mod bed;
mod crash;
mod faithful;
mod limits;
mod phases;
mod seal;
mod targets;
