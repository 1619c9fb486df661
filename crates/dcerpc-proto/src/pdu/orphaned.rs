//! orphaned.

/// \[C706 12.6.4.8\] orphaned: nobody waits for a call any more, and none must be answered. Only a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphaned;
