//! A server's association under whatever a peer and time can do to it.

use bytes::Bytes;
use dcerpc_proto::assoc::{
    AssociationGroups, Interface, ServerAction, ServerAssociation, ServerConfig, StepTicket,
};
use dcerpc_proto::limits::{MAX_FRAG_PIPE, MAX_STUB};
use dcerpc_proto::pdu::Packet;
use dcerpc_proto::security::{
    AuthLevel, AuthType, Identity, Leg, SecurityContext, SecurityError, SecurityProvider,
};
use dcerpc_proto::{FaultStatus, SyntaxId};
use fsrvp_idl::{INTERFACE_UUID, INTERFACE_VERSION};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A script of events: a byte says what happens, and for data two bytes of length and the data
/// follow. Half of the scripts run with the least level none.
pub fn association(input: &[u8]) {
    let Some((mode, mut script)) = input.split_first() else {
        return;
    };
    let min_auth_level = match mode & 1 {
        0 => AuthLevel::Integrity,
        _ => AuthLevel::None,
    };
    let mut server = Server::new(min_auth_level);
    while let Some((event, rest)) = script.split_first() {
        script = rest;
        match event % 8 {
            kind @ (0..=2) => {
                let Some((length, rest)) = script.split_first_chunk::<2>() else {
                    break;
                };
                let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
                let (data, rest) = rest.split_at(length);
                script = rest;
                server.data(data, kind == 2);
            }
            3 => server.step(),
            4 => server.abandon(),
            5 => server.reply(Ok(Bytes::from(vec![0; usize::from(*event) * 40]))),
            6 => server.reply(Err(FaultStatus::BAD_STUB_DATA)),
            _ => server.time_passes(Duration::from_secs(u64::from(*event))),
        }
    }
}

struct Server {
    now: Duration,
    association: ServerAssociation,
    min_auth_level: AuthLevel,
    ticket: Option<StepTicket>,
    call: Option<u32>,
    is_closed: bool,
}

impl Server {
    fn new(min_auth_level: AuthLevel) -> Self {
        let (major, minor) = INTERFACE_VERSION;
        let config = ServerConfig {
            interfaces: vec![Interface {
                id: SyntaxId::new(INTERFACE_UUID, major, minor),
                opnum_count: 13,
                min_auth_level: None,
            }],
            secondary_address: r"\pipe\FssagentRpc".to_owned(),
            max_frag: MAX_FRAG_PIPE,
            min_auth_level,
            header_signing: true,
            groups: AssociationGroups::new(1),
        };
        let provider = Arc::new(Loose);
        Self {
            now: Duration::ZERO,
            association: ServerAssociation::new(Duration::ZERO, Arc::new(config), provider),
            min_auth_level,
            ticket: None,
            call: None,
            is_closed: false,
        }
    }

    fn data(&mut self, data: &[u8], in_crumbs: bool) {
        let portion = if in_crumbs { 1 } else { data.len().max(1) };
        for bytes in data.chunks(portion) {
            self.association.handle_data(self.now, bytes);
            self.act();
        }
    }

    fn step(&mut self) {
        if let Some(mut ticket) = self.ticket.take() {
            let outcome = ticket.run();
            self.association.handle_stepped(self.now, ticket, outcome);
            self.act();
        }
    }

    fn abandon(&mut self) {
        if self.ticket.take().is_some() {
            let error = SecurityError::Unavailable("lost".to_owned());
            self.association.handle_step_abandoned(self.now, error);
            self.act();
        }
    }

    fn reply(&mut self, outcome: Result<Bytes, FaultStatus>) {
        if let Some(call) = self.call.take() {
            self.association.handle_reply(self.now, call, outcome);
            self.act();
        }
    }

    fn time_passes(&mut self, time: Duration) {
        self.now += time;
        self.association.handle_timeout(self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.association.poll_action() {
            assert!(!self.is_closed, "after the end: {action:?}");
            match action {
                ServerAction::Transmit(pdu) => {
                    let packet = Packet::decode(&pdu).unwrap();
                    assert!(pdu.len() <= usize::from(u16::MAX), "{packet:?}");
                }
                ServerAction::Step(ticket) => {
                    assert!(self.ticket.is_none(), "two legs at a time");
                    self.ticket = Some(ticket);
                }
                ServerAction::Call(call) => {
                    assert!(self.call.is_none(), "two calls at a time");
                    assert!(call.stub.len() <= MAX_STUB);
                    assert!(call.opnum < 13);
                    if self.min_auth_level > AuthLevel::None {
                        let security = call.security.as_ref().unwrap();
                        assert!(security.level >= self.min_auth_level);
                    }
                    self.call = Some(call.call_id);
                }
                ServerAction::CancelCall { call_id } => assert_eq!(self.call, Some(call_id)),
                ServerAction::LevelTooLow { .. } | ServerAction::Faulted(_) => {}
                ServerAction::Close(_) => self.is_closed = true,
            }
        }
        assert!(!self.is_closed || !self.association.wants_data());
    }
}

/// A package that takes nearly everything, so that the fuzzer gets behind the authentication.
#[derive(Debug)]
struct Loose;

impl SecurityProvider for Loose {
    fn acceptor(&self, auth_type: AuthType) -> Option<Box<dyn SecurityContext>> {
        (auth_type.0 != 0).then(|| {
            let context: Box<dyn SecurityContext> = Box::new(LooseContext {
                identity: Identity {
                    account: "LAB\\fuzz".to_owned(),
                    sids: Vec::new(),
                    has_authority: true,
                    package: "loose",
                },
                can_seal: auth_type.0 & 1 == 0,
            });
            context
        })
    }
}

#[derive(Debug)]
struct LooseContext {
    identity: Identity,
    can_seal: bool,
}

impl SecurityContext for LooseContext {
    /// The token's first byte says what comes of it.
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        let leg = |length: usize, done| Leg {
            token: vec![b'L'; length],
            done,
        };
        match token.first().copied().unwrap_or(0) % 6 {
            0 => Ok(leg(0, true)),
            1 => Ok(leg(20, true)),
            2 => Ok(leg(300, false)),
            3 => Ok(leg(70_000, false)),
            4 => Err(SecurityError::Refused("no".to_owned())),
            _ => Err(SecurityError::BadSignature),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        Some(&self.identity)
    }

    fn can_seal(&self) -> bool {
        self.can_seal
    }

    fn signature_len(&self, _: AuthLevel, _: usize) -> usize {
        16
    }

    fn protect(
        &mut self,
        _: AuthLevel,
        _: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        assert!(pdu.get(body).is_some());
        Ok(vec![0x53; 16])
    }

    fn unprotect(
        &mut self,
        _: AuthLevel,
        _: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        assert!(pdu.get(body).is_some());
        match signature.first() {
            Some(0xFF) | None => Err(SecurityError::BadSignature),
            Some(_) => Ok(()),
        }
    }
}
