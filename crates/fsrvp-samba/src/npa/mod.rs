//! `named_pipe_auth`: how smbd hands a client's pipe to the service that owns it.
//!
//! smbd connects to the service's socket, sends one `named_pipe_auth_req` with the whole security
//! token of the SMB session, waits for a `named_pipe_auth_rep`, and then passes the client's
//! messages through. The structures are internal to Samba and bear a level: 7 up to Samba 4.19,
//! 8 since then. smbd accepts only a reply of its own level, so the level of the request decides.
//!
//! [`AuthRequest`] is the frame as it stands; [`HandOver`] is what the rest of the program wants
//! to know.

mod claims;
mod decode;
mod encode;
mod hand_over;
mod reader;
mod reply;
mod sid;
mod writer;

pub use claims::{Claim, ClaimValues};
pub use hand_over::{Endpoint, Facts, HandOver, NpaFlags, PipeToken, SmbEncryption};
pub use reply::{REPLY_LEN, auth_reply, check_auth_reply};
pub use sid::{MAX_SUB_AUTHORITIES, Sid, SidError};

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Longest frame that is accepted, in bytes, without the length field.
///
/// smbd itself stops at 0x00FF_FFFF. A token of 1,024 SIDs, Windows' own limit, takes 28 KiB, and
/// an exported Kerberos ticket at most 64 KiB, so 1 MiB refuses no real user, while a peer that
/// announces more cannot make us hold it.
pub const MAX_FRAME: u32 = 1 << 20;

/// Level of the structures, chosen by smbd's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Up to Samba 4.19.
    Seven = 7,
    /// Since Samba 4.20: claims and device SIDs in the token, user flags in the account.
    Eight = 8,
}

impl TryFrom<u32> for Level {
    type Error = DecodeError;

    fn try_from(level: u32) -> Result<Self, DecodeError> {
        match level {
            7 => Ok(Self::Seven),
            8 => Ok(Self::Eight),
            other => Err(DecodeError::Level(other)),
        }
    }
}

/// Bytes that are wiped when they are dropped and never printed.
#[derive(Clone, PartialEq, Eq, Default, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// `named_pipe_auth_req`, levels 7 and 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// Level of the frame.
    pub level: Level,
    /// `dcerpc_transport_t`; 1 is NCACN_NP.
    pub transport: u8,
    /// The SMB client.
    pub remote: WireEndpoint,
    /// The address that the client connected to.
    pub local: WireEndpoint,
    /// The authenticated session.
    pub session: Option<TransportSession>,
}

/// One end of the client's connection, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WireEndpoint {
    /// Host name. smbd gives its own for both ends.
    pub name: Option<String>,
    /// IP address.
    pub address: Option<String>,
    /// TCP port.
    pub port: u16,
}

/// `auth_session_info_transport`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportSession {
    /// Delegated Kerberos credentials.
    pub gssapi_credentials: Secret,
    /// The session.
    pub info: Option<SessionInfo>,
}

/// `auth_session_info`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Windows view of the user.
    pub security_token: Option<SecurityToken>,
    /// Unix view of the user.
    pub unix_token: Option<UnixToken>,
    /// The account.
    pub user: Option<UserInfo>,
    /// The account's Unix names.
    pub unix_names: Option<UnixNames>,
    /// Application key of the SMB session.
    pub session_key: Secret,
    /// GUID of this logon, little-endian fields, as in Samba's audit log.
    pub unique_session_token: [u8; 16],
    /// `ticket_type`
    pub ticket_type: u16,
}

/// `security_token`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityToken {
    /// User, primary group, groups, and the SIDs by which smbd passes facts.
    pub sids: Vec<Sid>,
    /// Bit mask of privileges.
    pub privilege_mask: u64,
    /// Bit mask of LSA rights.
    pub rights_mask: u32,
    /// Level 8: claims made locally.
    pub local_claims: Vec<Claim>,
    /// Level 8: claims about the user.
    pub user_claims: Vec<Claim>,
    /// Level 8: claims about the device.
    pub device_claims: Vec<Claim>,
    /// Level 8: groups of the device.
    pub device_sids: Vec<Sid>,
    /// Level 8: `claims_evaluation_control`.
    pub evaluate_claims: u16,
}

/// `security_unix_token`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixToken {
    /// User id.
    pub uid: u64,
    /// Primary group id.
    pub gid: u64,
    /// Supplementary groups.
    pub groups: Vec<u64>,
}

/// `auth_user_info`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserInfo {
    /// Account name.
    pub account_name: Option<String>,
    /// User principal name.
    pub user_principal_name: Option<String>,
    /// Whether the principal name was made up from account and domain.
    pub user_principal_constructed: u8,
    /// NetBIOS domain.
    pub domain_name: Option<String>,
    /// DNS domain.
    pub dns_domain_name: Option<String>,
    /// Full name.
    pub full_name: Option<String>,
    /// Logon script.
    pub logon_script: Option<String>,
    /// Profile path.
    pub profile_path: Option<String>,
    /// Home directory.
    pub home_directory: Option<String>,
    /// Home drive.
    pub home_drive: Option<String>,
    /// The server that verified the logon.
    pub logon_server: Option<String>,
    /// NTTIME.
    pub last_logon: u64,
    /// NTTIME.
    pub last_logoff: u64,
    /// NTTIME.
    pub acct_expiry: u64,
    /// NTTIME.
    pub last_password_change: u64,
    /// NTTIME.
    pub allow_password_change: u64,
    /// NTTIME.
    pub force_password_change: u64,
    /// Logon count.
    pub logon_count: u16,
    /// Bad password count.
    pub bad_password_count: u16,
    /// Account control bits.
    pub acct_flags: u32,
    /// Level 7: `authenticated`, 0 or 1. Level 8: NETLOGON user flags.
    pub user_flags: u32,
}

/// `auth_user_info_unix`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnixNames {
    /// Unix account.
    pub unix_name: Option<String>,
    /// The name with which smbd fills `%` substitutions.
    pub sanitized_username: Option<String>,
}

/// A frame does not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("{field} needs {needed} bytes, {found} are left")]
    Short {
        /// Field.
        field: &'static str,
        /// Bytes needed.
        needed: usize,
        /// Bytes left.
        found: usize,
    },
    /// The length field is over [`MAX_FRAME`] or does not tell the length of the frame.
    #[error("frame length {announced} is wrong or over {MAX_FRAME} (frame has {found})")]
    Length {
        /// What the field says.
        announced: u32,
        /// Bytes present.
        found: usize,
    },
    /// Not a `named_pipe_auth` frame.
    #[error("magic is {0:02x?}, not NPAM")]
    Magic([u8; 4]),
    /// A level that this program does not know, or two that differ.
    #[error("level {0} is not supported, only 7 and 8")]
    Level(u32),
    /// A count is larger than the frame or contradicts another one.
    #[error("{field} has the count {count}, which does not fit")]
    Count {
        /// Field.
        field: &'static str,
        /// The count.
        count: u32,
    },
    /// A pointer that must be NULL is not, or a relative one goes back or out of the frame.
    #[error("{field} is a pointer that does not fit")]
    Pointer {
        /// Field.
        field: &'static str,
    },
    /// A text without NUL at its end, with NUL inside, or not in its encoding.
    #[error("{field} is no valid text")]
    Text {
        /// Field.
        field: &'static str,
    },
    /// A SID with too many sub-authorities.
    #[error("{field} is no valid SID")]
    Sid {
        /// Field.
        field: &'static str,
    },
    /// A claim of a type that does not exist.
    #[error("claim type {0:#06x} does not exist")]
    ClaimType(u16),
    /// Bytes follow the end of the structure.
    #[error("{0} bytes follow the end of the frame's structure")]
    Trailing(usize),
    /// A reply that refuses.
    #[error("reply has status {0:#010x}")]
    Status(u32),
}
