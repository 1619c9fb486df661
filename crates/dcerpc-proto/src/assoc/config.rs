//! What a server association is made with.

use super::AssociationGroups;
use crate::SyntaxId;
use crate::security::AuthLevel;

/// An interface offered by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// UUID and version; a client with the same major and the same or a lower minor version fits.
    pub id: SyntaxId,
    /// Number of operations: a call of this opnum or above is answered with
    /// [`crate::FaultStatus::OP_RANGE`].
    pub opnum_count: u16,
    /// Overrides [`ServerConfig::min_auth_level`].
    pub min_auth_level: Option<AuthLevel>,
}

/// What a server association is made with; shared by all associations of a listener.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The interfaces offered, besides `mgmt`.
    pub interfaces: Vec<Interface>,
    /// sec_addr of bind_ack, without NUL: `\PIPE\FssagentRpc` or a port in decimal.
    pub secondary_address: String,
    /// Largest fragment, both directions: [`crate::limits::MAX_FRAG_PIPE`] or
    /// [`crate::limits::MAX_FRAG_TCP`].
    pub max_frag: u16,
    /// Calls below this level get [`crate::FaultStatus::ACCESS_DENIED`].
    pub min_auth_level: AuthLevel,
    /// Whether header signing is used with clients that offer it. Off only for peers that are known
    /// to get it wrong: NTLM covers the headers all the same, Kerberos then does not.
    pub header_signing: bool,
    /// The association groups of the listener.
    pub groups: AssociationGroups,
}
