//! fault.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, Header};
use crate::FaultStatus;

/// \[C706 12.6.4.7, MS-RPCE 2.2.2.6\] fault: a call that failed in the run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Unused; Windows and Samba send 24.
    pub alloc_hint: u32,
    /// Presentation context, 0 if the call did not get that far.
    pub context_id: u16,
    /// Cancels received.
    pub cancel_count: u8,
    /// Why.
    pub status: FaultStatus,
}

impl Fault {
    /// What Windows and Samba send as alloc_hint.
    const ALLOC_HINT: u32 = 24;

    /// A fault in our own form.
    #[must_use]
    pub const fn new(context_id: u16, status: FaultStatus) -> Self {
        Self {
            alloc_hint: Self::ALLOC_HINT,
            context_id,
            cancel_count: 0,
            status,
        }
    }

    /// Reads the body of `pdu`. Extended error information after it is left alone.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(pdu, Header::LEN, header.byte_order());
        let alloc_hint = reader.u32("alloc_hint")?;
        let context_id = reader.u16("p_cont_id")?;
        let cancel_count = reader.u8("cancel_count")?;
        reader.u8("flags")?;
        let status = FaultStatus(reader.u32("status")?);
        reader.u32("reserved2")?;
        Ok(Self {
            alloc_hint,
            context_id,
            cancel_count,
            status,
        })
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.alloc_hint);
        out.u16(self.context_id);
        out.bytes(&[self.cancel_count, 0]);
        out.u32(self.status.0);
        out.u32(0);
    }
}
