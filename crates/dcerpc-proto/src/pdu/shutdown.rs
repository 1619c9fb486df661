//! shutdown.

/// \[C706 12.6.4.11\] shutdown: the server asks the client to close; has no call. Only a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown;
