//! Server and client against each other, bytes split and joined at random.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::toy::{self, TALKATIVE, TOY};
use common::{ECHO, OTHER, Server, config, config_at};
use dcerpc_proto::assoc::{
    BoundContext, CallError, ClientAction, ClientAssociation, ClientConfig, ClientError,
    ClientSecurity, FeatureNegotiation, HeaderSigning, ServerConfig,
};
use dcerpc_proto::security::{AuthLevel, AuthType};
use dcerpc_proto::{FaultStatus, SyntaxId};
use proptest::prelude::*;

/// A client and the server it speaks to.
struct Pair {
    client: ClientAssociation,
    server: Server,
    bound: Option<Vec<BoundContext>>,
    completed: Vec<(u32, Result<Bytes, CallError>)>,
    failed: Option<ClientError>,
    /// How many bytes are handed over at a time; repeated from the start.
    cuts: Vec<usize>,
    /// Largest PDU seen, of both directions.
    largest: usize,
}

impl Pair {
    fn new(client: ClientConfig, server: ServerConfig, cuts: Vec<usize>) -> Self {
        let mut pair = Self {
            client: ClientAssociation::new(client),
            server: Server::new(server),
            bound: None,
            completed: Vec::new(),
            failed: None,
            cuts,
            largest: 0,
        };
        pair.run();
        pair
    }

    /// Lets both talk until neither has anything to say.
    fn run(&mut self) {
        loop {
            let mut to_server = BytesMut::new();
            while let Some(action) = self.client.poll_action() {
                assert!(self.failed.is_none(), "{action:?} after the end");
                match action {
                    ClientAction::Transmit(pdu) => {
                        self.largest = self.largest.max(pdu.len());
                        to_server.extend_from_slice(&pdu);
                    }
                    ClientAction::Step(mut ticket) => {
                        let outcome = ticket.run();
                        self.client.handle_stepped(ticket, outcome);
                    }
                    ClientAction::Bound(contexts) => self.bound = Some(contexts),
                    ClientAction::Completed { call_id, outcome } => {
                        self.completed.push((call_id, outcome));
                    }
                    ClientAction::Failed(error) => self.failed = Some(error),
                }
            }
            for piece in pieces(&to_server, &self.cuts) {
                self.server.feed(piece);
            }
            let sent = self.server.take();
            if sent.is_empty() && to_server.is_empty() {
                return;
            }
            self.largest = sent.iter().map(Bytes::len).fold(self.largest, usize::max);
            for piece in pieces(&sent.concat(), &self.cuts) {
                self.client.handle_data(piece);
            }
        }
    }

    /// Hands over what the server has said by itself.
    fn run_server_output(&mut self) {
        for pdu in self.server.take() {
            self.client.handle_data(&pdu);
        }
        self.run();
    }

    fn call(&mut self, opnum: u16, stub: Vec<u8>) -> Result<Bytes, CallError> {
        let call_id = self.client.call(ECHO, opnum, stub.into()).unwrap();
        self.run();
        let (id, outcome) = self.completed.pop().expect("call did not complete");
        assert_eq!(id, call_id);
        outcome
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at((*cut).clamp(1, rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn client(interfaces: Vec<SyntaxId>) -> ClientConfig {
    ClientConfig {
        interfaces,
        max_frag: 4280,
        association_group: 0,
        feature_negotiation: FeatureNegotiation::Offer,
        security: None,
    }
}

fn secured(
    auth_type: AuthType,
    level: AuthLevel,
    header_signing: HeaderSigning,
    password: &str,
) -> ClientConfig {
    let security = ClientSecurity {
        auth_type,
        level,
        context: Box::new(toy::initiator(auth_type, password)),
        context_id: 79_231,
        header_signing,
    };
    ClientConfig {
        security: Some(security),
        ..client(vec![ECHO])
    }
}

const WHOLE: [usize; 1] = [usize::MAX];

#[test]
fn several_interfaces_are_bound_one_after_the_other() {
    let unknown = SyntaxId::new(uuid::Uuid::from_u128(7), 1, 0);
    let interfaces = vec![ECHO, unknown, OTHER, SyntaxId::MGMT];
    let mut pair = Pair::new(client(interfaces), config(), WHOLE.to_vec());
    let bound = pair.bound.clone().unwrap();
    let rejected: Vec<_> = bound.iter().map(|context| context.rejected).collect();
    assert_eq!(rejected, [None, Some((2, 1)), None, None]);
    assert_eq!(pair.call(0, b"abc".to_vec()).unwrap(), "abc");
    let refused = pair.client.call(unknown, 0, Bytes::new());
    assert_eq!(refused, Err(ClientError::InterfaceNotBound(unknown)));
}

#[test]
fn mgmt_lists_the_interfaces() {
    let mut pair = Pair::new(client(vec![SyntaxId::MGMT]), config(), WHOLE.to_vec());
    pair.client.call(SyntaxId::MGMT, 0, Bytes::new()).unwrap();
    pair.run();
    let (_, outcome) = pair.completed.pop().unwrap();
    let stub = outcome.unwrap();
    // Pointer, max_count and count, two pointers, two syntax ids, status.
    assert_eq!(stub.len(), 4 + 8 + 8 + 40 + 4);
    assert_eq!(stub[4..12], [2, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(stub[20..24], [0x11; 4]);
    assert_eq!(stub[56..60], [3, 0, 2, 0], "version 3.2");
    assert_eq!(stub[60..], [0; 4]);
}

#[test]
fn several_calls_wait_for_each_other() {
    let mut pair = Pair::new(client(vec![ECHO]), config(), WHOLE.to_vec());
    let ids: Vec<_> = (0..3_u8)
        .map(|n| pair.client.call(ECHO, 0, vec![n].into()).unwrap())
        .collect();
    pair.run();
    let completed: Vec<_> = pair.completed.iter().map(|(id, _)| *id).collect();
    assert_eq!(completed, ids);
    assert_eq!(
        pair.completed[2].1.as_ref().unwrap(),
        &Bytes::from_static(&[2])
    );
}

#[test]
fn opnum_out_of_range_leaves_the_association_alive() {
    let mut pair = Pair::new(client(vec![ECHO]), config(), WHOLE.to_vec());
    assert_eq!(
        pair.call(13, vec![]),
        Err(CallError::Fault(FaultStatus::OP_RANGE))
    );
    assert_eq!(pair.call(12, vec![5]).unwrap(), vec![5]);
}

#[test]
fn a_refused_logon_is_a_typed_error() {
    // The third leg of TOY travels by auth3, which has no answer: the first call is told.
    let level = AuthLevel::Privacy;
    let wrong = secured(TOY, level, HeaderSigning::Offer, "wrong");
    let mut pair = Pair::new(wrong, config_at(AuthLevel::Integrity), WHOLE.to_vec());
    assert!(pair.bound.is_some());
    assert_eq!(
        pair.call(0, vec![]),
        Err(CallError::Fault(FaultStatus::ACCESS_DENIED))
    );
    pair.server.assert_closed();

    let wrong = secured(TALKATIVE, level, HeaderSigning::Offer, "wrong");
    let pair = Pair::new(wrong, config(), WHOLE.to_vec());
    assert_eq!(
        pair.failed,
        Some(ClientError::BindFault(FaultStatus::ACCESS_DENIED))
    );

    let unoffered = secured(common::UNOFFERED, level, HeaderSigning::Offer, "sesame");
    let pair = Pair::new(unoffered, config(), WHOLE.to_vec());
    assert_eq!(pair.failed, Some(ClientError::BindNak(8)));
}

#[test]
fn levels_below_the_minimum_are_refused() {
    let below = [AuthLevel::Connect, AuthLevel::Packet];
    for level in below {
        let weak = secured(TOY, level, HeaderSigning::Offer, "sesame");
        let mut pair = Pair::new(weak, config_at(AuthLevel::Integrity), WHOLE.to_vec());
        assert_eq!(
            pair.call(0, vec![]),
            Err(CallError::Fault(FaultStatus::ACCESS_DENIED))
        );
        assert!(pair.server.calls.is_empty());
    }
    let mut pair = Pair::new(
        client(vec![ECHO]),
        config_at(AuthLevel::Integrity),
        WHOLE.to_vec(),
    );
    assert_eq!(
        pair.call(0, vec![]),
        Err(CallError::Fault(FaultStatus::ACCESS_DENIED))
    );
}

#[test]
fn an_interface_may_ask_for_more_or_less_than_the_rest() {
    let mut lax = config_at(AuthLevel::Privacy);
    lax.interfaces[0].min_auth_level = Some(AuthLevel::None);
    let mut pair = Pair::new(client(vec![ECHO, OTHER]), lax, WHOLE.to_vec());
    assert_eq!(pair.call(0, vec![9]).unwrap(), vec![9]);
    assert_eq!(pair.server.calls[0].security, None);
    pair.client.call(OTHER, 0, Bytes::new()).unwrap();
    pair.run();
    let (_, outcome) = pair.completed.pop().unwrap();
    assert_eq!(outcome, Err(CallError::Fault(FaultStatus::ACCESS_DENIED)));
}

#[test]
fn an_orphaned_call_is_not_answered_and_the_next_one_is() {
    let mut pair = Pair::new(client(vec![ECHO]), config(), WHOLE.to_vec());
    pair.server.is_prompt = false;
    let orphan = pair
        .client
        .call(ECHO, 1, Bytes::from_static(b"one"))
        .unwrap();
    pair.run();
    pair.client.orphan(orphan);
    let second = pair
        .client
        .call(ECHO, 2, Bytes::from_static(b"two"))
        .unwrap();
    pair.run();
    assert_eq!(pair.server.cancelled, [orphan]);
    assert_eq!(
        pair.server.calls.len(),
        1,
        "the second call waits for the first to end"
    );
    pair.server
        .reply(orphan, Ok(Bytes::from_static(b"unheard")));
    pair.server.reply(second, Ok(Bytes::from_static(b"heard")));
    pair.run_server_output();
    assert_eq!(pair.completed, [(second, Ok(Bytes::from_static(b"heard")))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn calls_survive_any_splitting_size_and_protection(
        cuts in prop::collection::vec(1..3000_usize, 1..8),
        sizes in prop::collection::vec(0..20_000_usize, 1..4),
        level in prop::sample::select(vec![
            None, Some(AuthLevel::Packet), Some(AuthLevel::Integrity), Some(AuthLevel::Privacy),
        ]),
        auth_type in prop::sample::select(vec![TOY, TALKATIVE]),
        header_signing in prop::sample::select(vec![HeaderSigning::Omit, HeaderSigning::Offer]),
        max_frag in 2048..6000_u16,
    ) {
        let mut config = config();
        config.min_auth_level = level.unwrap_or(AuthLevel::None);
        let client = match level {
            None => client(vec![ECHO]),
            Some(level) => secured(auth_type, level, header_signing, "sesame"),
        };
        let mut pair = Pair::new(ClientConfig { max_frag, ..client }, config, cuts);
        prop_assert_eq!(&pair.failed, &None);
        for size in sizes {
            let stub: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let echoed = pair.call(4, stub.clone()).unwrap();
            prop_assert_eq!(&echoed[..], &stub[..]);
            let call = pair.server.calls.last().unwrap();
            prop_assert_eq!(&call.stub[..], &stub[..]);
            prop_assert_eq!(call.security.as_ref().map(|security| security.level), level);
        }
        prop_assert!(pair.largest <= usize::from(max_frag.min(4280)));
    }
}
