//! response.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, Header};

/// \[C706 12.6.4.10\] response: a fragment of a call's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// What is still to come, this fragment included.
    pub alloc_hint: u32,
    /// Presentation context.
    pub context_id: u16,
    /// Cancels received.
    pub cancel_count: u8,
    /// Stub, with the authentication padding behind it.
    pub body: &'a [u8],
}

impl<'a> Response<'a> {
    /// Bytes of a PDU before the body.
    pub const FIXED_LEN: usize = 24;

    /// Reads `pdu`, whose sec_trailer begins at `end` (or which ends there).
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &'a [u8], end: usize) -> Result<Self, DecodeError> {
        let unprotected = pdu.get(..end).unwrap_or(pdu);
        let mut reader = Reader::new(unprotected, Header::LEN, header.byte_order());
        let alloc_hint = reader.u32("alloc_hint")?;
        let context_id = reader.u16("p_cont_id")?;
        let cancel_count = reader.u8("cancel_count")?;
        reader.u8("reserved")?;
        Ok(Self {
            alloc_hint,
            context_id,
            cancel_count,
            body: reader.rest(),
        })
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.alloc_hint);
        out.u16(self.context_id);
        out.bytes(&[self.cancel_count, 0]);
        out.bytes(self.body);
    }
}
