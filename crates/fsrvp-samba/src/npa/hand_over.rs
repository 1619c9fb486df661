//! What a hand-over says, without the shape of the frame.

use super::{AuthRequest, Level, SessionInfo, Sid, UnixToken, WireEndpoint};
use std::fmt;
use std::net::IpAddr;

bitflags::bitflags! {
    /// Flags that smbd passes in the SID `S-1-22-2041152804-<flags>`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct NpaFlags: u32 {
        /// The service should tell when it is idle.
        const NEED_IDLE = 0x1;
        /// winbind is not to be asked.
        const WINBIND_OFF = 0x2;
        /// Nobody wants to use the pipe, only to know whether it is there.
        const PROBE_ONLY = 0x4;
        const _ = !0;
    }
}

/// Encryption of the SMB session, as smbd tells it in a SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmbEncryption {
    /// SMB dialect, 0x0311 for SMB 3.1.1.
    pub dialect: u16,
    /// 1: some of the session's packets were encrypted, 2: all of them.
    pub encryption: u32,
    /// Cipher of SMB2_ENCRYPTION_CAPABILITIES; 2 is AES-128-GCM.
    pub cipher: u32,
}

impl SmbEncryption {
    /// Whether all packets of the session are encrypted.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.encryption == 2
    }
}

/// What the SIDs of the token say that is not about groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Flags of the hand-over.
    pub flags: NpaFlags,
    /// Encryption of the SMB session; `None`: not encrypted.
    pub encryption: Option<SmbEncryption>,
}

impl Facts {
    /// Whether smbd only wants to know if the pipe is there: not to be counted as a client.
    #[must_use]
    pub const fn probe_only(&self) -> bool {
        self.flags.contains(NpaFlags::PROBE_ONLY)
    }
}

/// One end of the client's connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Host name as smbd tells it. For the client end that is the server's own name: of no use.
    pub name: Option<String>,
    /// The address; IPv4-mapped IPv6 addresses in their IPv4 form.
    pub address: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
}

/// The user of the SMB session, as smbd has authenticated it.
#[derive(Clone, PartialEq, Eq)]
pub struct PipeToken {
    /// User, primary group and groups, BUILTIN aliases included. The SIDs by which smbd passes
    /// facts are not among them.
    pub sids: Vec<Sid>,
    /// Bit mask of privileges.
    pub privilege_mask: u64,
    /// Account name.
    pub account: String,
    /// NetBIOS domain.
    pub domain: String,
    /// Unix view of the user.
    pub unix: Option<UnixToken>,
    /// Samba's name for this logon in its audit log.
    pub session: uuid::Uuid,
}

impl PipeToken {
    /// SeBackupPrivilege in [`PipeToken::privilege_mask`].
    pub const SE_BACKUP_PRIVILEGE: u64 = 0x200;

    /// SID of the user.
    #[must_use]
    pub fn user_sid(&self) -> Option<&Sid> {
        self.sids.first()
    }

    /// Whether the token holds SeBackupPrivilege.
    #[must_use]
    pub const fn has_backup_privilege(&self) -> bool {
        self.privilege_mask & Self::SE_BACKUP_PRIVILEGE != 0
    }

    /// `DOMAIN\account`, for logs.
    #[must_use]
    pub fn qualified_account(&self) -> String {
        format!("{}\\{}", self.domain, self.account)
    }
}

impl fmt::Debug for PipeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sids: Vec<String> = self.sids.iter().map(Sid::to_string).collect();
        f.debug_struct("PipeToken")
            .field("account", &self.qualified_account())
            .field("sids", &sids)
            .field(
                "privilege_mask",
                &format_args!("{:#x}", self.privilege_mask),
            )
            .finish_non_exhaustive()
    }
}

/// A client's pipe, handed over by smbd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// Level of smbd's structures.
    pub level: Level,
    /// The client.
    pub client: Endpoint,
    /// The address of ours that the client connected to.
    pub server: Endpoint,
    /// The user; `None` if smbd sent no session, and nobody may then do anything.
    pub token: Option<PipeToken>,
    /// What else the token said.
    pub facts: Facts,
}

impl From<AuthRequest> for HandOver {
    /// Takes what the program needs; session key and delegated credentials are wiped.
    fn from(request: AuthRequest) -> Self {
        let mut facts = Facts::default();
        let token = request
            .session
            .and_then(|session| session.info)
            .and_then(|info| pipe_token(info, &mut facts));
        Self {
            level: request.level,
            client: request.remote.into(),
            server: request.local.into(),
            token,
            facts,
        }
    }
}

impl From<WireEndpoint> for Endpoint {
    fn from(wire: WireEndpoint) -> Self {
        Self {
            name: wire.name,
            address: wire
                .address
                .and_then(|text| text.parse().ok())
                .map(|address: IpAddr| address.to_canonical()),
            port: wire.port,
        }
    }
}

fn pipe_token(info: SessionInfo, facts: &mut Facts) -> Option<PipeToken> {
    let mut token = info.security_token?;
    token.sids.retain(|sid| {
        if let Some(flags) = sid.npa_flags() {
            facts.flags |= NpaFlags::from_bits_retain(flags);
            false
        } else if let Some((dialect, encryption, cipher)) = sid.smb_encryption() {
            facts.encryption = Some(SmbEncryption {
                dialect: u16::try_from(dialect).unwrap_or(u16::MAX),
                encryption,
                cipher,
            });
            false
        } else {
            true
        }
    });
    let user = info.user.unwrap_or_default();
    Some(PipeToken {
        sids: token.sids,
        privilege_mask: token.privilege_mask,
        account: user.account_name.unwrap_or_default(),
        domain: user.domain_name.unwrap_or_default(),
        unix: info.unix_token,
        session: uuid::Uuid::from_bytes_le(info.unique_session_token),
    })
}
