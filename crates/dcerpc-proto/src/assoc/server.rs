//! The server's side of an association: its face to the driver, and what is done with each PDU.

use super::auth::{ContextIndex, SecurityContexts};
use super::bind::PendingLeg;
use super::call::{Executing, IncompleteCall};
use super::framer::{Framer, is_length_lie};
use super::groups::Membership;
use super::mgmt::Statistics;
use super::negotiate::PresentationContexts;
use super::{ServerConfig, StepTicket};
use crate::limits::{AUTHENTICATION_TIMEOUT, BIND_TIMEOUT, MAX_BUFFERED, PDU_TIMEOUT};
use crate::pdu::{
    BindNak, Body, DecodeError, Fault, Header, Packet, PacketType, PfcFlags, RejectReason,
};
use crate::security::{AuthLevel, AuthType, Identity, Leg, SecurityError, SecurityProvider};
use crate::verification::VerificationFacts;
use crate::{ByteOrder, FaultStatus, SyntaxId};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
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
    /// Execute a call, then [`ServerAssociation::handle_reply`]. There is one call at a time: the
    /// next one comes only after the reply.
    Call(IncomingCall),
    /// The client asked to end the call, or orphaned it. The reply is still awaited; it is sent
    /// unless the call was orphaned.
    CancelCall {
        /// Which call.
        call_id: u32,
    },
    /// For the log: a call was answered with [`crate::FaultStatus::ACCESS_DENIED`] because its
    /// level is too low.
    LevelTooLow {
        /// Interface of its presentation context.
        interface: SyntaxId,
        /// Its operation number.
        opnum: u16,
        /// Its level.
        level: AuthLevel,
    },
    /// For the figures: a fault was transmitted.
    Faulted(FaultStatus),
    /// Send what was transmitted before, then close. Nothing follows; a call or step under way
    /// need not be handed back.
    Close(CloseReason),
}

/// A complete, verified request.
#[derive(Debug, Clone)]
pub struct IncomingCall {
    /// Names the call in [`ServerAssociation::handle_reply`].
    pub call_id: u32,
    /// Interface of its presentation context, as configured.
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
    Protocol(&'static str),
    /// A PDU does not decode.
    #[error("malformed PDU: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer wants more than there is room for.
    #[error("limit exceeded: {0}")]
    Limit(&'static str),
    /// A deadline passed.
    #[error("timed out: {0}")]
    Timeout(&'static str),
    /// The security package refused the peer, or a signature does not match.
    #[error("authentication failed: {0}")]
    Authentication(#[from] SecurityError),
    /// The call's level is too low, or its trailer is not that of its security context.
    #[error("access denied: {0}")]
    AccessDenied(&'static str),
    /// What we had to say does not fit into a PDU.
    #[error("answer too long")]
    Oversized,
}

/// One connection, server side.
pub struct ServerAssociation {
    pub(super) config: Arc<ServerConfig>,
    pub(super) provider: Arc<dyn SecurityProvider>,
    pub(super) phase: Phase,
    pub(super) activity: Activity,
    pub(super) contexts: PresentationContexts,
    pub(super) security: SecurityContexts,
    /// The one call whose last fragment is still to come.
    pub(super) incomplete: Option<IncompleteCall>,
    pub(super) statistics: Statistics,
    pub(super) scratch: BytesMut,
    framer: Framer,
    pub(super) actions: VecDeque<ServerAction>,
    pub(super) deadlines: Deadlines,
}

/// How far the association has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Only a bind may come.
    Unbound,
    Bound(Bound),
    Closed,
}

/// What the bind agreed on.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) group: Membership,
    pub(super) max_frag: u16,
    /// Both sides set CONC_MPX.
    pub(super) multiplexed: bool,
    /// The client offered header signing.
    pub(super) client_header_signing: bool,
}

/// What the driver owes us.
#[derive(Debug)]
pub(super) enum Activity {
    Idle,
    /// A leg of authentication runs.
    Stepping(ContextIndex, PendingLeg),
    /// A call is executed.
    Executing(Executing),
}

/// Timers. Each is set when what it bounds begins, cleared when that ends, and closes the
/// association when it fires.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// From the connection to its first PDU.
    bind: Option<Duration>,
    /// From the first byte of a PDU to its last.
    pdu: Option<Duration>,
    /// From the first fragment of a request to its last.
    pub(super) request: Option<Duration>,
    /// From a bind after which nothing can be called, or from the first leg of an authentication,
    /// to its success.
    authentication: Option<Duration>,
}

impl Deadlines {
    fn all(&self) -> [(Option<Duration>, &'static str); 4] {
        [
            (self.bind, "no bind"),
            (self.pdu, "rest of a PDU"),
            (self.request, "rest of a request"),
            (self.authentication, "unfinished authentication"),
        ]
    }
}

impl fmt::Debug for ServerAssociation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerAssociation")
            .field("phase", &self.phase)
            .field("activity", &self.activity)
            .field("deadlines", &self.deadlines)
            .finish_non_exhaustive()
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
        let deadlines = Deadlines {
            bind: Some(now.saturating_add(BIND_TIMEOUT)),
            ..Deadlines::default()
        };
        Self {
            config,
            provider,
            phase: Phase::Unbound,
            activity: Activity::Idle,
            contexts: PresentationContexts::default(),
            security: SecurityContexts::default(),
            incomplete: None,
            statistics: Statistics::default(),
            scratch: BytesMut::new(),
            framer: Framer::default(),
            actions: VecDeque::new(),
            deadlines,
        }
    }

    /// Whether the driver should read on. While `false`, leave bytes in the socket: what is handed
    /// in nevertheless is buffered up to [`MAX_BUFFERED`], past which the association closes.
    #[must_use]
    pub fn wants_data(&self) -> bool {
        match (&self.phase, &self.activity) {
            (Phase::Closed, _) => false,
            (_, Activity::Idle) => true,
            (_, Activity::Stepping(..) | Activity::Executing(_)) => {
                self.framer.len() < MAX_BUFFERED / 2
            }
        }
    }

    /// Bytes arrived, in any portions.
    pub fn handle_data(&mut self, now: Duration, bytes: &[u8]) {
        if self.is_closed() {
            return;
        }
        self.framer.push(bytes);
        self.advance(now);
        if self.framer.len() > MAX_BUFFERED {
            self.close(CloseReason::Limit("bytes sent while the server was busy"));
        }
    }

    /// A ticket comes back with what [`StepTicket::run`] returned.
    pub fn handle_stepped(
        &mut self,
        now: Duration,
        ticket: StepTicket,
        outcome: Result<Leg, SecurityError>,
    ) {
        self.finish_step(Some(ticket.context), outcome);
        self.advance(now);
    }

    /// A ticket will not come back: the exchange counts as failed.
    pub fn handle_step_abandoned(&mut self, now: Duration, error: SecurityError) {
        self.finish_step(None, Err(error));
        self.advance(now);
    }

    /// The outcome of a call. Unknown calls are ignored; so are orphaned ones, but the next call
    /// waits for them.
    pub fn handle_reply(
        &mut self,
        now: Duration,
        call_id: u32,
        outcome: Result<Bytes, FaultStatus>,
    ) {
        self.finish_call(call_id, outcome);
        self.advance(now);
    }

    /// Time has come to [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Duration) {
        let passed = |(deadline, what): (Option<Duration>, _)| {
            deadline
                .is_some_and(|deadline| deadline <= now)
                .then_some(what)
        };
        if let Some(what) = self.deadlines.all().into_iter().find_map(passed) {
            self.close(CloseReason::Timeout(what));
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.deadlines
            .all()
            .into_iter()
            .filter_map(|(deadline, _)| deadline)
            .min()
    }

    /// What to do next; call until `None` after each `handle_*`.
    pub fn poll_action(&mut self) -> Option<ServerAction> {
        self.actions.pop_front()
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Takes as many PDUs as there are and as may be taken now.
    fn advance(&mut self, now: Duration) {
        while !self.is_closed() {
            let Some(header) = self.framer.peek() else {
                break;
            };
            if !self.may_process(&header) {
                break;
            }
            if let Err(error) = self.admit(&header) {
                self.close(error);
                return;
            }
            if self.is_closed() {
                return;
            }
            let Some(pdu) = self.framer.take(&header) else {
                break;
            };
            self.deadlines.pdu = None;
            self.deadlines.bind = None;
            self.statistics.packets_in = self.statistics.packets_in.wrapping_add(1);
            self.handle_pdu(now, &header, pdu);
        }
        self.update_deadlines(now);
    }

    fn update_deadlines(&mut self, now: Duration) {
        if self.is_closed() {
            return;
        }
        let waits_for_peer = matches!(self.activity, Activity::Idle) && !self.framer.is_empty();
        self.deadlines.pdu = waits_for_peer.then(|| {
            self.deadlines
                .pdu
                .unwrap_or(now.saturating_add(PDU_TIMEOUT))
        });
        let unfinished = self.security.is_unfinished() || self.can_call_nothing();
        self.deadlines.authentication = unfinished.then(|| {
            self.deadlines
                .authentication
                .unwrap_or(now.saturating_add(AUTHENTICATION_TIMEOUT))
        });
    }

    /// Whether every call would be refused for its level: a client that leaves it at that only takes
    /// a place from others.
    fn can_call_nothing(&self) -> bool {
        let reached = self.security.highest_level();
        matches!(self.phase, Phase::Bound(_))
            && !self
                .contexts
                .interfaces()
                .any(|offered| self.interface(offered).2 <= reached)
    }

    /// Whether a PDU may be taken while the driver owes us something. A cancel or an orphaned may,
    /// and so may what is wrong in any case. A request after an orphaned one is right (the
    /// connection is kept, as bind-time features say) and waits.
    fn may_process(&self, header: &Header) -> bool {
        match (&self.activity, header.packet_type) {
            (Activity::Idle, _) => true,
            (Activity::Stepping(..), _) => false,
            (Activity::Executing(_), PacketType::CO_CANCEL | PacketType::ORPHANED) => true,
            (Activity::Executing(executing), PacketType::REQUEST) => {
                !self.is_multiplexed() && !executing.orphaned
            }
            (Activity::Executing(_), _) => false,
        }
    }

    /// Judges a PDU by its header, before its bytes are waited for.
    fn admit(&mut self, header: &Header) -> Result<(), CloseReason> {
        if let Err(error) = header.check() {
            if !is_length_lie(&error) {
                self.answer_malformed(header);
            }
            return Err(error.into());
        }
        let unlimited = matches!(
            header.packet_type,
            PacketType::BIND | PacketType::ALTER_CONTEXT
        );
        if unlimited || header.frag_length <= self.config.max_frag {
            return Ok(());
        }
        if header.packet_type == PacketType::REQUEST && !matches!(self.phase, Phase::Unbound) {
            // As Windows, without DID_NOT_EXECUTE.
            self.fault(header.call_id, 0, FaultStatus::PROTOCOL, PfcFlags::empty());
        } else {
            self.answer_malformed(header);
        }
        Err(CloseReason::Limit(
            "fragment longer than the transport's limit",
        ))
    }

    fn handle_pdu(&mut self, now: Duration, header: &Header, pdu: BytesMut) {
        match (&self.phase, header.packet_type) {
            (Phase::Closed, _) => {}
            (Phase::Unbound, PacketType::BIND) => self.handle_bind(header, &pdu),
            (Phase::Unbound, _) => {
                self.nak(header.call_id, RejectReason::PROTOCOL_VERSION_NOT_SUPPORTED);
                self.close(CloseReason::Protocol("the first PDU is not a bind"));
            }
            (Phase::Bound(_), PacketType::BIND) => {
                self.nak(header.call_id, RejectReason::NOT_SPECIFIED);
                self.close(CloseReason::Protocol("second bind"));
            }
            (Phase::Bound(_), PacketType::ALTER_CONTEXT) => self.handle_alter(header, &pdu),
            (Phase::Bound(_), PacketType::AUTH3) => self.handle_auth3(header, &pdu),
            (Phase::Bound(_), PacketType::REQUEST) => self.handle_request(now, header, pdu),
            (Phase::Bound(_), PacketType::CO_CANCEL) => self.handle_cancel(header),
            (Phase::Bound(_), PacketType::ORPHANED) => self.handle_orphaned(header),
            (Phase::Bound(_), _) => {
                self.reject(
                    header,
                    FaultStatus::PROTOCOL,
                    CloseReason::Protocol("PTYPE"),
                );
            }
        }
    }

    /// Answers what does not decode: a nak before the bind, a fault after it.
    fn answer_malformed(&mut self, header: &Header) {
        match self.phase {
            Phase::Unbound => {
                self.nak(header.call_id, RejectReason::PROTOCOL_VERSION_NOT_SUPPORTED);
            }
            Phase::Bound(_) => {
                let flags = PfcFlags::DID_NOT_EXECUTE;
                self.fault(header.call_id, 0, FaultStatus::PROTOCOL, flags);
            }
            Phase::Closed => {}
        }
    }

    /// Refuses a PDU that is not, or not yet, part of a call: a fault that says that nothing was
    /// executed, then the end.
    pub(super) fn reject(&mut self, header: &Header, status: FaultStatus, reason: CloseReason) {
        self.fault(header.call_id, 0, status, PfcFlags::DID_NOT_EXECUTE);
        self.close(reason);
    }

    pub(super) fn fault(
        &mut self,
        call_id: u32,
        context_id: u16,
        status: FaultStatus,
        flags: PfcFlags,
    ) {
        let body = Body::Fault(Fault::new(context_id, status));
        self.transmit_packet(&Packet::new(PfcFlags::WHOLE | flags, call_id, body));
        self.act(ServerAction::Faulted(status));
    }

    pub(super) fn nak(&mut self, call_id: u32, reason: RejectReason) {
        let body = Body::BindNak(BindNak::new(reason));
        self.transmit_packet(&Packet::new(PfcFlags::WHOLE, call_id, body));
    }

    pub(super) fn transmit_packet(&mut self, packet: &Packet<'_>) {
        match packet.encode(&mut self.scratch) {
            Ok(()) => {
                let pdu = self.scratch.split().freeze();
                self.transmit(pdu);
            }
            Err(_) => self.close(CloseReason::Oversized),
        }
    }

    pub(super) fn transmit(&mut self, pdu: Bytes) {
        self.statistics.packets_out = self.statistics.packets_out.wrapping_add(1);
        self.act(ServerAction::Transmit(pdu));
    }

    pub(super) fn act(&mut self, action: ServerAction) {
        if !self.is_closed() {
            self.actions.push_back(action);
        }
    }

    /// Ends the association; what was said before still goes out.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.act(ServerAction::Close(reason));
        self.phase = Phase::Closed;
        self.activity = Activity::Idle;
        self.security = SecurityContexts::default();
        self.incomplete = None;
        self.framer.clear();
        self.deadlines = Deadlines::default();
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        matches!(
            &self.phase,
            Phase::Bound(Bound {
                multiplexed: true,
                ..
            })
        )
    }

    /// Whether the client offered header signing.
    pub(super) fn client_header_signing(&self) -> bool {
        matches!(
            &self.phase,
            Phase::Bound(Bound {
                client_header_signing: true,
                ..
            })
        )
    }

    /// Whether header signing is in use: the client offered it and we take it.
    pub(super) fn header_signing(&self) -> bool {
        self.config.header_signing && self.client_header_signing()
    }
}
