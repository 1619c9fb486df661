//! \[RFC 4178 4.2\] NegTokenInit and NegTokenResp.

use dcerpc_proto::security::SecurityError;
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetString, OctetStringRef};
use der::{Decode, Encode, Enumerated, Length, Sequence};

use crate::limits::{MAX_MECH_TYPES, MAX_TOKEN};

/// SPNEGO itself.
const SPNEGO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.2");
/// NTLMSSP.
pub(super) const NTLMSSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.2.10");
/// Kerberos 5.
pub(super) const KRB5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113554.1.2.2");
/// \[MS-SPNG 1.9\] Kerberos 5 as Windows 2000 wrote it, by a cut-off encoder; still every
/// client's first choice.
pub(super) const MS_KRB5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.48018.1.2.2");

/// Tag of InitialContextToken: `[APPLICATION 0]`, constructed.
const INITIAL_CONTEXT_TOKEN: u8 = 0x60;
/// Tag of negTokenInit: `[0]`, constructed.
const NEG_TOKEN_INIT: u8 = 0xa0;
/// Tag of negTokenResp: `[1]`, constructed.
const NEG_TOKEN_RESP: u8 = 0xa1;
/// Tag of SEQUENCE OF.
const SEQUENCE: u8 = 0x30;

pub(super) fn malformed(what: &str) -> SecurityError {
    SecurityError::Malformed(format!("spnego: {what}"))
}

fn der_error(error: der::Error) -> SecurityError {
    malformed(&error.to_string())
}

/// A decoded NegTokenInit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NegTokenInit {
    /// The client's mechanisms, best first.
    pub(super) mechs: Vec<ObjectIdentifier>,
    /// DER of mechTypes as it was received: what mechListMIC covers.
    pub(super) mech_types: Vec<u8>,
    /// First token of the first mechanism.
    pub(super) mech_token: Option<Vec<u8>>,
}

#[derive(Sequence)]
struct InitFields<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    mech_types: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    req_flags: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    mech_token: Option<&'a OctetStringRef>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    mech_list_mic: Option<&'a OctetStringRef>,
}

impl NegTokenInit {
    /// Decodes an InitialContextToken.
    pub(super) fn decode(token: &[u8]) -> Result<Self, SecurityError> {
        let inner = unwrap(token, INITIAL_CONTEXT_TOKEN)?;
        let (mech, rest) = ObjectIdentifier::from_der_partial(inner).map_err(der_error)?;
        if mech != SPNEGO {
            return Err(malformed("initial token of another mechanism"));
        }
        let fields = InitFields::from_der(unwrap(rest, NEG_TOKEN_INIT)?).map_err(der_error)?;
        let mech_types = fields.mech_types.to_der().map_err(der_error)?;
        Ok(Self {
            mechs: mechs(&mech_types)?,
            mech_types,
            mech_token: fields.mech_token.map(|token| token.as_bytes().to_vec()),
        })
    }

    /// Encodes an InitialContextToken that offers `mechs`.
    pub(super) fn encode(
        mechs: &[ObjectIdentifier],
        mech_token: Option<&[u8]>,
    ) -> Result<(Vec<u8>, Vec<u8>), SecurityError> {
        let mech_types = mechs.to_vec().to_der().map_err(der_error)?;
        let fields = InitFields {
            mech_types: AnyRef::from_der(&mech_types).map_err(der_error)?,
            req_flags: None,
            mech_token: mech_token
                .map(OctetStringRef::new)
                .transpose()
                .map_err(der_error)?,
            mech_list_mic: None,
        };
        let body = [
            SPNEGO.to_der().map_err(der_error)?,
            wrap(NEG_TOKEN_INIT, &fields.to_der().map_err(der_error)?)?,
        ]
        .concat();
        Ok((wrap(INITIAL_CONTEXT_TOKEN, &body)?, mech_types))
    }
}

/// The object identifiers of a MechTypeList.
fn mechs(mech_types: &[u8]) -> Result<Vec<ObjectIdentifier>, SecurityError> {
    let mut rest = unwrap(mech_types, SEQUENCE)?;
    let mut mechs = Vec::new();
    while !rest.is_empty() {
        if mechs.len() >= MAX_MECH_TYPES {
            return Err(malformed("too many mechTypes"));
        }
        let (mech, tail) = ObjectIdentifier::from_der_partial(rest).map_err(der_error)?;
        mechs.push(mech);
        rest = tail;
    }
    Ok(mechs)
}

/// \[RFC 4178 4.2.2\] negState.
#[derive(Enumerated, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum NegState {
    AcceptCompleted = 0,
    AcceptIncomplete = 1,
    Reject = 2,
    RequestMic = 3,
}

/// \[RFC 4178 4.2.2\] NegTokenResp.
#[derive(Sequence, Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NegTokenResp {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) neg_state: Option<NegState>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) supported_mech: Option<ObjectIdentifier>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) response_token: Option<OctetString>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) mech_list_mic: Option<OctetString>,
}

impl NegTokenResp {
    /// Decodes a negTokenResp.
    pub(super) fn decode(token: &[u8]) -> Result<Self, SecurityError> {
        Self::from_der(unwrap(token, NEG_TOKEN_RESP)?).map_err(der_error)
    }

    /// Encodes a negTokenResp.
    pub(super) fn encode(&self) -> Result<Vec<u8>, SecurityError> {
        wrap(NEG_TOKEN_RESP, &self.to_der().map_err(der_error)?)
    }
}

/// Bytes for an optional OCTET STRING; empty means absent.
pub(super) fn octets(bytes: Vec<u8>) -> Result<Option<OctetString>, SecurityError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    OctetString::new(bytes).map(Some).map_err(der_error)
}

/// The contents of a TLV that must have `tag` and fill `token`.
fn unwrap(token: &[u8], tag: u8) -> Result<&[u8], SecurityError> {
    if token.len() > MAX_TOKEN {
        return Err(malformed("token is too long"));
    }
    if token.first() != Some(&tag) {
        return Err(malformed("unexpected token"));
    }
    Ok(AnyRef::from_der(token).map_err(der_error)?.value())
}

fn wrap(tag: u8, contents: &[u8]) -> Result<Vec<u8>, SecurityError> {
    let mut out = vec![tag];
    let length = Length::try_from(contents.len()).map_err(der_error)?;
    out.extend_from_slice(&length.to_der().map_err(der_error)?);
    out.extend_from_slice(contents);
    Ok(out)
}
