//! Judges the agent by the text: expectations come from MS-FSRVP section 3.1 and the project's
//! protocol rules, never from the implementation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod flows;
mod model;
mod statements;
mod support;
mod table;
