//! The server's side of an association.

use super::groups::Membership;
use super::{ServerConfig, StepTicket};
use crate::security::{AuthLevel, AuthType, Identity, Leg, SecurityError, SecurityProvider};
use crate::verification::VerificationFacts;
use crate::{ByteOrder, FaultStatus, SyntaxId};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the driver must do next.
#[derive(Debug)]
pub enum ServerAction {
    /// Send exactly one PDU (on a pipe: one message).
    Transmit(Bytes),
    /// Run the ticket where blocking is allowed, then [`ServerAssociation::handle_stepped`].
    Step(StepTicket),
    /// Execute a call, then [`ServerAssociation::handle_reply`].
    Call(IncomingCall),
    /// The client has no more interest in the call; a reply may still be handed in and is dropped
    /// if the client orphaned the call.
    CancelCall {
        /// Which call.
        call_id: u32,
    },
    /// Send what was transmitted before, then close. Nothing follows.
    Close(CloseReason),
}

/// A complete, verified request.
#[derive(Debug, Clone)]
pub struct IncomingCall {
    /// Names the call in [`ServerAssociation::handle_reply`].
    pub call_id: u32,
    /// Interface of its presentation context.
    pub interface: SyntaxId,
    /// Operation number, below [`super::Interface::opnum_count`].
    pub opnum: u16,
    /// Byte order of the stub.
    pub byte_order: ByteOrder,
    /// Arguments, without authentication padding; a verification trailer may follow them.
    pub stub: Bytes,
    /// Who calls, if the call is covered by a security context.
    pub security: Option<CallSecurity>,
    /// For the check of what follows the arguments.
    pub verification: VerificationFacts,
}

/// The security context that covers a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSecurity {
    /// Security package.
    pub auth_type: AuthType,
    /// Level of the context, the same for each PDU.
    pub level: AuthLevel,
    /// The caller as the verifier knows it.
    pub identity: Arc<Identity>,
}

/// Why the association ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer broke the rules of the protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// A deadline passed.
    #[error("timed out: {0}")]
    Timeout(&'static str),
}

/// One connection, server side.
pub struct ServerAssociation {
    config: Arc<ServerConfig>,
    group: Option<Membership>,
    provider: Arc<dyn SecurityProvider>,
}

impl fmt::Debug for ServerAssociation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerAssociation").finish_non_exhaustive()
    }
}

impl ServerAssociation {
    /// A fresh connection, on which the client must bind first.
    #[must_use]
    pub fn new(
        now: Duration,
        config: Arc<ServerConfig>,
        provider: Arc<dyn SecurityProvider>,
    ) -> Self {
        let _ = now;
        Self {
            group: config.groups.found(),
            config,
            provider,
        }
    }

    /// Whether the driver should read on. While `false`, leave bytes in the socket: what is handed
    /// in nevertheless is buffered up to a bound, past which the association closes.
    #[must_use]
    pub fn wants_data(&self) -> bool {
        true
    }

    /// Bytes arrived, in any portions.
    pub fn handle_data(&mut self, now: Duration, bytes: &[u8]) {
        let _ = (
            now,
            bytes,
            &self.config,
            &self.provider,
            self.group
                .as_ref()
                .map(|group| (group.id(), self.config.groups.join(0))),
        );
    }

    /// A ticket comes back with what [`StepTicket::run`] returned.
    pub fn handle_stepped(
        &mut self,
        now: Duration,
        ticket: StepTicket,
        outcome: Result<Leg, SecurityError>,
    ) {
        let _ = (now, ticket, outcome);
    }

    /// A ticket will not come back: the exchange counts as failed.
    pub fn handle_step_abandoned(&mut self, now: Duration, error: SecurityError) {
        let _ = (now, error);
    }

    /// The outcome of a call. Unknown and orphaned calls are ignored.
    pub fn handle_reply(
        &mut self,
        now: Duration,
        call_id: u32,
        outcome: Result<Bytes, FaultStatus>,
    ) {
        let _ = (now, call_id, outcome);
    }

    /// Time has come to [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Duration) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// What to do next; call until `None` after each `handle_*`.
    pub fn poll_action(&mut self) -> Option<ServerAction> {
        None
    }
}
