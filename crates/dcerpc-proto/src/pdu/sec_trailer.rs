//! The security trailer of a PDU.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, Header};
use crate::security::AuthType;

/// \[MS-RPCE 2.2.2.11\] sec_trailer, without its token (auth_value).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecTrailer {
    /// Security package.
    pub auth_type: AuthType,
    /// Level as on the wire; [`crate::security::AuthLevel::try_from`] says whether it exists.
    pub auth_level: u8,
    /// Padding before the trailer, part of the body.
    pub auth_pad_length: u8,
    /// Names the security context.
    pub auth_context_id: u32,
}

/// A sec_trailer found in a PDU, with its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthVerifier<'a> {
    /// The trailer.
    pub trailer: SecTrailer,
    /// auth_value: a token of the exchange or a signature.
    pub token: &'a [u8],
}

impl SecTrailer {
    /// Bytes of a trailer without token.
    pub const LEN: usize = 8;

    /// Where the trailer of `pdu` begins: before the last auth_length bytes. `None` if the PDU has
    /// none. `body` is where the part begins that the trailer must not reach into.
    ///
    /// # Errors
    /// The lengths contradict each other, or the trailer is not 4-aligned.
    pub fn locate(header: &Header, pdu: &[u8], body: usize) -> Result<Option<usize>, DecodeError> {
        if header.auth_length == 0 {
            return Ok(None);
        }
        let needed = usize::from(header.auth_length).saturating_add(Self::LEN);
        let start = pdu.len().checked_sub(needed).filter(|start| *start >= body);
        let start = start.ok_or(DecodeError::Truncated {
            field: "auth_verifier",
            needed,
            found: pdu.len().saturating_sub(body),
        })?;
        if start % 4 != 0 {
            return Err(DecodeError::Invalid {
                field: "sec_trailer offset",
                needed: "a multiple of 4",
                found: start as u64,
            });
        }
        Ok(Some(start))
    }

    /// Reads the trailer at `start` of `pdu` with its token, the rest of the PDU.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode<'a>(
        header: &Header,
        pdu: &'a [u8],
        start: usize,
    ) -> Result<AuthVerifier<'a>, DecodeError> {
        let mut reader = Reader::new(pdu, start, header.byte_order());
        let auth_type = AuthType(reader.u8("auth_type")?);
        let auth_level = reader.u8("auth_level")?;
        let auth_pad_length = reader.u8("auth_pad_length")?;
        reader.u8("auth_reserved")?;
        let auth_context_id = reader.u32("auth_context_id")?;
        Ok(AuthVerifier {
            trailer: Self {
                auth_type,
                auth_level,
                auth_pad_length,
                auth_context_id,
            },
            token: reader.rest(),
        })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.bytes(&[self.auth_type.0, self.auth_level, self.auth_pad_length, 0]);
        out.u32(self.auth_context_id);
    }
}
