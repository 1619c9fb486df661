//! The identity that smbd would have given.

use fsrvp_samba::npa::{
    AuthRequest, Level, SecurityToken, SessionInfo, Sid, TransportSession, UnixNames, UnixToken,
    UserInfo, WireEndpoint,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `dcerpc_transport_t` of a named pipe.
const NCACN_NP: u8 = 1;

/// Who calls, as smbd would say it when it hands a pipe over. Only root is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeIdentity {
    /// Level of the hand-over: 7 up to Samba 4.19, 8 since then.
    pub level: Level,
    /// Account name.
    pub account: String,
    /// Domain, or the server's own name for a local account.
    pub domain: String,
    /// The user's SID first, then its primary group and all other groups. smbd's list also has
    /// S-1-1-0, S-1-5-2 and S-1-5-11, on which Samba's own agent checks access to shares.
    pub sids: Vec<Sid>,
    /// Bit mask of privileges; 0x200 is SeBackupPrivilege.
    pub privilege_mask: u64,
    /// Unix user.
    pub uid: u64,
    /// Unix primary group.
    pub gid: u64,
    /// Where the SMB client is.
    pub client: SocketAddr,
    /// The address that the SMB client has connected to.
    pub server: SocketAddr,
}

impl Default for PipeIdentity {
    /// An account without groups or privileges, which no agent lets in.
    fn default() -> Self {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            level: Level::Seven,
            account: "client".to_owned(),
            domain: "WORKGROUP".to_owned(),
            sids: Vec::new(),
            privilege_mask: 0,
            uid: 65_534,
            gid: 65_534,
            client: SocketAddr::new(localhost, 49_152),
            server: SocketAddr::new(localhost, 445),
        }
    }
}

impl From<PipeIdentity> for AuthRequest {
    fn from(identity: PipeIdentity) -> Self {
        // Samba's services want names, too, and smbd has none but its own.
        let endpoint = |address: SocketAddr| WireEndpoint {
            name: Some(address.ip().to_string()),
            address: Some(address.ip().to_string()),
            port: address.port(),
        };
        let info = SessionInfo {
            security_token: Some(SecurityToken {
                sids: identity.sids,
                privilege_mask: identity.privilege_mask,
                ..SecurityToken::default()
            }),
            unix_token: Some(UnixToken {
                uid: identity.uid,
                gid: identity.gid,
                groups: vec![identity.gid],
            }),
            unix_names: Some(UnixNames {
                unix_name: Some(identity.account.clone()),
                sanitized_username: Some(identity.account.clone()),
            }),
            user: Some(UserInfo {
                account_name: Some(identity.account),
                domain_name: Some(identity.domain),
                user_flags: 1,
                ..UserInfo::default()
            }),
            session_key: vec![0; 16].into(),
            unique_session_token: [0; 16],
            ticket_type: 0,
        };
        Self {
            level: identity.level,
            transport: NCACN_NP,
            remote: endpoint(identity.client),
            local: endpoint(identity.server),
            session: Some(TransportSession {
                gssapi_credentials: Vec::new().into(),
                info: Some(info),
            }),
        }
    }
}
