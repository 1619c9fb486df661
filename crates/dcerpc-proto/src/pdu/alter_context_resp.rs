//! alter_context_resp.

use super::{BindAck, DecodeError, Header};

/// \[C706 12.6.4.2\] alter_context_resp: laid out like a bind_ack, without a secondary address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterContextResp<'a>(pub BindAck<'a>);

impl<'a> AlterContextResp<'a> {
    /// Reads the body of `pdu`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &'a [u8]) -> Result<Self, DecodeError> {
        BindAck::decode(header, pdu).map(Self)
    }
}
