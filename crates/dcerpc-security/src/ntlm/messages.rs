//! \[MS-NLMP 2.2.1\] The three messages. Every offset and length is checked before use.

use dcerpc_proto::security::SecurityError;

use super::flags::NegotiateFlags;
use crate::limits::{MAX_NAME_UNITS, MAX_NTLM_MESSAGE};

/// Signature of every message.
const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// \[MS-NLMP 2.2.2.10\] VERSION: Windows 7, NTLMSSP_REVISION_W2K3. Peers only log it.
pub(super) const VERSION: [u8; 8] = [6, 1, 0, 0, 0, 0, 0, 15];
/// Start of the payload of a CHALLENGE_MESSAGE with Version.
const CHALLENGE_PAYLOAD: usize = 56;
/// Start of the payload of an AUTHENTICATE_MESSAGE with Version and MIC.
const AUTHENTICATE_PAYLOAD: usize = 88;
/// Offset of MIC in an AUTHENTICATE_MESSAGE that has one.
pub(super) const MIC_OFFSET: usize = 72;
/// Length of MIC.
pub(super) const MIC_LEN: usize = 16;

pub(super) fn malformed(what: &str) -> SecurityError {
    SecurityError::Malformed(format!("ntlm: {what}"))
}

fn array<const N: usize>(message: &[u8], offset: usize) -> Result<[u8; N], SecurityError> {
    message
        .get(offset..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or_else(|| malformed("message is too short"))
}

fn u32_at(message: &[u8], offset: usize) -> Result<u32, SecurityError> {
    Ok(u32::from_le_bytes(array(message, offset)?))
}

/// \[MS-NLMP 2.2.1\] A …Fields structure (Len, MaxLen, BufferOffset) and what it points to.
/// `payload` is where payloads may begin: a field that points into the fixed part is a lie.
fn field(message: &[u8], at: usize, payload: usize) -> Result<&[u8], SecurityError> {
    let len = usize::from(u16::from_le_bytes(array(message, at)?));
    let offset_at = at.checked_add(4).ok_or_else(|| malformed("field offset"))?;
    let offset = usize::try_from(u32_at(message, offset_at)?)
        .map_err(|_| malformed("buffer offset exceeds the address space"))?;
    if len == 0 {
        return Ok(&[]);
    }
    if offset < payload {
        return Err(malformed("buffer offset points into the fixed part"));
    }
    let end = offset
        .checked_add(len)
        .ok_or_else(|| malformed("buffer end overflows"))?;
    message
        .get(offset..end)
        .ok_or_else(|| malformed("buffer lies outside the message"))
}

fn check_header(message: &[u8], message_type: u32) -> Result<(), SecurityError> {
    if message.len() > MAX_NTLM_MESSAGE {
        return Err(malformed("message is too long"));
    }
    if message.get(..8) != Some(SIGNATURE.as_slice()) {
        return Err(malformed("no NTLMSSP signature"));
    }
    if u32_at(message, 8)? != message_type {
        return Err(malformed("message type is out of sequence"));
    }
    Ok(())
}

/// Strict UTF-16LE text without NULs.
pub(super) fn text(bytes: &[u8]) -> Result<String, SecurityError> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(malformed("UTF-16 string of odd length"));
    }
    if units.len() > MAX_NAME_UNITS {
        return Err(malformed("name is too long"));
    }
    let text = char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit)))
        .collect::<Result<String, _>>()
        .map_err(|_| malformed("name is not UTF-16"))?;
    if text.contains('\0') {
        return Err(malformed("NUL in a name"));
    }
    Ok(text)
}

/// \[MS-NLMP 2.2.1.1\] NEGOTIATE_MESSAGE; the supplied names are OEM text and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiate {
    /// What the client can do.
    pub flags: NegotiateFlags,
}

impl Negotiate {
    /// Decodes a message. Clients may leave out everything behind NegotiateFlags.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`].
    pub fn decode(message: &[u8]) -> Result<Self, SecurityError> {
        check_header(message, 1)?;
        Ok(Self {
            flags: NegotiateFlags::from_bits_retain(u32_at(message, 12)?),
        })
    }

    /// Encodes a message without names, with our Version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&1_u32.to_le_bytes());
        out.extend_from_slice(&self.flags.bits().to_le_bytes());
        for _ in 0..2 {
            out.extend_from_slice(&[0, 0, 0, 0, 40, 0, 0, 0]);
        }
        out.extend_from_slice(&VERSION);
        out
    }
}

/// \[MS-NLMP 2.2.1.2\] CHALLENGE_MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What the server chose.
    pub flags: NegotiateFlags,
    /// ServerChallenge.
    pub server_challenge: [u8; 8],
    /// TargetName as UTF-16LE.
    pub target_name: Vec<u8>,
    /// TargetInfo: encoded AV_PAIRs.
    pub target_info: Vec<u8>,
}

impl Challenge {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`].
    pub fn decode(message: &[u8]) -> Result<Self, SecurityError> {
        check_header(message, 2)?;
        let flags = NegotiateFlags::from_bits_retain(u32_at(message, 20)?);
        let target_info = if flags.contains(NegotiateFlags::TARGET_INFO) {
            field(message, 40, 48)?.to_vec()
        } else {
            Vec::new()
        };
        Ok(Self {
            flags,
            server_challenge: array(message, 24)?,
            target_name: field(message, 12, 48)?.to_vec(),
            target_info,
        })
    }

    /// Encodes a message with our Version.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`] if a name does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, SecurityError> {
        let mut out = Vec::with_capacity(256);
        let mut payload = Payload::new(CHALLENGE_PAYLOAD);
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&2_u32.to_le_bytes());
        out.extend_from_slice(&payload.push(&self.target_name)?);
        out.extend_from_slice(&self.flags.bits().to_le_bytes());
        out.extend_from_slice(&self.server_challenge);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&payload.push(&self.target_info)?);
        out.extend_from_slice(&VERSION);
        out.extend_from_slice(&payload.bytes);
        Ok(out)
    }
}

/// \[MS-NLMP 2.2.1.3\] AUTHENTICATE_MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticate {
    /// What both sides agreed on.
    pub flags: NegotiateFlags,
    /// LmChallengeResponse.
    pub lm_response: Vec<u8>,
    /// NtChallengeResponse.
    pub nt_response: Vec<u8>,
    /// DomainName.
    pub domain: String,
    /// UserName.
    pub user: String,
    /// Workstation.
    pub workstation: String,
    /// EncryptedRandomSessionKey.
    pub encrypted_session_key: Vec<u8>,
    /// Where the payload begins: the lowest BufferOffset in use. A MIC can only be where it
    /// leaves room.
    pub payload_start: usize,
}

impl Authenticate {
    /// Decodes a message; names must be Unicode.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`].
    pub fn decode(message: &[u8]) -> Result<Self, SecurityError> {
        const FIELDS: [usize; 6] = [12, 20, 28, 36, 44, 52];
        const FIXED: usize = 64;
        check_header(message, 3)?;
        let flags = NegotiateFlags::from_bits_retain(u32_at(message, 60)?);
        let mut payload_start = message.len();
        for at in FIELDS {
            let (len, offset) = (
                array::<2>(message, at)?,
                u32_at(message, at.saturating_add(4))?,
            );
            if len != [0, 0] {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                payload_start = payload_start.min(offset);
            }
        }
        Ok(Self {
            flags,
            lm_response: field(message, 12, FIXED)?.to_vec(),
            nt_response: field(message, 20, FIXED)?.to_vec(),
            domain: text(field(message, 28, FIXED)?)?,
            user: text(field(message, 36, FIXED)?)?,
            workstation: text(field(message, 44, FIXED)?)?,
            encrypted_session_key: field(message, 52, FIXED)?.to_vec(),
            payload_start,
        })
    }

    /// Encodes a message with our Version and an empty MIC; see `MIC_OFFSET`.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`] if a name does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, SecurityError> {
        let mut payload = Payload::new(AUTHENTICATE_PAYLOAD);
        let domain = payload.push(&super::crypto::utf16le(&self.domain))?;
        let user = payload.push(&super::crypto::utf16le(&self.user))?;
        let workstation = payload.push(&super::crypto::utf16le(&self.workstation))?;
        let lm_response = payload.push(&self.lm_response)?;
        let nt_response = payload.push(&self.nt_response)?;
        let session_key = payload.push(&self.encrypted_session_key)?;
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&3_u32.to_le_bytes());
        for fields in [
            lm_response,
            nt_response,
            domain,
            user,
            workstation,
            session_key,
        ] {
            out.extend_from_slice(&fields);
        }
        out.extend_from_slice(&self.flags.bits().to_le_bytes());
        out.extend_from_slice(&VERSION);
        out.extend_from_slice(&[0; MIC_LEN]);
        out.extend_from_slice(&payload.bytes);
        Ok(out)
    }
}

/// The variable part of a message under construction.
struct Payload {
    start: usize,
    bytes: Vec<u8>,
}

impl Payload {
    fn new(start: usize) -> Self {
        Self {
            start,
            bytes: Vec::new(),
        }
    }

    /// Appends `data` and returns the …Fields structure that points to it.
    fn push(&mut self, data: &[u8]) -> Result<[u8; 8], SecurityError> {
        let len = u16::try_from(data.len()).map_err(|_| malformed("name is too long"))?;
        let offset = u32::try_from(self.start.saturating_add(self.bytes.len()))
            .map_err(|_| malformed("message is too long"))?;
        self.bytes.extend_from_slice(data);
        let ([a, b], [c, d, e, f]) = (len.to_le_bytes(), offset.to_le_bytes());
        Ok([a, b, a, b, c, d, e, f])
    }
}
