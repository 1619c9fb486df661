//! Whatever arrives, in whatever order: no panic, nothing after the end, and bounded output.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::toy::{self, TOY};
use common::{ECHO, OTHER, Server, config, element, encode};
use dcerpc_proto::assoc::{
    ClientAction, ClientAssociation, ClientConfig, ClientSecurity, FeatureNegotiation,
    HeaderSigning, ServerConfig,
};
use dcerpc_proto::pdu::{
    AlterContext, AlterContextResp, Auth3, Bind, BindAck, BindNak, Body, CoCancel, ContextResult,
    Fault, Orphaned, Packet, PfcFlags, RejectReason, Request, Response, SecTrailer, Shutdown,
};
use dcerpc_proto::security::{AuthLevel, AuthType, SecurityError};
use dcerpc_proto::{ByteOrder, FaultStatus, SyntaxId};
use proptest::collection::vec;
use proptest::prelude::*;

/// Something that happens to a server association.
#[derive(Debug, Clone)]
enum Event {
    /// A PDU that decodes.
    Pdu(Bytes),
    /// One with some bytes changed.
    Damaged(Bytes, Vec<(usize, u8)>),
    /// Anything.
    Noise(Vec<u8>),
    /// The driver answers its oldest debt, well or badly.
    Reply(u32, bool),
    Step(bool),
    Timeout(u64),
}

fn stub() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 3900..4300)]
}

fn pdu() -> impl Strategy<Value = Bytes> {
    let interface = prop::sample::select(vec![
        ECHO,
        OTHER,
        SyntaxId::MGMT,
        SyntaxId::NDR20,
        SyntaxId::NULL,
    ]);
    let bind = vec((0..3_u16, interface), 0..4).prop_map(|contexts| Bind {
        max_xmit_frag: 4280,
        max_recv_frag: 4280,
        assoc_group_id: 0,
        contexts: contexts
            .into_iter()
            .map(|(id, interface)| element(id, interface))
            .collect(),
    });
    let body = prop_oneof![
        3 => (bind, any::<bool>()).prop_map(|(bind, alter)| match alter {
            true => OwnedBody::Alter(bind),
            false => OwnedBody::Bind(bind),
        }),
        6 => (any::<u32>(), 0..3_u16, 0..15_u16, stub())
            .prop_map(|(hint, context, opnum, stub)| OwnedBody::Request(hint, context, opnum, stub)),
        2 => Just(OwnedBody::Auth3),
        1 => Just(OwnedBody::Cancel),
        1 => Just(OwnedBody::Orphaned),
        1 => Just(OwnedBody::Shutdown),
    ];
    let token = prop::sample::select(vec![&b"hello"[..], b"sesame", b"wrong", &[0; 16]]);
    let auth = (
        prop::sample::select(vec![TOY, AuthType::WINNT, AuthType(77)]),
        0..8_u8,
        0..20_u8,
        0..3_u32,
        token,
    );
    let flags = prop_oneof![4 => Just(PfcFlags::WHOLE.bits()), 1 => 0..4_u8, 1 => any::<u8>()];
    (body, prop::option::of(auth), flags, 1..4_u32, any::<bool>()).prop_map(
        |(body, auth, flags, call_id, big)| {
            let mut flags = PfcFlags::from_bits_retain(flags);
            flags.remove(PfcFlags::OBJECT_UUID);
            let mut packet = Packet::new(flags, call_id, body.borrow());
            if big {
                packet.header = packet.header.with_byte_order(ByteOrder::Big);
            }
            if let Some((auth_type, auth_level, auth_pad_length, auth_context_id, token)) = auth {
                let trailer = SecTrailer {
                    auth_type,
                    auth_level,
                    auth_pad_length,
                    auth_context_id,
                };
                packet = packet.with_auth(trailer, token);
            }
            encode(&packet)
        },
    )
}

/// A body that owns its stub.
#[derive(Debug, Clone)]
enum OwnedBody {
    Bind(Bind),
    Alter(Bind),
    Request(u32, u16, u16, Vec<u8>),
    Auth3,
    Cancel,
    Orphaned,
    Shutdown,
}

impl OwnedBody {
    fn borrow(&self) -> Body<'_> {
        match self {
            Self::Bind(bind) => Body::Bind(bind.clone()),
            Self::Alter(bind) => Body::AlterContext(AlterContext(bind.clone())),
            Self::Request(alloc_hint, context_id, opnum, body) => Body::Request(Request {
                alloc_hint: *alloc_hint,
                context_id: *context_id,
                opnum: *opnum,
                object: None,
                body,
            }),
            Self::Auth3 => Body::Auth3(Auth3 { pad: [0; 4] }),
            Self::Cancel => Body::CoCancel(CoCancel),
            Self::Orphaned => Body::Orphaned(Orphaned),
            Self::Shutdown => Body::Shutdown(Shutdown),
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => pdu().prop_map(Event::Pdu),
        2 => (pdu(), vec((0..60_usize, any::<u8>()), 1..4))
            .prop_map(|(pdu, changes)| Event::Damaged(pdu, changes)),
        1 => vec(any::<u8>(), 0..64).prop_map(Event::Noise),
        3 => (1..4_u32, any::<bool>()).prop_map(|(id, ok)| Event::Reply(id, ok)),
        3 => any::<bool>().prop_map(Event::Step),
        1 => (0..100_u64).prop_map(Event::Timeout),
    ]
}

/// A PDU of a server, mostly one that fits.
fn answer() -> impl Strategy<Value = Bytes> {
    let flags = prop_oneof![4 => Just(PfcFlags::WHOLE.bits()), 1 => any::<u8>()];
    let token = prop::sample::select(vec![&b"who?12345678"[..], b"who?", &[0; 16]]);
    (
        0..6_u8,
        flags,
        1..4_u32,
        0..4_u16,
        vec(any::<u8>(), 0..40),
        prop::option::of(token),
    )
        .prop_map(|(kind, flags, call_id, result, stub, token)| {
            let accepted = ContextResult {
                result,
                ..ContextResult::accepted(SyntaxId::NDR20)
            };
            let ack = BindAck {
                max_xmit_frag: 4280,
                max_recv_frag: 4280,
                assoc_group_id: 5,
                secondary_address: b"x",
                results: vec![accepted; 2],
            };
            let body = match kind {
                0 | 1 => Body::BindAck(ack),
                2 => Body::AlterContextResp(AlterContextResp(ack)),
                3 => Body::Fault(Fault::new(0, FaultStatus::PROTOCOL)),
                4 => Body::BindNak(BindNak::new(RejectReason::NOT_SPECIFIED)),
                _ => Body::Response(Response {
                    alloc_hint: 0,
                    context_id: 0,
                    cancel_count: 0,
                    body: &stub,
                }),
            };
            let packet = Packet::new(PfcFlags::from_bits_retain(flags), call_id, body);
            encode(&match token {
                Some(token) => packet.with_auth(common::trailer(AuthLevel::Privacy, 1), token),
                None => packet,
            })
        })
}

/// Does what the event says. The server itself asserts that nothing follows a close.
fn happen(server: &mut Server, event: &Event) {
    match event {
        Event::Pdu(pdu) => drop(server.feed(pdu)),
        Event::Damaged(pdu, changes) => {
            let mut pdu = BytesMut::from(&pdu[..]);
            for (at, value) in changes {
                if let Some(byte) = pdu.get_mut(*at) {
                    *byte = *value;
                }
            }
            server.feed(&pdu);
        }
        Event::Noise(bytes) => drop(server.feed(bytes)),
        Event::Reply(id, true) => server.reply(*id, Ok(Bytes::from(vec![1; 6000]))),
        Event::Reply(id, false) => server.reply(*id, Err(FaultStatus::BAD_STUB_DATA)),
        Event::Step(run) => {
            let Some(mut ticket) = server.tickets.pop() else {
                return;
            };
            if *run {
                let outcome = ticket.run();
                server
                    .association
                    .handle_stepped(server.now, ticket, outcome);
            } else {
                let error = SecurityError::Unavailable("lost".to_owned());
                server.association.handle_step_abandoned(server.now, error);
            }
            server.act();
        }
        Event::Timeout(seconds) => {
            server.now += std::time::Duration::from_secs(*seconds);
            server.association.handle_timeout(server.now);
            server.act();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn servers_survive(
        events in vec(event(), 1..40),
        is_bound in any::<bool>(),
        min_auth_level in prop::sample::select(vec![AuthLevel::None, AuthLevel::Integrity]),
    ) {
        let config = ServerConfig { min_auth_level, ..config() };
        let mut server = match is_bound {
            true => Server::bound_with(config, PfcFlags::empty()),
            false => Server::new(config),
        };
        server.is_prompt = false;
        for event in &events {
            happen(&mut server, event);
            if min_auth_level > AuthLevel::None {
                // The signatures of these clients are never right.
                prop_assert!(server.calls.is_empty());
            }
        }
        for pdu in server.take() {
            prop_assert!(Packet::decode(&pdu).is_ok(), "{:?}", pdu);
        }
    }

    #[test]
    fn clients_survive(
        answers in vec(
            prop_oneof![
                8 => answer(),
                1 => pdu(),
                1 => vec(any::<u8>(), 0..80).prop_map(Bytes::from),
            ],
            1..10,
        ),
        is_secured in any::<bool>(),
    ) {
        let security = is_secured.then(|| ClientSecurity {
            auth_type: TOY,
            level: AuthLevel::Privacy,
            context: Box::new(toy::initiator(TOY, "sesame")),
            context_id: 1,
            header_signing: HeaderSigning::Offer,
        });
        let mut client = ClientAssociation::new(ClientConfig {
            interfaces: vec![ECHO],
            max_frag: 4280,
            association_group: 0,
            feature_negotiation: FeatureNegotiation::Offer,
            security,
        });
        let mut is_over = false;
        for answer in answers {
            client.handle_data(&answer);
            while let Some(action) = client.poll_action() {
                prop_assert!(!is_over);
                match action {
                    ClientAction::Step(mut ticket) => {
                        let outcome = ticket.run();
                        client.handle_stepped(ticket, outcome);
                    }
                    ClientAction::Failed(_) => is_over = true,
                    ClientAction::Bound(contexts) => {
                        let is_usable = contexts.iter().any(|context| context.rejected.is_none());
                        prop_assert_eq!(client.call(ECHO, 0, Bytes::new()).is_ok(), is_usable);
                    }
                    ClientAction::Transmit(_) | ClientAction::Completed { .. } => {}
                }
            }
        }
    }
}
