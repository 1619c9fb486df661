//! The seam between an association and the security packages (NTLM, SPNEGO, Kerberos).
//!
//! An association never calls a package's `step` itself: verifying a logon may block (winbind,
//! GSSAPI), so the context is handed to the driver in an action and comes back with the outcome.
//! `protect` and `unprotect` are pure computation and are called by the association.

use std::fmt;
use std::ops::Range;

/// \[MS-RPCE 2.2.1.1.7\] Security provider: auth_type of a sec_trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthType(pub u8);

impl AuthType {
    /// SPNEGO.
    pub const GSS_NEGOTIATE: Self = Self(9);
    /// NTLMSSP.
    pub const WINNT: Self = Self(10);
    /// Kerberos.
    pub const GSS_KERBEROS: Self = Self(16);
}

/// \[MS-RPCE 2.2.1.1.8\] Authentication level of a sec_trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AuthLevel {
    /// No authentication.
    None = 1,
    /// Authentication at the bind only.
    Connect = 2,
    /// Treated as packet.
    Call = 3,
    /// Origin of each PDU.
    Packet = 4,
    /// Every PDU is signed.
    Integrity = 5,
    /// Every PDU is signed, every stub encrypted.
    Privacy = 6,
}

impl TryFrom<u8> for AuthLevel {
    type Error = u8;

    fn try_from(value: u8) -> Result<Self, u8> {
        Ok(match value {
            1 => Self::None,
            2 => Self::Connect,
            3 => Self::Call,
            4 => Self::Packet,
            5 => Self::Integrity,
            6 => Self::Privacy,
            other => return Err(other),
        })
    }
}

/// Who the finished security context speaks for, as the verifier says, never as the wire says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `DOMAIN\account`, for logs.
    pub account: String,
    /// The user's SID and all group SIDs, BUILTIN aliases included, as `S-1-…` text.
    pub sids: Vec<String>,
    /// Whether the SIDs come from an authority (winbind, PAC, users file). `false`: only the
    /// account is known and the SIDs must come from elsewhere.
    pub has_authority: bool,
    /// The security package that verified it ("ntlm", "kerberos"), for logs.
    pub package: &'static str,
}

/// What one leg of the exchange gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Token for the peer; empty if there is none to send.
    pub token: Vec<u8>,
    /// Whether the context is complete.
    pub done: bool,
}

/// Why a security context refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// The peer's token does not decode or breaks the package's rules.
    #[error("malformed security token: {0}")]
    Malformed(String),
    /// The logon was refused; the text names the reason for the log, never for the peer.
    #[error("logon refused: {0}")]
    Refused(String),
    /// The verifier could not be asked (winbind down, time-out).
    #[error("logon could not be verified: {0}")]
    Unavailable(String),
    /// A signature does not match: tampered, replayed or reordered.
    #[error("signature does not match")]
    BadSignature,
    /// The context cannot do what its level asks for: sealing was not negotiated.
    #[error("level not negotiated by the security package")]
    LevelNotNegotiated,
    /// The context was used before it was complete or after it failed.
    #[error("security context used out of turn")]
    OutOfTurn,
}

/// One security context, acceptor or initiator, owned by one association.
///
/// Contract: `step` is called with each token of the peer until [`Leg::done`]; after an error or
/// after `done` it is never called again. `protect` and `unprotect` are called only on complete
/// contexts, in the order of the PDUs. Dropping a context wipes its keys.
pub trait SecurityContext: Send + fmt::Debug {
    /// Consumes the peer's token. May block; the driver runs it where blocking is allowed.
    ///
    /// # Errors
    /// Any error ends the context.
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError>;

    /// The identity of the peer (acceptor) once complete.
    fn identity(&self) -> Option<&Identity>;

    /// Whether the complete context can encrypt. The association refuses a level of
    /// [`AuthLevel::Privacy`] at the bind, as Windows does, if it cannot.
    fn can_seal(&self) -> bool {
        true
    }

    /// Length of the token that [`SecurityContext::protect`] will return for a body of
    /// `body_len` bytes (stub and authentication padding).
    fn signature_len(&self, level: AuthLevel, body_len: usize) -> usize;

    /// Signs (and at [`AuthLevel::Privacy`] encrypts in place) one outgoing PDU. `pdu` is header,
    /// body and the 8-byte sec_trailer without the token, with final frag_length and auth_length;
    /// `body` is the range of stub and padding in it.
    ///
    /// # Errors
    /// [`SecurityError::OutOfTurn`] if the context is not complete.
    fn protect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError>;

    /// Verifies (and decrypts in place) one incoming PDU, laid out as for
    /// [`SecurityContext::protect`].
    ///
    /// # Errors
    /// [`SecurityError::BadSignature`] if it does not match; the association then closes.
    fn unprotect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError>;
}

/// Makes acceptors for a server's associations.
pub trait SecurityProvider: Send + Sync {
    /// A fresh acceptor for `auth_type`, or `None` if the package is not offered.
    fn acceptor(&self, auth_type: AuthType) -> Option<Box<dyn SecurityContext>>;
}

/// Offers no security package at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecurity;

impl SecurityProvider for NoSecurity {
    fn acceptor(&self, _auth_type: AuthType) -> Option<Box<dyn SecurityContext>> {
        None
    }
}
