//! What a connection is made with.

use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::{ClientConfig, ClientSecurity, FeatureNegotiation};
use dcerpc_proto::limits::MAX_FRAG_PIPE;
use fsrvp_idl::{INTERFACE_UUID, INTERFACE_VERSION};
use std::time::Duration;

/// The FileServerVssAgent interface.
pub(crate) const INTERFACE: SyntaxId =
    SyntaxId::new(INTERFACE_UUID, INTERFACE_VERSION.0, INTERFACE_VERSION.1);

/// What a connection is made with. Stubs are always sent little-endian.
#[derive(Debug)]
pub struct Options {
    /// Interfaces to bind besides FileServerVssAgent, for [`crate::FsrvpClient::call_interface`].
    pub more_interfaces: Vec<SyntaxId>,
    /// Largest fragment offered, in bytes, both directions.
    pub max_frag: u16,
    /// Association group to join; 0 makes a new one.
    pub association_group: u32,
    /// Bind-time feature negotiation.
    pub feature_negotiation: FeatureNegotiation,
    /// Initiator and level of authentication, if any.
    pub security: Option<ClientSecurity>,
    /// \[3.2.2\] RPC Call Timeout timer: for the connection with its bind, and for each call. When
    /// it fires the connection is closed (\[3.2.5\]).
    pub call_timeout: Duration,
}

impl Default for Options {
    /// No authentication, fragments of a pipe, and the 180 seconds of \[3.2.2\].
    fn default() -> Self {
        Self {
            more_interfaces: Vec::new(),
            max_frag: MAX_FRAG_PIPE,
            association_group: 0,
            feature_negotiation: FeatureNegotiation::default(),
            security: None,
            call_timeout: Duration::from_secs(180),
        }
    }
}

impl Options {
    pub(crate) fn into_config(self) -> ClientConfig {
        let mut interfaces = vec![INTERFACE];
        interfaces.extend(self.more_interfaces);
        ClientConfig {
            interfaces,
            max_frag: self.max_frag,
            association_group: self.association_group,
            feature_negotiation: self.feature_negotiation,
            security: self.security,
        }
    }
}
