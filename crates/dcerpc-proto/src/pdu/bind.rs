//! bind.

use super::presentation::ContextElement;
use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, EncodeError, Header};

/// \[C706 12.6.4.3\] bind: opens an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Largest fragment that the client sends.
    pub max_xmit_frag: u16,
    /// Largest fragment that the client takes.
    pub max_recv_frag: u16,
    /// Association group to join; 0 asks for a new one.
    pub assoc_group_id: u32,
    /// Presentation contexts offered.
    pub contexts: Vec<ContextElement>,
}

impl Bind {
    /// Reads the body of `pdu`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(pdu, Header::LEN, header.byte_order());
        Ok(Self {
            max_xmit_frag: reader.u16("max_xmit_frag")?,
            max_recv_frag: reader.u16("max_recv_frag")?,
            assoc_group_id: reader.u32("assoc_group_id")?,
            contexts: ContextElement::decode_list(&mut reader)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.u16(self.max_xmit_frag);
        out.u16(self.max_recv_frag);
        out.u32(self.assoc_group_id);
        ContextElement::encode_list(&self.contexts, out)
    }
}
