//! The client against a server made of the server's own association, without an agent behind it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy grants this to test functions but not to what they share"
)]

mod calls;
mod security;
mod server;
mod transports;
