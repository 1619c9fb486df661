//! The verification trailer at the end of a request's stub.
//!
//! Clients add it where the security package does not sign the header. It tells the server what
//! the client thinks it sent, inside the part that is signed.

use crate::pdu::DecodeError;
use crate::pdu::reader::Reader;
use crate::{ByteOrder, SyntaxId};

/// \[MS-RPCE 2.2.2.13.1\] rpc_sec_verification_trailer.
const SIGNATURE: [u8; 8] = [0x8A, 0xE3, 0x13, 0x71, 0x02, 0xF4, 0x36, 0x71];

/// Bits 0 to 13 of a command.
const COMMAND_MASK: u16 = 0x3FFF;
const BITMASK_1: u16 = 0x0001;
const PCONTEXT: u16 = 0x0002;
const HEADER2: u16 = 0x0003;
/// SEC_VT_COMMAND_END.
const END: u16 = 0x4000;
/// SEC_VT_MUST_PROCESS_COMMAND.
const MUST_PROCESS: u16 = 0x8000;
/// CLIENT_SUPPORT_HEADER_SIGNING.
const CLIENT_SUPPORT_HEADER_SIGNING: u32 = 0x0000_0001;

/// What a verification trailer is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationFacts {
    /// The client offered header signing in its bind or an alter_context.
    pub client_header_signing: bool,
    /// The interface of the call's presentation context.
    pub interface: SyntaxId,
    /// The transfer syntax of the call's presentation context.
    pub transfer: SyntaxId,
    /// packed_drep of the request.
    pub data_representation: [u8; 4],
    /// Byte order of the request.
    pub byte_order: ByteOrder,
    /// call_id of the request.
    pub call_id: u32,
    /// Presentation context of the request.
    pub context_id: u16,
    /// Operation number of the request.
    pub opnum: u16,
}

/// The verification trailer contradicts the request, or does not decode; answered with
/// [`crate::FaultStatus::ACCESS_DENIED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerificationError {
    /// A command is cut short or has another length than its kind.
    #[error("verification trailer: {0}")]
    Malformed(#[from] DecodeError),
    /// A command says something else than the request.
    #[error("verification trailer: {0} does not match the request")]
    Mismatch(&'static str),
    /// A command that must be processed is not known.
    #[error("verification trailer: command {0:#06x} is not known")]
    UnknownCommand(u16),
}

impl VerificationFacts {
    /// \[MS-RPCE 2.2.2.13\] Checks what is left of a stub after its arguments: "implementations
    /// SHOULD search for a sequence of octets that matches the value of the signature". Bytes in
    /// which there is none are padding and pass.
    ///
    /// # Errors
    /// A trailer that does not decode, or a command that contradicts the request.
    pub fn check(&self, rest: &[u8]) -> Result<(), VerificationError> {
        let Some(start) = rest
            .windows(SIGNATURE.len())
            .position(|bytes| bytes == SIGNATURE)
        else {
            return Ok(());
        };
        // Always little-endian, even in a big-endian request.
        let order = ByteOrder::Little;
        let mut trailer = Reader::new(rest, start.saturating_add(SIGNATURE.len()), order);
        loop {
            let command = trailer.u16("command")?;
            let length = trailer.u16("command.length")?;
            let value = trailer.bytes("command.value", length.into())?;
            let value = Reader::new(value, 0, order);
            match command & COMMAND_MASK {
                BITMASK_1 => self.check_bitmask(value)?,
                PCONTEXT => self.check_pcontext(value)?,
                HEADER2 => self.check_header2(value)?,
                _ if command & MUST_PROCESS != 0 => {
                    return Err(VerificationError::UnknownCommand(command));
                }
                _ => {}
            }
            if command & END != 0 {
                return Ok(());
            }
        }
    }

    fn check_bitmask(&self, mut value: Reader<'_>) -> Result<(), VerificationError> {
        let bits = value.u32("rpc_sec_vt_bitmask.bits")?;
        finish(value, "rpc_sec_vt_bitmask")?;
        let claims = bits & CLIENT_SUPPORT_HEADER_SIGNING != 0;
        ensure(!claims || self.client_header_signing, "header signing")
    }

    fn check_pcontext(&self, mut value: Reader<'_>) -> Result<(), VerificationError> {
        let interface = value.syntax("rpc_sec_vt_pcontext.InterfaceId")?;
        let transfer = value.syntax("rpc_sec_vt_pcontext.TransferSyntax")?;
        finish(value, "rpc_sec_vt_pcontext")?;
        ensure(interface == self.interface, "interface")?;
        ensure(transfer == self.transfer, "transfer syntax")
    }

    fn check_header2(&self, mut value: Reader<'_>) -> Result<(), VerificationError> {
        let packet_type = value.u8("rpc_sec_vt_header2.PTYPE")?;
        value.bytes("rpc_sec_vt_header2.Reserved", 3)?;
        let data_representation: [u8; 4] = value.array("rpc_sec_vt_header2.drep")?;
        let call_id = value.u32("rpc_sec_vt_header2.call_id")?;
        let context_id = value.u16("rpc_sec_vt_header2.p_context_id_t")?;
        let opnum = value.u16("rpc_sec_vt_header2.opnum")?;
        finish(value, "rpc_sec_vt_header2")?;
        ensure(packet_type == crate::pdu::PacketType::REQUEST.0, "PTYPE")?;
        ensure(data_representation == self.data_representation, "drep")?;
        ensure(call_id == self.call_id, "call_id")?;
        ensure(context_id == self.context_id, "p_cont_id")?;
        ensure(opnum == self.opnum, "opnum")
    }
}

/// "For fixed-size commands, the length field MUST be equal to the length of the fixed-size
/// command."
fn finish(value: Reader<'_>, field: &'static str) -> Result<(), VerificationError> {
    match value.rest().len() {
        0 => Ok(()),
        found => Err(DecodeError::Invalid {
            field,
            needed: "the length of its kind",
            found: found as u64,
        }
        .into()),
    }
}

fn ensure(holds: bool, what: &'static str) -> Result<(), VerificationError> {
    if holds {
        Ok(())
    } else {
        Err(VerificationError::Mismatch(what))
    }
}
