//! request.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, Header, PfcFlags};
use uuid::Uuid;

/// \[C706 12.6.4.9\] request: a fragment of a call's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What the client says is still to come; a hint that is never believed.
    pub alloc_hint: u32,
    /// Presentation context.
    pub context_id: u16,
    /// Operation number.
    pub opnum: u16,
    /// Object, if [`PfcFlags::OBJECT_UUID`] is set.
    pub object: Option<Uuid>,
    /// Stub, with the authentication padding behind it.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Bytes of a PDU before the body, without an object.
    pub const FIXED_LEN: usize = 24;

    /// Where the body of a request with these flags begins.
    #[must_use]
    pub const fn body_start(flags: PfcFlags) -> usize {
        if flags.contains(PfcFlags::OBJECT_UUID) {
            Self::FIXED_LEN + 16
        } else {
            Self::FIXED_LEN
        }
    }

    /// Reads `pdu`, whose sec_trailer begins at `end` (or which ends there).
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &'a [u8], end: usize) -> Result<Self, DecodeError> {
        let unprotected = pdu.get(..end).unwrap_or(pdu);
        let mut reader = Reader::new(unprotected, Header::LEN, header.byte_order());
        let alloc_hint = reader.u32("alloc_hint")?;
        let context_id = reader.u16("p_cont_id")?;
        let opnum = reader.u16("opnum")?;
        let object = if header.flags.contains(PfcFlags::OBJECT_UUID) {
            Some(reader.uuid("object")?)
        } else {
            None
        };
        Ok(Self {
            alloc_hint,
            context_id,
            opnum,
            object,
            body: reader.rest(),
        })
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.alloc_hint);
        out.u16(self.context_id);
        out.u16(self.opnum);
        if let Some(object) = self.object {
            out.uuid(object);
        }
        out.bytes(self.body);
    }
}
