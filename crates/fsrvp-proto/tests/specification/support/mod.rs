//! What all tests of this folder stand on.

pub(crate) mod bench;
pub(crate) mod jobs;
pub(crate) mod requests;
pub(crate) mod world;
