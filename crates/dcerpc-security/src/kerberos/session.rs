//! Per-message protection (RFC 4121 4.2, MS-RPCE 3.3.1.5.2.2).

use std::ops::Range;

use dcerpc_proto::security::{AuthLevel, SecurityError};
use fsrvp_sys::gssapi::{Context, GssErrorKind};

/// A complete context.
#[derive(Debug)]
pub(super) struct Session(Context);

impl Session {
    pub(super) fn new(context: Context) -> Self {
        Self(context)
    }

    /// Length of the token for a body, 0 if the context cannot tell.
    pub(super) fn signature_len(&self, level: AuthLevel, body_len: usize) -> usize {
        let length = if level == AuthLevel::Privacy {
            self.0.wrap_len(body_len)
        } else {
            self.0.mic_len(body_len)
        };
        length.unwrap_or_default()
    }

    /// Signs or seals one PDU; unlike NTLM, Kerberos follows what was negotiated about headers.
    pub(super) fn protect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        let outcome = match seals(level)? {
            true => self.0.wrap(pdu, body, header_signing),
            false => self.0.mic(signed_part(pdu, body, header_signing)?),
        };
        outcome.map_err(|error| SecurityError::Unavailable(error.to_string()))
    }

    /// Checks, and opens at privacy, one PDU.
    pub(super) fn unprotect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        let outcome = match seals(level)? {
            true => self.0.unwrap(pdu, body, header_signing, signature),
            false => self
                .0
                .verify_mic(signed_part(pdu, body, header_signing)?, signature),
        };
        outcome.map_err(|error| {
            tracing::debug!(%error, "kerberos token refused");
            match error.kind {
                GssErrorKind::NoCredential => SecurityError::Unavailable(error.to_string()),
                _ => SecurityError::BadSignature,
            }
        })
    }

    pub(super) fn mech_list_mic(&mut self, mech_types: &[u8]) -> Result<Vec<u8>, SecurityError> {
        self.0
            .mic(mech_types)
            .map_err(|error| SecurityError::Unavailable(error.to_string()))
    }

    pub(super) fn verify_mech_list_mic(
        &mut self,
        mech_types: &[u8],
        mic: &[u8],
    ) -> Result<(), SecurityError> {
        self.0.verify_mic(mech_types, mic).map_err(|error| {
            tracing::debug!(%error, "mechListMIC refused");
            SecurityError::BadSignature
        })
    }
}

/// Whether `level` seals.
fn seals(level: AuthLevel) -> Result<bool, SecurityError> {
    match level {
        AuthLevel::None | AuthLevel::Connect => Err(SecurityError::OutOfTurn),
        AuthLevel::Call | AuthLevel::Packet | AuthLevel::Integrity => Ok(false),
        AuthLevel::Privacy => Ok(true),
    }
}

fn signed_part(
    pdu: &[u8],
    body: Range<usize>,
    header_signing: bool,
) -> Result<&[u8], SecurityError> {
    if header_signing {
        Ok(pdu)
    } else {
        pdu.get(body).ok_or(SecurityError::OutOfTurn)
    }
}
