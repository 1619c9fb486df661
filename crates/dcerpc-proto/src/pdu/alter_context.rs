//! alter_context.

use super::{Bind, DecodeError, Header};

/// \[C706 12.6.4.1\] alter_context: laid out like a bind. The server ignores its sizes and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterContext(pub Bind);

impl AlterContext {
    /// Reads the body of `pdu`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &[u8]) -> Result<Self, DecodeError> {
        Bind::decode(header, pdu).map(Self)
    }
}
