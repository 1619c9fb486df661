//! The stubs of the thirteen operations, at the crate's edge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy grants this to test functions but not to what they share"
)]

mod captured;
mod idl;
mod items;
mod ndrdump;
mod properties;
