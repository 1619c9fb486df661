//! cancel.

/// \[C706 12.6.4.6\] cancel: asks the server to end a call; the call is still answered. Only a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoCancel;
