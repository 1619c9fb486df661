//! bind_ack.

use super::presentation::ContextResult;
use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, EncodeError, Header};

/// \[C706 12.6.4.4\] bind_ack: the association exists; says what became of each context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAck<'a> {
    /// Largest fragment that the server sends.
    pub max_xmit_frag: u16,
    /// Largest fragment that the server takes.
    pub max_recv_frag: u16,
    /// Association group of this association.
    pub assoc_group_id: u32,
    /// sec_addr, without its NUL; empty if absent.
    pub secondary_address: &'a [u8],
    /// One for each context offered, in the same order.
    pub results: Vec<ContextResult>,
}

impl<'a> BindAck<'a> {
    /// Reads the body of `pdu`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(pdu, Header::LEN, header.byte_order());
        let max_xmit_frag = reader.u16("max_xmit_frag")?;
        let max_recv_frag = reader.u16("max_recv_frag")?;
        let assoc_group_id = reader.u32("assoc_group_id")?;
        let length = reader.u16("sec_addr.length")?;
        let address = reader.bytes("sec_addr.port_spec", length.into())?;
        reader.align4("pad2")?;
        Ok(Self {
            max_xmit_frag,
            max_recv_frag,
            assoc_group_id,
            secondary_address: address.strip_suffix(&[0]).unwrap_or(address),
            results: ContextResult::decode_list(&mut reader)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.u16(self.max_xmit_frag);
        out.u16(self.max_recv_frag);
        out.u32(self.assoc_group_id);
        if self.secondary_address.is_empty() {
            out.u16(0);
        } else {
            out.length_u16(
                "sec_addr.length",
                self.secondary_address.len().saturating_add(1),
            )?;
            out.bytes(self.secondary_address);
            out.u8(0);
        }
        out.align4();
        ContextResult::encode_list(&self.results, out)
    }
}
