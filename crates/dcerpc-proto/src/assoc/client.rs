//! The client's side of an association.

use super::StepTicket;
use crate::security::{AuthLevel, AuthType, Leg, SecurityContext, SecurityError};
use crate::{FaultStatus, SyntaxId};
use bytes::Bytes;

/// What a client association is made with.
#[derive(Debug)]
pub struct ClientConfig {
    /// Interfaces to bind, each with NDR 2.0; the position is the presentation context id.
    pub interfaces: Vec<SyntaxId>,
    /// Largest fragment offered, both directions.
    pub max_frag: u16,
    /// Association group to join; 0 makes a new one.
    pub association_group: u32,
    /// Offer bind-time feature negotiation.
    pub feature_negotiation: FeatureNegotiation,
    /// Authentication, if any.
    pub security: Option<ClientSecurity>,
}

/// Whether the client offers bind-time feature negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeatureNegotiation {
    /// Not offered, as rpcclient and impacket do.
    #[default]
    Omit,
    /// Offered with both bits, as Windows does.
    Offer,
}

/// How a client authenticates.
#[derive(Debug)]
pub struct ClientSecurity {
    /// Security package.
    pub auth_type: AuthType,
    /// Level of the whole association.
    pub level: AuthLevel,
    /// The initiator; its first step is called with an empty token.
    pub context: Box<dyn SecurityContext>,
    /// auth_context_id of all sec_trailers.
    pub context_id: u32,
    /// Offer header signing.
    pub header_signing: HeaderSigning,
}

/// Whether the client offers header signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderSigning {
    /// Not offered, as impacket does.
    Omit,
    /// Offered, as Windows and Samba do.
    #[default]
    Offer,
}

/// What the driver must do next.
#[derive(Debug)]
pub enum ClientAction {
    /// Send exactly one PDU (on a pipe: one message).
    Transmit(Bytes),
    /// Run the ticket where blocking is allowed, then [`ClientAssociation::handle_stepped`].
    Step(StepTicket),
    /// Bound and authenticated: calls may be made.
    Bound(Vec<BoundContext>),
    /// A call has ended.
    Completed {
        /// Which call.
        call_id: u32,
        /// The stub of the response.
        outcome: Result<Bytes, CallError>,
    },
    /// The association is over; close the connection. Nothing follows.
    Failed(ClientError),
}

/// What became of one interface of the bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundContext {
    /// The interface.
    pub interface: SyntaxId,
    /// `(result, reason)` if it was not accepted.
    pub rejected: Option<(u16, u16)>,
}

/// Why a call failed; the association lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server answered with a fault.
    #[error("fault {0}")]
    Fault(FaultStatus),
}

/// Why an association failed or a request to it was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused the bind.
    #[error("bind refused with reason {0}")]
    BindNak(u16),
    /// The server answered the bind or a leg of it with a fault.
    #[error("bind refused with fault {0}")]
    BindFault(FaultStatus),
    /// The server broke the rules of the protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// Our security package failed.
    #[error("security: {0}")]
    Security(#[from] SecurityError),
    /// Not bound yet, or over.
    #[error("association is not bound")]
    NotBound,
    /// The interface was not accepted at the bind.
    #[error("interface {0} is not bound")]
    InterfaceNotBound(SyntaxId),
}

/// One connection, client side. It has no timers: the driver bounds each call.
#[derive(Debug)]
pub struct ClientAssociation {
    config: ClientConfig,
}

impl ClientAssociation {
    /// Starts the bind; poll the actions.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self { config }
    }

    /// Bytes arrived, in any portions.
    pub fn handle_data(&mut self, bytes: &[u8]) {
        let _ = (bytes, &self.config);
    }

    /// A ticket comes back with what [`StepTicket::run`] returned.
    pub fn handle_stepped(&mut self, ticket: StepTicket, outcome: Result<Leg, SecurityError>) {
        let _ = (ticket, outcome);
    }

    /// Sends a request and returns its call_id.
    ///
    /// # Errors
    /// [`ClientError::NotBound`], [`ClientError::InterfaceNotBound`].
    pub fn call(
        &mut self,
        interface: SyntaxId,
        opnum: u16,
        stub: Bytes,
    ) -> Result<u32, ClientError> {
        let _ = (opnum, stub);
        Err(ClientError::InterfaceNotBound(interface))
    }

    /// Tells the server that nobody waits for the call any more.
    pub fn orphan(&mut self, call_id: u32) {
        let _ = call_id;
    }

    /// What to do next; call until `None` after each `handle_*` and `call`.
    pub fn poll_action(&mut self) -> Option<ClientAction> {
        None
    }
}
