//! The client's side of an association: its face to the driver, calls and their answers.

use super::StepTicket;
use super::fragment::{Layout, Outgoing, Protection};
use super::framer::Framer;
use crate::limits::MAX_RESPONSE;
use crate::pdu::{
    Body, CoCancel, Fault, Header, Orphaned, Packet, PacketType, PfcFlags, Response, SecTrailer,
};
use crate::security::{AuthLevel, AuthType, Leg, SecurityContext, SecurityError};
use crate::{FaultStatus, SyntaxId};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// What a client association is made with.
#[derive(Debug)]
pub struct ClientConfig {
    /// Interfaces to bind, each with NDR 2.0; the position is the presentation context id. The
    /// first goes into the bind, the others into an alter_context each: servers accept only one
    /// context a PDU.
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
    /// The association is over, and with it every call that has not completed; close the
    /// connection. Nothing follows.
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

/// Why a call failed; the association lives on unless the server closes it.
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
    /// The security package failed, ours or the server's.
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
    pub(super) state: State,
    pub(super) interfaces: Vec<SyntaxId>,
    pub(super) contexts: Vec<BoundContext>,
    pub(super) max_frag: u16,
    pub(super) association_group: u32,
    pub(super) feature_negotiation: FeatureNegotiation,
    pub(super) security: Option<Initiator>,
    pub(super) last_call_id: u32,
    scratch: BytesMut,
    framer: Framer,
    actions: VecDeque<ClientAction>,
    queue: VecDeque<Queued>,
    active: Option<Active>,
    orphans: Vec<u32>,
}

/// How far the association has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A leg runs whose token goes into this kind of PDU.
    Stepping(LegCarrier),
    /// bind is out.
    Binding,
    /// An alter_context with a leg is out.
    Authenticating,
    /// An alter_context with the next interface is out.
    Altering,
    Bound,
    Over,
}

/// What the token of a leg is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LegCarrier {
    Bind,
    /// alter_context if an answer is expected, auth3 if not.
    Later,
}

/// Our side of the authentication.
#[derive(Debug)]
pub(super) struct Initiator {
    pub(super) auth_type: AuthType,
    pub(super) level: AuthLevel,
    pub(super) context_id: u32,
    pub(super) offer: HeaderSigning,
    /// Both sides offered it.
    pub(super) header_signing: bool,
    /// Absent while a leg runs.
    pub(super) context: Option<Box<dyn SecurityContext>>,
    pub(super) is_done: bool,
}

impl Initiator {
    pub(super) fn trailer(&self) -> SecTrailer {
        SecTrailer {
            auth_type: self.auth_type,
            auth_level: self.level as u8,
            auth_pad_length: 0,
            auth_context_id: self.context_id,
        }
    }
}

#[derive(Debug)]
struct Queued {
    call_id: u32,
    context_id: u16,
    opnum: u16,
    stub: Bytes,
}

/// The call whose response is awaited.
#[derive(Debug)]
struct Active {
    call_id: u32,
    /// Fragments so far; `None` before the first.
    stub: Option<BytesMut>,
}

impl ClientAssociation {
    /// Starts the bind; poll the actions.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let security = config.security.map(|security| Initiator {
            auth_type: security.auth_type,
            level: security.level,
            context_id: security.context_id,
            offer: security.header_signing,
            header_signing: false,
            context: Some(security.context),
            is_done: false,
        });
        let mut association = Self {
            state: State::Binding,
            interfaces: config.interfaces,
            contexts: Vec::new(),
            max_frag: config.max_frag,
            association_group: config.association_group,
            feature_negotiation: config.feature_negotiation,
            security,
            last_call_id: 1,
            scratch: BytesMut::new(),
            framer: Framer::default(),
            actions: VecDeque::new(),
            queue: VecDeque::new(),
            active: None,
            orphans: Vec::new(),
        };
        association.start();
        association
    }

    /// The association group, once bound.
    #[must_use]
    pub fn association_group(&self) -> u32 {
        self.association_group
    }

    /// Bytes arrived, in any portions.
    pub fn handle_data(&mut self, bytes: &[u8]) {
        if self.state == State::Over {
            return;
        }
        self.framer.push(bytes);
        self.advance();
    }

    /// A ticket comes back with what [`StepTicket::run`] returned.
    pub fn handle_stepped(&mut self, ticket: StepTicket, outcome: Result<Leg, SecurityError>) {
        let State::Stepping(carrier) = self.state else {
            return;
        };
        let result = match outcome {
            Ok(leg) => self.finish_step(carrier, ticket.context, leg),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            self.fail(error);
        }
        self.advance();
    }

    /// Sends a request and returns its call_id. One call is on the wire at a time; more wait.
    ///
    /// # Errors
    /// [`ClientError::NotBound`], [`ClientError::InterfaceNotBound`].
    pub fn call(
        &mut self,
        interface: SyntaxId,
        opnum: u16,
        stub: Bytes,
    ) -> Result<u32, ClientError> {
        if self.state != State::Bound {
            return Err(ClientError::NotBound);
        }
        let usable =
            |context: &BoundContext| context.interface == interface && context.rejected.is_none();
        let position = self.contexts.iter().position(usable);
        let context_id = position
            .and_then(|position| u16::try_from(position).ok())
            .ok_or(ClientError::InterfaceNotBound(interface))?;
        let call_id = self.next_call_id();
        self.queue.push_back(Queued {
            call_id,
            context_id,
            opnum,
            stub,
        });
        self.send_next();
        Ok(call_id)
    }

    /// Asks the server to end a call; it is still answered.
    pub fn cancel(&mut self, call_id: u32) {
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.call_id == call_id)
        {
            let body = Body::CoCancel(CoCancel);
            self.transmit_packet(&Packet::new(PfcFlags::WHOLE, call_id, body));
        }
    }

    /// Tells the server that nobody waits for the call any more. It does not complete.
    pub fn orphan(&mut self, call_id: u32) {
        self.queue.retain(|queued| queued.call_id != call_id);
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.call_id == call_id)
        {
            self.active = None;
            self.orphans.push(call_id);
            let body = Body::Orphaned(Orphaned);
            self.transmit_packet(&Packet::new(PfcFlags::WHOLE, call_id, body));
            self.send_next();
        }
    }

    /// What to do next; call until `None` after each `handle_*`, `call`, `cancel` and `orphan`.
    pub fn poll_action(&mut self) -> Option<ClientAction> {
        self.actions.pop_front()
    }

    fn advance(&mut self) {
        while !matches!(self.state, State::Over | State::Stepping(_)) {
            let Some(header) = self.framer.peek() else {
                return;
            };
            if let Err(error) = header.check() {
                return self.fail(ClientError::Protocol(error.to_string()));
            }
            let Some(pdu) = self.framer.take(&header) else {
                return;
            };
            if let Err(error) = self.handle_pdu(&header, pdu) {
                return self.fail(error);
            }
        }
    }

    fn handle_pdu(&mut self, header: &Header, pdu: BytesMut) -> Result<(), ClientError> {
        match (self.state, header.packet_type) {
            (State::Bound, PacketType::RESPONSE) => self.handle_response(header, pdu),
            (State::Bound, PacketType::FAULT) => self.handle_fault(header, &pdu),
            (_, PacketType::SHUTDOWN) => Ok(()),
            _ => self.handle_bind_answer(header, &pdu),
        }
    }

    fn handle_fault(&mut self, header: &Header, pdu: &[u8]) -> Result<(), ClientError> {
        let Fault { status, .. } = Fault::decode(header, pdu).map_err(protocol)?;
        if self.forget_orphan(header) {
            return Ok(());
        }
        self.take_active(header)?;
        self.complete(header.call_id, Err(CallError::Fault(status)));
        Ok(())
    }

    fn handle_response(&mut self, header: &Header, mut pdu: BytesMut) -> Result<(), ClientError> {
        let layout = Layout::of(header, &pdu).map_err(protocol)?;
        Response::decode(header, &pdu, pdu.len()).map_err(protocol)?;
        self.verify(&layout, &mut pdu)?;
        if header.flags.contains(PfcFlags::LAST_FRAG) && self.forget_orphan(header) {
            return Ok(());
        }
        if self.orphans.contains(&header.call_id) {
            return Ok(());
        }
        let Active { call_id, stub } = self.take_active(header)?;
        let is_first = header.flags.contains(PfcFlags::FIRST_FRAG);
        if is_first != stub.is_none() {
            return Err(ClientError::Protocol(
                "fragments of a response out of order".to_owned(),
            ));
        }
        let stub = match stub {
            None => layout.into_stub(pdu),
            Some(mut stub) => {
                stub.extend_from_slice(pdu.get(layout.stub()).unwrap_or_default());
                stub
            }
        };
        if stub.len() > MAX_RESPONSE {
            return Err(ClientError::Protocol("response too long".to_owned()));
        }
        if header.flags.contains(PfcFlags::LAST_FRAG) {
            self.complete(call_id, Ok(stub.freeze()));
        } else {
            self.active = Some(Active {
                call_id,
                stub: Some(stub),
            });
        }
        Ok(())
    }

    /// Verifies and decrypts a response by the association's security context.
    fn verify(&mut self, layout: &Layout, pdu: &mut [u8]) -> Result<(), ClientError> {
        let Some(initiator) = protecting(&mut self.security) else {
            return Ok(());
        };
        let (start, trailer) = layout.trailer.ok_or(SecurityError::BadSignature)?;
        if (SecTrailer {
            auth_pad_length: 0,
            ..trailer
        }) != initiator.trailer()
        {
            return Err(SecurityError::BadSignature.into());
        }
        let mut protection = protection(initiator).ok_or(SecurityError::OutOfTurn)?;
        protection.unprotect(pdu, layout.body, start)?;
        Ok(())
    }

    /// The active call, if the PDU is for it.
    fn take_active(&mut self, header: &Header) -> Result<Active, ClientError> {
        self.active
            .take_if(|active| active.call_id == header.call_id)
            .ok_or_else(|| ClientError::Protocol("answer to no call".to_owned()))
    }

    /// Whether the PDU ends a call that was orphaned.
    fn forget_orphan(&mut self, header: &Header) -> bool {
        let before = self.orphans.len();
        self.orphans.retain(|orphan| *orphan != header.call_id);
        self.orphans.len() != before
    }

    fn complete(&mut self, call_id: u32, outcome: Result<Bytes, CallError>) {
        self.act(ClientAction::Completed { call_id, outcome });
        self.send_next();
    }

    fn send_next(&mut self) {
        if self.active.is_some() {
            return;
        }
        let Some(call) = self.queue.pop_front() else {
            return;
        };
        let outgoing = Outgoing {
            packet_type: PacketType::REQUEST,
            call_id: call.call_id,
            context_id: call.context_id,
            opnum: call.opnum,
            stub: &call.stub,
            max_frag: self.max_frag,
        };
        let protection = protecting(&mut self.security).and_then(protection);
        let actions = &mut self.actions;
        let sent = outgoing.send(&mut self.scratch, protection, |pdu| {
            actions.push_back(ClientAction::Transmit(pdu));
        });
        match sent {
            Ok(()) => {
                self.active = Some(Active {
                    call_id: call.call_id,
                    stub: None,
                })
            }
            Err(error) => self.fail(error.into()),
        }
    }

    pub(super) fn next_call_id(&mut self) -> u32 {
        self.last_call_id = self.last_call_id.wrapping_add(1) & 0x7FFF_FFFF;
        self.last_call_id
    }

    pub(super) fn transmit_packet(&mut self, packet: &Packet<'_>) {
        match packet.encode(&mut self.scratch) {
            Ok(()) => {
                let pdu = self.scratch.split().freeze();
                self.act(ClientAction::Transmit(pdu));
            }
            Err(error) => self.fail(ClientError::Protocol(error.to_string())),
        }
    }

    pub(super) fn act(&mut self, action: ClientAction) {
        if self.state != State::Over {
            self.actions.push_back(action);
        }
    }

    pub(super) fn fail(&mut self, error: ClientError) {
        self.act(ClientAction::Failed(error));
        self.state = State::Over;
        self.security = None;
        self.active = None;
        self.queue.clear();
        self.framer.clear();
    }
}

pub(super) fn protocol(error: crate::pdu::DecodeError) -> ClientError {
    ClientError::Protocol(error.to_string())
}

/// The initiator, if its level protects each PDU.
fn protecting(security: &mut Option<Initiator>) -> Option<&mut Initiator> {
    security
        .as_mut()
        .filter(|initiator| initiator.level >= AuthLevel::Packet)
}

fn protection(initiator: &mut Initiator) -> Option<Protection<'_>> {
    Some(Protection {
        auth_type: initiator.auth_type,
        level: initiator.level,
        context_id: initiator.context_id,
        header_signing: initiator.header_signing,
        context: initiator.context.as_mut()?.as_mut(),
    })
}
