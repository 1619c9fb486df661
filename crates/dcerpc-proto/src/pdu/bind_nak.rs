//! bind_nak.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, EncodeError, Header};

/// \[C706 12.6.3.1, MS-RPCE 2.2.2.5\] provider_reject_reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RejectReason(pub u16);

impl RejectReason {
    /// reason_not_specified.
    pub const NOT_SPECIFIED: Self = Self(0);
    /// local_limit_exceeded.
    pub const LOCAL_LIMIT_EXCEEDED: Self = Self(2);
    /// protocol_version_not_supported; also for malformed binds.
    pub const PROTOCOL_VERSION_NOT_SUPPORTED: Self = Self(4);
    /// authentication_type_not_recognized.
    pub const AUTHENTICATION_TYPE_NOT_RECOGNIZED: Self = Self(8);
    /// invalid_checksum: the security package failed.
    pub const INVALID_CHECKSUM: Self = Self(9);
}

/// \[C706 12.6.4.5\] bind_nak: there is no association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindNak {
    /// Why.
    pub reason: RejectReason,
    /// Versions that the server speaks.
    pub versions: Vec<(u8, u8)>,
}

impl BindNak {
    /// A refusal that names the only version that we speak.
    #[must_use]
    pub fn new(reason: RejectReason) -> Self {
        Self {
            reason,
            versions: vec![(5, 0)],
        }
    }

    /// Reads the body of `pdu`. Extended error information after it is left alone.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn decode(header: &Header, pdu: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(pdu, Header::LEN, header.byte_order());
        let reason = RejectReason(reader.u16("provider_reject_reason")?);
        let count = reader.u8("n_protocols")?;
        let versions = (0..count)
            .map(|_| Ok((reader.u8("versions.major")?, reader.u8("versions.minor")?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { reason, versions })
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.u16(self.reason.0);
        out.length_u8("n_protocols", self.versions.len())?;
        for (major, minor) in &self.versions {
            out.bytes(&[*major, *minor]);
        }
        out.align4();
        Ok(())
    }
}
