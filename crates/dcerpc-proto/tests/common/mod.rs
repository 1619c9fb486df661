//! What the tests of associations share: a toy security package, a server under test that executes
//! its own actions, and hand-made PDUs.
#![allow(dead_code, unreachable_pub, reason = "no test file uses all of it")]

pub mod toy;

use bytes::{Bytes, BytesMut};
use dcerpc_proto::assoc::{
    AssociationGroups, CloseReason, IncomingCall, Interface, ServerAction, ServerAssociation,
    ServerConfig, StepTicket,
};
use dcerpc_proto::limits::{MAX_FRAG_PIPE, MAX_FRAG_TCP};
use dcerpc_proto::pdu::{
    AlterContext, Bind, Body, ContextElement, Header, Packet, PfcFlags, Request, SecTrailer,
};
use dcerpc_proto::security::{AuthLevel, AuthType};
use dcerpc_proto::{FaultStatus, SyntaxId};
use std::sync::Arc;
use std::time::Duration;
use uuid::uuid;

/// An interface that echoes its stub.
pub const ECHO: SyntaxId = SyntaxId::new(uuid!("11111111-2222-3333-4444-555555555555"), 1, 0);
/// Another one.
pub const OTHER: SyntaxId = SyntaxId::new(uuid!("aaaaaaaa-2222-3333-4444-555555555555"), 3, 2);
/// Opnums of [`ECHO`].
pub const ECHO_OPNUMS: u16 = 13;

pub const NOW: Duration = Duration::from_secs(1000);

pub fn config() -> ServerConfig {
    let interface = |id| Interface {
        id,
        opnum_count: ECHO_OPNUMS,
        min_auth_level: None,
    };
    ServerConfig {
        interfaces: vec![interface(ECHO), interface(OTHER)],
        secondary_address: "\\PIPE\\FssagentRpc".to_owned(),
        max_frag: MAX_FRAG_PIPE,
        min_auth_level: AuthLevel::None,
        header_signing: true,
        groups: AssociationGroups::new(0x1234_5678_9ABC_DEF0),
    }
}

pub fn config_at(min_auth_level: AuthLevel) -> ServerConfig {
    ServerConfig {
        min_auth_level,
        ..config()
    }
}

/// A server association with everything that came out of it.
pub struct Server {
    pub association: ServerAssociation,
    pub now: Duration,
    pub sent: Vec<Bytes>,
    pub calls: Vec<IncomingCall>,
    pub cancelled: Vec<u32>,
    /// Statuses of the faults that were told of.
    pub faulted: Vec<FaultStatus>,
    pub closed: Option<CloseReason>,
    pub tickets: Vec<StepTicket>,
    /// Run legs and echo calls at once; otherwise they are kept.
    pub is_prompt: bool,
}

impl Server {
    pub fn new(config: ServerConfig) -> Self {
        Self::with_config(&Arc::new(config))
    }

    pub fn with_config(config: &Arc<ServerConfig>) -> Self {
        let provider = Arc::new(toy::ToyProvider);
        Self {
            association: ServerAssociation::new(NOW, Arc::clone(config), provider),
            now: NOW,
            sent: Vec::new(),
            calls: Vec::new(),
            cancelled: Vec::new(),
            faulted: Vec::new(),
            closed: None,
            tickets: Vec::new(),
            is_prompt: true,
        }
    }

    /// Hands bytes in and does what comes out.
    pub fn feed(&mut self, bytes: &[u8]) -> &mut Self {
        self.association.handle_data(self.now, bytes);
        self.act();
        self
    }

    pub fn feed_packet(&mut self, packet: &Packet<'_>) -> &mut Self {
        self.feed(&encode(packet))
    }

    pub fn reply(&mut self, call_id: u32, outcome: Result<Bytes, FaultStatus>) {
        self.association.handle_reply(self.now, call_id, outcome);
        self.act();
    }

    pub fn act(&mut self) {
        while let Some(action) = self.association.poll_action() {
            assert!(self.closed.is_none(), "{action:?} after close");
            match action {
                ServerAction::Transmit(pdu) => self.sent.push(pdu),
                ServerAction::Step(mut ticket) if self.is_prompt => {
                    let outcome = ticket.run();
                    self.association.handle_stepped(self.now, ticket, outcome);
                }
                ServerAction::Step(ticket) => self.tickets.push(ticket),
                ServerAction::Call(call) => {
                    if self.is_prompt {
                        let (id, stub) = (call.call_id, call.stub.clone());
                        self.association.handle_reply(self.now, id, Ok(stub));
                    }
                    self.calls.push(call);
                }
                ServerAction::CancelCall { call_id } => self.cancelled.push(call_id),
                ServerAction::LevelTooLow { .. } => {}
                ServerAction::Faulted(status) => self.faulted.push(status),
                ServerAction::Close(reason) => self.closed = Some(reason),
            }
        }
    }

    /// Takes the PDUs sent so far.
    pub fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.sent)
    }

    /// The only PDU sent since the last look.
    pub fn only(&mut self) -> Bytes {
        let mut sent = self.take();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Expects one fault and returns its header with context id and status.
    pub fn fault(&mut self) -> (Header, u16, FaultStatus) {
        let pdu = self.only();
        let packet = Packet::decode(&pdu).unwrap();
        match packet.body {
            Body::Fault(fault) => {
                assert_eq!(self.faulted.pop(), Some(fault.status), "not told of");
                (packet.header, fault.context_id, fault.status)
            }
            other => panic!("not a fault: {other:?}"),
        }
    }

    /// Expects one bind_nak and returns its reason.
    pub fn nak(&mut self) -> u16 {
        match Packet::decode(&self.only()).unwrap().body {
            Body::BindNak(nak) => nak.reason.0,
            other => panic!("not a bind_nak: {other:?}"),
        }
    }

    /// Expects one whole response and returns its stub.
    pub fn response(&mut self) -> Vec<u8> {
        match Packet::decode(&self.only()).unwrap().body {
            Body::Response(response) => response.body.to_vec(),
            other => panic!("not a response: {other:?}"),
        }
    }

    /// Nothing was sent and the association lives.
    pub fn assert_silent(&mut self) {
        assert_eq!(self.take(), Vec::<Bytes>::new());
        assert_eq!(self.closed, None);
    }

    pub fn assert_closed(&self) {
        assert!(self.closed.is_some(), "still open");
    }

    /// The association still serves.
    pub fn assert_alive(&mut self) {
        assert_eq!(self.closed, None);
        self.feed_packet(&request(0x7000, b"still here"));
        assert_eq!(self.response(), b"still here");
    }

    /// A server that is bound to [`ECHO`] as context 1.
    pub fn bound() -> Self {
        Self::bound_with(config(), PfcFlags::empty())
    }

    pub fn bound_with(config: ServerConfig, flags: PfcFlags) -> Self {
        let mut server = Self::new(config);
        server.feed_packet(&bind(flags, vec![element(1, ECHO)]));
        server.only();
        server
    }
}

pub fn encode(packet: &Packet<'_>) -> Bytes {
    let mut out = BytesMut::new();
    packet.encode(&mut out).unwrap();
    out.freeze()
}

pub fn element(context_id: u16, abstract_syntax: SyntaxId) -> ContextElement {
    ContextElement {
        context_id,
        abstract_syntax,
        transfer_syntaxes: vec![SyntaxId::NDR20],
    }
}

pub fn bind_body(contexts: Vec<ContextElement>) -> Bind {
    Bind {
        max_xmit_frag: MAX_FRAG_TCP,
        max_recv_frag: MAX_FRAG_TCP,
        assoc_group_id: 0,
        contexts,
    }
}

pub fn bind(flags: PfcFlags, contexts: Vec<ContextElement>) -> Packet<'static> {
    Packet::new(PfcFlags::WHOLE | flags, 1, Body::Bind(bind_body(contexts)))
}

pub fn alter(flags: PfcFlags, contexts: Vec<ContextElement>) -> Packet<'static> {
    let body = Body::AlterContext(AlterContext(bind_body(contexts)));
    Packet::new(PfcFlags::WHOLE | flags, 2, body)
}

/// A whole request of opnum 0 on context 1.
pub fn request(call_id: u32, stub: &[u8]) -> Packet<'_> {
    fragment(call_id, PfcFlags::WHOLE, stub)
}

pub fn fragment(call_id: u32, flags: PfcFlags, stub: &[u8]) -> Packet<'_> {
    let body = Request {
        alloc_hint: stub.len() as u32,
        context_id: 1,
        opnum: 0,
        object: None,
        body: stub,
    };
    Packet::new(flags, call_id, Body::Request(body))
}

pub fn trailer(level: AuthLevel, auth_context_id: u32) -> SecTrailer {
    SecTrailer {
        auth_type: toy::TOY,
        auth_level: level as u8,
        auth_pad_length: 0,
        auth_context_id,
    }
}

pub const UNOFFERED: AuthType = AuthType(0x44);
