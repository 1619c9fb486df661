//! What SPNEGO asks of a package besides [`SecurityContext`].

use dcerpc_proto::security::{SecurityContext, SecurityError};

/// A package that SPNEGO can negotiate.
pub(crate) trait Mechanism: SecurityContext {
    /// Signs the DER of the mechTypes for mechListMIC.
    ///
    /// # Errors
    /// [`SecurityError::OutOfTurn`] if the context is not complete.
    fn mech_list_mic(&mut self, mech_types: &[u8]) -> Result<Vec<u8>, SecurityError>;

    /// Checks the peer's mechListMIC.
    ///
    /// # Errors
    /// [`SecurityError::BadSignature`] if it does not match.
    fn verify_mech_list_mic(&mut self, mech_types: &[u8], mic: &[u8]) -> Result<(), SecurityError>;

    /// \[MS-SPNG 3.3.5.1\] Whether the peer must send a mechListMIC although its first choice was
    /// taken: so it is for NTLM with a MIC in the AUTHENTICATE_MESSAGE.
    fn mech_list_mic_obligatory(&self) -> bool;
}
