//! auth3.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, Header};

/// \[MS-RPCE 2.2.2.10\] rpc_auth_3: the last leg of authentication; only a sec_trailer, never
/// answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth3 {
    /// Four bytes that mean nothing (impacket sends blanks).
    pub pad: [u8; 4],
}

impl Auth3 {
    /// Bytes of a PDU before the sec_trailer.
    pub const FIXED_LEN: usize = 20;

    /// Reads the body of `pdu`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(pdu, Header::LEN, header.byte_order());
        Ok(Self {
            pad: reader.array("pad")?,
        })
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.bytes(&self.pad);
    }
}
