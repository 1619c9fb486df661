//! Presentation contexts: what is offered, and what becomes of it.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, EncodeError};
use crate::SyntaxId;
use bitflags::bitflags;
use uuid::Uuid;

/// \[C706 12.6.3.1\] p_cont_elem_t: one presentation context that the client offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextElement {
    /// p_cont_id.
    pub context_id: u16,
    /// The interface.
    pub abstract_syntax: SyntaxId,
    /// Encodings that the client can use.
    pub transfer_syntaxes: Vec<SyntaxId>,
}

impl ContextElement {
    pub(super) fn decode_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let count = reader.u8("n_context_elem")?;
        if count == 0 {
            // Nothing follows that would have to be aligned, and some clients send nothing.
            return Ok(Vec::new());
        }
        reader.bytes("p_context_elem.reserved", 3)?;
        (0..count).map(|_| Self::decode(reader)).collect()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let context_id = reader.u16("p_cont_id")?;
        let count = reader.u8("n_transfer_syn")?;
        reader.u8("p_cont_elem.reserved")?;
        let abstract_syntax = reader.syntax("abstract_syntax")?;
        let transfer_syntaxes = (0..count)
            .map(|_| reader.syntax("transfer_syntaxes"))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            context_id,
            abstract_syntax,
            transfer_syntaxes,
        })
    }

    pub(super) fn encode_list(list: &[Self], out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.length_u8("n_context_elem", list.len())?;
        out.zeros(3);
        for element in list {
            out.u16(element.context_id);
            out.length_u8("n_transfer_syn", element.transfer_syntaxes.len())?;
            out.u8(0);
            out.syntax(element.abstract_syntax);
            for transfer in &element.transfer_syntaxes {
                out.syntax(*transfer);
            }
        }
        Ok(())
    }
}

/// \[C706 12.6.3.1, MS-RPCE 2.2.2.4\] p_result_t: what became of one presentation context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextResult {
    /// result: see the constants.
    pub result: u16,
    /// reason, or the features of a negotiate_ack.
    pub reason: u16,
    /// The chosen encoding; [`SyntaxId::NULL`] unless accepted.
    pub transfer_syntax: SyntaxId,
}

impl ContextResult {
    /// The client asked for something that there is no room for: `(user_rejection,
    /// local_limit_exceeded)`.
    pub const LOCAL_LIMIT: Self = Self::rejected(1, 3);
    /// `(provider_rejection, abstract_syntax_not_supported)`.
    pub const UNKNOWN_INTERFACE: Self = Self::rejected(2, 1);
    /// `(provider_rejection, proposed_transfer_syntaxes_not_supported)`.
    pub const NO_TRANSFER_SYNTAX: Self = Self::rejected(2, 2);

    /// The context can be used with `transfer_syntax`.
    #[must_use]
    pub const fn accepted(transfer_syntax: SyntaxId) -> Self {
        Self {
            result: 0,
            reason: 0,
            transfer_syntax,
        }
    }

    /// \[MS-RPCE 3.3.1.5.3\] The answer to bind-time feature negotiation.
    #[must_use]
    pub const fn negotiate_ack(features: BindTimeFeatures) -> Self {
        Self {
            result: 3,
            reason: features.bits(),
            transfer_syntax: SyntaxId::NULL,
        }
    }

    /// Whether the context can be used.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.result == 0
    }

    const fn rejected(result: u16, reason: u16) -> Self {
        Self {
            result,
            reason,
            transfer_syntax: SyntaxId::NULL,
        }
    }

    pub(super) fn decode_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let count = reader.u8("n_results")?;
        reader.bytes("p_result_list.reserved", 3)?;
        (0..count)
            .map(|_| {
                Ok(Self {
                    result: reader.u16("result")?,
                    reason: reader.u16("reason")?,
                    transfer_syntax: reader.syntax("transfer_syntax")?,
                })
            })
            .collect()
    }

    pub(super) fn encode_list(list: &[Self], out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.length_u8("n_results", list.len())?;
        out.zeros(3);
        for result in list {
            out.u16(result.result);
            out.u16(result.reason);
            out.syntax(result.transfer_syntax);
        }
        Ok(())
    }
}

bitflags! {
    /// \[MS-RPCE 2.2.2.14\] Bind-time features.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct BindTimeFeatures: u16 {
        /// Several security contexts on one association.
        const SECURITY_CONTEXT_MULTIPLEXING = 0x0001;
        /// The connection outlives an orphaned call.
        const KEEP_CONNECTION_ON_ORPHAN = 0x0002;
    }
}

impl BindTimeFeatures {
    /// 6cb71c2c-9812-4540-…: the UUID's first eight bytes; the features fill the next two.
    const PREFIX: (u32, u16, u16) = (0x6cb7_1c2c, 0x9812, 0x4540);

    /// The features that a transfer syntax stands for, if it is the negotiation's.
    #[must_use]
    pub fn from_syntax(syntax: &SyntaxId) -> Option<Self> {
        let (time_low, time_mid, time_hi, &[low, high, ..]) = syntax.uuid.as_fields();
        ((time_low, time_mid, time_hi) == Self::PREFIX && syntax.version == 1)
            .then(|| Self::from_bits_retain(u16::from_le_bytes([low, high])))
    }

    /// The transfer syntax that stands for these features.
    #[must_use]
    pub fn to_syntax(self) -> SyntaxId {
        let (time_low, time_mid, time_hi) = Self::PREFIX;
        let [low, high] = self.bits().to_le_bytes();
        let uuid = Uuid::from_fields(time_low, time_mid, time_hi, &[low, high, 0, 0, 0, 0, 0, 0]);
        SyntaxId { uuid, version: 1 }
    }
}
