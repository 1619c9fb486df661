//! \[MS-DTYP 2.4.2\] SID, with the identifiers by which smbd passes facts inside a token.

use std::fmt;
use std::str::FromStr;

/// Most sub-authorities that a SID can have.
pub const MAX_SUB_AUTHORITIES: usize = 15;

/// First sub-authority of `S-1-22-2041152804-<flags>`, with which smbd passes hand-over flags.
const NPA_FLAGS: u32 = 2_041_152_804;
/// First sub-authority of `S-1-22-1397571891-<dialect>-<encryption>-<cipher>`, which says that the
/// SMB session or share is encrypted.
const SMB3_ENCRYPTION: u32 = 1_397_571_891;
/// SECURITY_UNIX authority, in which Samba makes up identifiers of its own.
const UNIX_AUTHORITY: u64 = 22;

/// A security identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    /// Revision, always 1 in practice.
    pub revision: u8,
    /// Identifier authority, 48 bits.
    pub authority: u64,
    /// Sub-authorities, at most [`MAX_SUB_AUTHORITIES`].
    pub sub_authorities: Vec<u32>,
}

impl Sid {
    /// Flags of the hand-over, if this SID carries them.
    pub(super) fn npa_flags(&self) -> Option<u32> {
        match (self.authority, self.sub_authorities.as_slice()) {
            (UNIX_AUTHORITY, [NPA_FLAGS, rest @ ..]) => Some(rest.first().copied().unwrap_or(0)),
            _ => None,
        }
    }

    /// Dialect, encryption and cipher of the SMB session, if this SID carries them.
    pub(super) fn smb_encryption(&self) -> Option<(u32, u32, u32)> {
        match (self.authority, self.sub_authorities.as_slice()) {
            (UNIX_AUTHORITY, [SMB3_ENCRYPTION, rest @ ..]) => {
                let nth = |n: usize| rest.get(n).copied().unwrap_or(0);
                Some((nth(0), nth(1), nth(2)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-{}-{}", self.revision, self.authority)?;
        self.sub_authorities
            .iter()
            .try_for_each(|sub| write!(f, "-{sub}"))
    }
}

/// The text is no SID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no SID of the form S-1-…")]
pub struct SidError(String);

impl FromStr for Sid {
    type Err = SidError;

    fn from_str(text: &str) -> Result<Self, SidError> {
        let error = || SidError(text.to_owned());
        let mut parts = text.split('-');
        if parts.next() != Some("S") {
            return Err(error());
        }
        let mut number = || parts.next().map(str::parse::<u64>);
        let (Some(Ok(revision)), Some(Ok(authority))) = (number(), number()) else {
            return Err(error());
        };
        let sub_authorities = parts
            .map(str::parse)
            .collect::<Result<Vec<u32>, _>>()
            .map_err(|_| error())?;
        if authority >= 1 << 48 || sub_authorities.len() > MAX_SUB_AUTHORITIES {
            return Err(error());
        }
        Ok(Self {
            revision: u8::try_from(revision).map_err(|_| error())?,
            authority,
            sub_authorities,
        })
    }
}
