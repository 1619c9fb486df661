//! One test a rule: what a server answers to clients that break it, and that it goes on or ends
//! as it should. The expected values are those of Windows, as far as they are known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::{
    ECHO, NOW, OTHER, Server, alter, bind, bind_body, config, config_at, element, encode, fragment,
    request,
};
use dcerpc_proto::assoc::{CloseReason, ServerConfig};
use dcerpc_proto::limits::{
    AUTHENTICATION_TIMEOUT, BIND_TIMEOUT, MAX_BUFFERED, MAX_CONTEXTS, MAX_FRAG_PIPE, MAX_STUB,
    PDU_TIMEOUT, REQUEST_TIMEOUT,
};
use dcerpc_proto::pdu::{
    Auth3, BindAck, BindTimeFeatures, Body, CoCancel, ContextElement, Orphaned, Packet, PfcFlags,
    Request, Shutdown,
};
use dcerpc_proto::security::AuthLevel;
use dcerpc_proto::{ByteOrder, FaultStatus, SyntaxId};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const FIRST: PfcFlags = PfcFlags::FIRST_FRAG;
const LAST: PfcFlags = PfcFlags::LAST_FRAG;
const MIDDLE: PfcFlags = PfcFlags::empty();

/// Calls `check` with the bind_ack or alter_context_resp that was sent.
fn with_ack<R>(server: &mut Server, check: impl FnOnce(PfcFlags, &BindAck<'_>) -> R) -> R {
    let pdu = server.only();
    let packet = Packet::decode(&pdu).unwrap();
    match packet.body {
        Body::BindAck(ack) => check(packet.header.flags, &ack),
        Body::AlterContextResp(ack) => check(packet.header.flags, &ack.0),
        other => panic!("not an acknowledgement: {other:?}"),
    }
}

fn results(server: &mut Server) -> Vec<(u16, u16, SyntaxId)> {
    with_ack(server, |_, ack| {
        ack.results
            .iter()
            .map(|r| (r.result, r.reason, r.transfer_syntax))
            .collect()
    })
}

/// Expects a fault for `call_id`, and the end.
fn assert_refused(server: &mut Server, call_id: u32, context_id: u16, status: FaultStatus) {
    let (header, id, found) = server.fault();
    assert_eq!((header.call_id, id, found), (call_id, context_id, status));
    server.assert_closed();
}

mod binding {
    use super::*;

    #[test]
    fn as_windows_binds() {
        // NDR, NDR64 and features in three elements, as Windows offers them.
        let ndr64 = ContextElement {
            transfer_syntaxes: vec![SyntaxId::NDR64],
            ..element(1, ECHO)
        };
        let features = ContextElement {
            transfer_syntaxes: vec![BindTimeFeatures::all().to_syntax()],
            ..element(2, ECHO)
        };
        let mut server = Server::new(config());
        server.feed_packet(&bind(
            PfcFlags::empty(),
            vec![element(0, ECHO), ndr64, features],
        ));
        let expected = [
            (0, 0, SyntaxId::NDR20),
            (2, 2, SyntaxId::NULL),
            (3, 3, SyntaxId::NULL),
        ];
        assert_eq!(results(&mut server), expected);
    }

    #[test]
    fn unknown_interfaces_and_versions_are_rejected() {
        for (interface, expected) in [
            (SyntaxId::new(Uuid::from_u128(1), 1, 0), (2, 1)),
            (SyntaxId { version: 3, ..ECHO }, (2, 1)),
            (SyntaxId::new(OTHER.uuid, 3, 3), (2, 1)),
            (SyntaxId::new(OTHER.uuid, 3, 1), (0, 0)),
            (OTHER, (0, 0)),
            (SyntaxId::MGMT, (0, 0)),
        ] {
            let mut server = Server::new(config());
            server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, interface)]));
            let (result, reason, _) = results(&mut server)[0];
            assert_eq!((result, reason), expected, "{interface}");
        }
    }

    #[test]
    fn only_the_first_usable_context_of_a_pdu_is_accepted() {
        let contexts = vec![element(1, ECHO), element(2, OTHER)];
        let mut server = Server::new(config());
        server.feed_packet(&bind(PfcFlags::empty(), contexts));
        let expected = [(0, 0, SyntaxId::NDR20), (2, 2, SyntaxId::NULL)];
        assert_eq!(results(&mut server), expected);
        server.feed_packet(&alter(PfcFlags::empty(), vec![element(2, OTHER)]));
        assert_eq!(results(&mut server), [(0, 0, SyntaxId::NDR20)]);
    }

    #[test]
    fn feature_negotiation_acknowledges_what_we_know_and_happens_once() {
        let features = |bits| ContextElement {
            context_id: 1,
            abstract_syntax: SyntaxId::NULL,
            transfer_syntaxes: vec![BindTimeFeatures::from_bits_retain(bits).to_syntax()],
        };
        for (asked, granted) in [(0, 0), (1, 1), (2, 2), (3, 3), (0xFFFF, 3)] {
            let mut server = Server::new(config());
            server.feed_packet(&bind(PfcFlags::empty(), vec![features(asked)]));
            assert_eq!(results(&mut server), [(3, granted, SyntaxId::NULL)]);
        }
        let mut server = Server::new(config());
        server.feed_packet(&bind(PfcFlags::empty(), vec![features(1), features(2)]));
        assert_eq!(server.nak(), 0);
        server.assert_closed();
    }

    #[test]
    fn fragment_sizes() {
        for (xmit, recv, expected) in [
            (0, 0, 2048),
            (0, 0xFFFF, 2048),
            (3199, 0xFFFF, 3192),
            (0xFFFF, 3199, 3192),
            (0xFFFF, 0xFFFF, MAX_FRAG_PIPE),
            (4280, 4280, 4280),
        ] {
            let mut bind = bind_body(vec![element(1, ECHO)]);
            (bind.max_xmit_frag, bind.max_recv_frag) = (xmit, recv);
            let mut server = Server::new(config());
            server.feed_packet(&Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind)));
            let sizes = with_ack(&mut server, |_, ack| (ack.max_xmit_frag, ack.max_recv_frag));
            assert_eq!(sizes, (expected, expected), "{xmit} {recv}");
        }
    }

    #[test]
    fn association_groups() {
        let config = Arc::new(config());
        let join = |id| {
            let mut bind = bind_body(vec![element(1, ECHO)]);
            bind.assoc_group_id = id;
            let mut server = Server::with_config(&config);
            server.feed_packet(&Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind)));
            server
        };
        let mut first = join(0);
        let group = with_ack(&mut first, |_, ack| ack.assoc_group_id);
        assert_ne!(group, 0);
        let mut second = join(group);
        assert_eq!(with_ack(&mut second, |_, ack| ack.assoc_group_id), group);
        let mut stranger = join(group ^ 1);
        assert_eq!(stranger.nak(), 0);
        stranger.assert_closed();
        // A group ends with its last member.
        drop((first, second));
        assert_eq!(join(group).nak(), 0);
    }

    #[test]
    fn a_second_bind_ends_the_association() {
        let mut server = Server::bound();
        server.feed_packet(&bind(PfcFlags::empty(), vec![element(2, ECHO)]));
        assert_eq!(server.nak(), 0);
        server.assert_closed();
    }

    #[test]
    fn nothing_comes_before_the_bind() {
        let body = Body::Auth3(Auth3 { pad: [0; 4] });
        for packet in [
            request(1, b""),
            alter(PfcFlags::empty(), vec![element(1, ECHO)]),
            Packet::new(PfcFlags::WHOLE, 1, body),
            Packet::new(PfcFlags::WHOLE, 1, Body::Orphaned(Orphaned)),
        ] {
            let mut server = Server::new(config());
            server.feed_packet(&packet);
            assert_eq!(server.nak(), 4, "{packet:?}");
            server.assert_closed();
        }
    }

    #[test]
    fn useless_binds_are_refused() {
        let mut no_transfer = element(1, ECHO);
        no_transfer.transfer_syntaxes.clear();
        let many = (0..65).map(|id| element(id, ECHO)).collect();
        for (contexts, reason) in [(vec![], 0), (vec![no_transfer], 0), (many, 2)] {
            let is_empty = contexts.is_empty();
            let mut server = Server::new(config());
            server.feed_packet(&bind(PfcFlags::empty(), contexts));
            assert_eq!(server.nak(), reason);
            server.assert_closed();
            if is_empty {
                // Some clients leave out the reserved bytes after a count of zero.
                let mut bytes = encode(&bind(PfcFlags::empty(), vec![])).to_vec();
                bytes.truncate(25);
                bytes[8] = 25;
                let mut server = Server::new(config());
                server.feed(&bytes);
                assert_eq!(server.nak(), reason);
            }
        }
    }

    #[test]
    fn flags_are_echoed_only_if_in_force() {
        use PfcFlags as F;
        for (asked, answered) in [
            (F::empty(), F::WHOLE),
            (F::SUPPORT_HEADER_SIGN, F::WHOLE | F::SUPPORT_HEADER_SIGN),
            (F::CONC_MPX, F::WHOLE | F::CONC_MPX),
            (
                F::RESERVED_1 | F::DID_NOT_EXECUTE | F::MAYBE | F::OBJECT_UUID,
                F::WHOLE,
            ),
        ] {
            let mut server = Server::new(config());
            server.feed_packet(&bind(asked, vec![element(1, ECHO)]));
            assert_eq!(
                with_ack(&mut server, |flags, _| flags),
                answered,
                "{asked:?}"
            );
            server.assert_alive();
        }
        // Multiplexing is decided in the bind; header signing may come later.
        let mut server = Server::bound();
        let flags = F::CONC_MPX | F::SUPPORT_HEADER_SIGN;
        server.feed_packet(&alter(flags, vec![element(1, ECHO)]));
        let expected = F::WHOLE | F::SUPPORT_HEADER_SIGN;
        assert_eq!(with_ack(&mut server, |flags, _| flags), expected);
    }

    #[test]
    fn alter_context_cannot_rebind() {
        let mut server = Server::bound();
        server.feed_packet(&alter(PfcFlags::empty(), vec![element(1, OTHER)]));
        assert_refused(&mut server, 2, 0, FaultStatus::PROTOCOL);

        let mut server = Server::bound();
        server.feed_packet(&alter(PfcFlags::empty(), vec![]));
        assert_refused(&mut server, 2, 0, FaultStatus::PROTOCOL);

        let mut server = Server::bound();
        server.feed_packet(&alter(PfcFlags::empty(), vec![element(1, ECHO)]));
        with_ack(&mut server, |_, ack| {
            assert!(ack.secondary_address.is_empty())
        });
        server.assert_alive();
    }

    #[test]
    fn ndr64_cannot_be_asked_for_later() {
        let both = |context_id| ContextElement {
            transfer_syntaxes: vec![SyntaxId::NDR20, SyntaxId::NDR64],
            ..element(context_id, ECHO)
        };
        // Who offers both from the start gets NDR 2.0, and may repeat the offer.
        let mut server = Server::new(config());
        server.feed_packet(&bind(PfcFlags::empty(), vec![both(1)]));
        assert_eq!(results(&mut server), [(0, 0, SyntaxId::NDR20)]);
        server.feed_packet(&alter(PfcFlags::empty(), vec![both(1)]));
        assert_eq!(results(&mut server), [(0, 0, SyntaxId::NDR20)]);
        // For whoever did not, it is another transfer syntax.
        let mut server = Server::bound();
        server.feed_packet(&alter(PfcFlags::empty(), vec![both(1)]));
        assert_refused(&mut server, 2, 0, FaultStatus::PROTOCOL);
    }

    #[test]
    fn presentation_contexts_are_bounded() {
        let mut server = Server::bound();
        for id in 2..=MAX_CONTEXTS as u16 {
            server.feed_packet(&alter(PfcFlags::empty(), vec![element(id, ECHO)]));
            assert_eq!(results(&mut server)[0].0, 0, "{id}");
        }
        server.feed_packet(&alter(PfcFlags::empty(), vec![element(99, ECHO)]));
        assert_eq!(results(&mut server), [(1, 3, SyntaxId::NULL)]);
        server.assert_alive();
    }

    #[test]
    fn pdus_of_servers_are_refused() {
        for body in [
            Body::Shutdown(Shutdown),
            Body::BindNak(dcerpc_proto::pdu::BindNak::new(
                dcerpc_proto::pdu::RejectReason::NOT_SPECIFIED,
            )),
        ] {
            let mut server = Server::bound();
            server.feed_packet(&Packet::new(PfcFlags::WHOLE, 5, body));
            assert_refused(&mut server, 5, 0, FaultStatus::PROTOCOL);
        }
    }
}

mod fragments {
    use super::*;

    #[test]
    fn are_put_together() {
        let mut server = Server::bound();
        server
            .feed_packet(&fragment(3, FIRST, b"one "))
            .assert_silent();
        server
            .feed_packet(&fragment(3, MIDDLE, b"two "))
            .assert_silent();
        server.feed_packet(&fragment(3, LAST, b"three"));
        assert_eq!(server.response(), b"one two three");
    }

    #[test]
    fn later_ones_cannot_change_context_or_opnum() {
        let mut server = Server::bound();
        server.feed_packet(&fragment(3, FIRST, b"a"));
        let body = Request {
            alloc_hint: 0,
            context_id: 111,
            opnum: 111,
            object: None,
            body: b"b",
        };
        server.feed_packet(&Packet::new(LAST, 3, Body::Request(body)));
        assert_eq!(server.response(), b"ab");
        assert_eq!(
            (server.calls[0].opnum, server.calls[0].interface),
            (0, ECHO)
        );
    }

    #[test]
    fn need_a_first_one() {
        for flags in [MIDDLE, LAST] {
            let mut server = Server::bound();
            server.feed_packet(&fragment(3, flags, b"x"));
            assert_refused(&mut server, 3, 0, FaultStatus::PROTOCOL);
        }
    }

    #[test]
    fn without_a_first_one_are_told_apart_by_their_context_when_multiplexed() {
        for (context_id, status) in [
            (1, FaultStatus::PROTOCOL),
            (111, FaultStatus::UNKNOWN_INTERFACE),
        ] {
            let mut server = Server::bound_with(config(), PfcFlags::CONC_MPX);
            let body = Request {
                alloc_hint: 0,
                context_id,
                opnum: 0,
                object: None,
                body: b"",
            };
            server.feed_packet(&Packet::new(MIDDLE, 3, Body::Request(body)));
            assert_eq!(server.fault().2, status);
            assert_eq!(server.closed.is_some(), status == FaultStatus::PROTOCOL);
        }
    }

    #[test]
    fn of_two_calls_cannot_be_interleaved() {
        // CVE-2015-5370: without CONC_MPX the fault is for the call that was there first.
        for (flags, blamed, context) in [(PfcFlags::empty(), 50, 1), (PfcFlags::CONC_MPX, 51, 0)] {
            for second in [FIRST, PfcFlags::WHOLE] {
                let mut server = Server::bound_with(config(), flags);
                server.feed_packet(&fragment(50, FIRST, b"x"));
                server.feed_packet(&fragment(51, second, b"y"));
                assert_refused(&mut server, blamed, context, FaultStatus::PROTOCOL);
                assert!(server.calls.is_empty());
            }
        }
    }

    #[test]
    fn a_second_first_one_of_the_same_call_ends_it() {
        for extra in [
            PfcFlags::empty(),
            PfcFlags::MAYBE,
            PfcFlags::DID_NOT_EXECUTE,
        ] {
            let mut server = Server::bound();
            server.feed_packet(&fragment(2, FIRST | extra, b"x"));
            server.feed_packet(&fragment(2, FIRST | extra, b"x"));
            assert_refused(&mut server, 2, 1, FaultStatus::PROTOCOL);
        }
    }

    #[test]
    fn of_another_call_cannot_go_on_with_this_one() {
        for (flags, blamed, context) in [(PfcFlags::empty(), 50, 1), (PfcFlags::CONC_MPX, 51, 0)] {
            let mut server = Server::bound_with(config(), flags);
            server.feed_packet(&fragment(50, FIRST, b"x"));
            server.feed_packet(&fragment(51, LAST, b"y"));
            assert_refused(&mut server, blamed, context, FaultStatus::PROTOCOL);
        }
    }

    #[test]
    fn cannot_change_their_byte_order() {
        let mut server = Server::bound();
        server.feed_packet(&fragment(2, FIRST, b"x"));
        let mut big = fragment(2, LAST, b"y");
        big.header = big.header.with_byte_order(ByteOrder::Big);
        server.feed_packet(&big);
        let (header, _, status) = server.fault();
        assert_eq!(status, FaultStatus::PROTOCOL);
        assert!(header.flags.contains(PfcFlags::DID_NOT_EXECUTE));
        server.assert_closed();
    }

    #[test]
    fn of_a_stub_without_end_are_cut_off() {
        let mut server = Server::bound();
        let chunk = vec![0; 4000];
        server.feed_packet(&fragment(2, FIRST, &chunk));
        let mut sent = chunk.len();
        while server.closed.is_none() {
            server.feed_packet(&fragment(2, MIDDLE, &chunk));
            sent += chunk.len();
            assert!(sent <= MAX_STUB + chunk.len());
        }
        assert_refused(&mut server, 2, 1, FaultStatus::ACCESS_DENIED);
        assert_eq!(server.closed, Some(CloseReason::Limit("stub of a request")));
    }

    #[test]
    fn of_an_exactly_full_stub_pass() {
        let mut server = Server::bound();
        server.feed_packet(&fragment(2, FIRST, &vec![1; MAX_FRAG_PIPE as usize - 24]));
        let mut left = MAX_STUB - (MAX_FRAG_PIPE as usize - 24);
        while left > 0 {
            let take = left.min(4000);
            left -= take;
            let flags = if left == 0 { LAST } else { MIDDLE };
            server.feed_packet(&fragment(2, flags, &vec![1; take]));
        }
        assert_eq!(server.calls[0].stub.len(), MAX_STUB);
    }

    #[test]
    fn alloc_hint_is_never_believed() {
        let with_hint = |flags, alloc_hint| {
            let body = Request {
                alloc_hint,
                context_id: 1,
                opnum: 0,
                object: None,
                body: b"abcd",
            };
            Packet::new(flags, 2, Body::Request(body))
        };
        // A whole request may say what it likes.
        for hint in [0, 1, u32::MAX] {
            let mut server = Server::bound();
            server.feed_packet(&with_hint(PfcFlags::WHOLE, hint));
            assert_eq!(server.response(), b"abcd");
        }
        // One that announces more than 4 MiB to come is refused at once.
        let mut server = Server::bound();
        server.feed_packet(&with_hint(FIRST, 0x40_0001));
        assert_refused(&mut server, 2, 1, FaultStatus::ACCESS_DENIED);
        let mut server = Server::bound();
        server
            .feed_packet(&with_hint(FIRST, 0x40_0000))
            .assert_silent();
    }

    #[test]
    fn longer_than_the_transport_allows_are_refused_by_their_header() {
        let mut server = Server::bound();
        let limit = usize::from(MAX_FRAG_PIPE) - 24;
        server.feed_packet(&request(2, &vec![0; limit]));
        assert!(!server.take().is_empty());
        let long = encode(&request(3, &vec![0; limit + 1]));
        server.feed(&long[..16]);
        let (header, _, status) = server.fault();
        assert_eq!((header.call_id, status), (3, FaultStatus::PROTOCOL));
        assert_eq!(header.flags, PfcFlags::WHOLE);
        server.assert_closed();
    }

    #[test]
    fn responses_keep_to_the_negotiated_size() {
        let mut bind = bind_body(vec![element(1, ECHO)]);
        bind.max_recv_frag = 2048;
        let mut server = Server::new(config());
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind)));
        server.only();
        server.is_prompt = false;
        server.feed_packet(&request(2, b""));
        server.reply(2, Ok(Bytes::from(vec![7; 5000])));
        let sent = server.take();
        assert_eq!(
            sent.iter().map(Bytes::len).collect::<Vec<_>>(),
            [2048, 2048, 976]
        );
        let mut left = 5000;
        for (position, pdu) in sent.iter().enumerate() {
            let packet = Packet::decode(pdu).unwrap();
            let Body::Response(response) = packet.body else {
                panic!()
            };
            assert_eq!(packet.header.flags.contains(FIRST), position == 0);
            assert_eq!(packet.header.flags.contains(LAST), position == 2);
            assert_eq!(response.alloc_hint, left);
            left -= response.body.len() as u32;
        }
    }
}

mod calls {
    use super::*;

    #[test]
    fn on_an_unknown_context_fault_and_the_association_lives() {
        let mut server = Server::bound();
        let body = Request {
            alloc_hint: 0,
            context_id: 9,
            opnum: 0,
            object: None,
            body: b"",
        };
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 2, Body::Request(body)));
        let (header, context_id, status) = server.fault();
        assert_eq!((context_id, status), (0, FaultStatus::UNKNOWN_INTERFACE));
        assert!(header.flags.contains(PfcFlags::DID_NOT_EXECUTE));
        server.assert_alive();
    }

    #[test]
    fn of_an_unknown_opnum_fault_and_the_association_lives() {
        let mut server = Server::bound();
        let body = Request {
            alloc_hint: 0,
            context_id: 1,
            opnum: 0xFFFF,
            object: None,
            body: b"",
        };
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 2, Body::Request(body)));
        let (header, context_id, status) = server.fault();
        assert_eq!((context_id, status), (1, FaultStatus::OP_RANGE));
        assert!(header.flags.contains(PfcFlags::DID_NOT_EXECUTE));
        server.assert_alive();
    }

    #[test]
    fn with_an_object_or_odd_flags_are_served() {
        let body = Request {
            alloc_hint: 4,
            context_id: 1,
            opnum: 0,
            object: Some(Uuid::from_u128(5)),
            body: b"stub",
        };
        let flags = PfcFlags::WHOLE | PfcFlags::OBJECT_UUID | PfcFlags::MAYBE;
        let mut server = Server::bound();
        server.feed_packet(&Packet::new(flags, 2, Body::Request(body)));
        assert_eq!(server.response(), b"stub");
    }

    #[test]
    fn that_begin_with_a_pending_cancel_are_refused() {
        let mut server = Server::bound();
        server.feed_packet(&fragment(2, FIRST | PfcFlags::PENDING_CANCEL, b""));
        assert_refused(&mut server, 2, 0, FaultStatus::NO_CALL_ACTIVE);
        // Later on it is only noted.
        let mut server = Server::bound();
        server.feed_packet(&fragment(2, FIRST, b"a"));
        server.feed_packet(&fragment(2, PfcFlags::PENDING_CANCEL, b"b"));
        server.feed_packet(&fragment(2, LAST | PfcFlags::PENDING_CANCEL, b"c"));
        assert_eq!(server.response(), b"abc");
    }

    #[test]
    fn are_answered_in_little_endian_whatever_they_came_in() {
        let mut big = bind(PfcFlags::empty(), vec![element(1, ECHO)]);
        big.header = big.header.with_byte_order(ByteOrder::Big);
        let mut server = Server::new(config());
        server.feed_packet(&big);
        assert_eq!(results(&mut server), [(0, 0, SyntaxId::NDR20)]);
        let mut big = request(0x0102_0304, b"stub");
        big.header = big.header.with_byte_order(ByteOrder::Big);
        server.feed_packet(&big);
        let pdu = server.only();
        assert_eq!(pdu[4..8], [0x10, 0, 0, 0]);
        assert_eq!(pdu[12..16], [4, 3, 2, 1]);
        assert_eq!(server.calls[0].byte_order, ByteOrder::Big);
    }

    #[test]
    fn cancels_and_orphans_touch_only_their_own() {
        let cancel = |id| Packet::new(PfcFlags::WHOLE, id, Body::CoCancel(CoCancel));
        let orphan = |id| Packet::new(PfcFlags::WHOLE, id, Body::Orphaned(Orphaned));
        // Of no call, and of one that is incomplete.
        let mut server = Server::bound();
        server
            .feed_packet(&cancel(3))
            .feed_packet(&orphan(3))
            .assert_silent();
        server.feed_packet(&fragment(3, FIRST, b"a"));
        server
            .feed_packet(&cancel(3))
            .feed_packet(&orphan(3))
            .assert_silent();
        server.feed_packet(&fragment(3, LAST, b"b"));
        assert_eq!(server.response(), b"ab");
        assert!(server.cancelled.is_empty());
        // Of one that is executed.
        server.is_prompt = false;
        server.feed_packet(&request(4, b""));
        server.feed_packet(&cancel(9)).feed_packet(&cancel(4));
        assert_eq!(server.cancelled, [4]);
        server.reply(4, Err(FaultStatus::CANCELLED));
        assert_eq!(server.fault().2, FaultStatus::CANCELLED);
        server.feed_packet(&request(5, b""));
        server.feed_packet(&orphan(5)).feed_packet(&orphan(5));
        assert_eq!(server.cancelled, [4, 5]);
        server.reply(5, Ok(Bytes::from_static(b"unheard")));
        server.is_prompt = true;
        server.assert_alive();
    }

    #[test]
    fn at_the_same_time_are_a_protocol_error_without_multiplexing() {
        let mut server = Server::bound();
        server.is_prompt = false;
        server
            .feed_packet(&request(2, b""))
            .feed_packet(&request(3, b""));
        assert_refused(&mut server, 3, 0, FaultStatus::PROTOCOL);
        assert_eq!(server.calls.len(), 1);
    }

    #[test]
    fn at_the_same_time_wait_with_multiplexing() {
        let mut server = Server::bound_with(config(), PfcFlags::CONC_MPX);
        server.is_prompt = false;
        server
            .feed_packet(&request(2, b""))
            .feed_packet(&request(3, b""));
        assert_eq!(server.calls.len(), 1);
        server.reply(2, Ok(Bytes::new()));
        assert_eq!(server.calls.len(), 2);
        server.reply(3, Ok(Bytes::new()));
        let ids: Vec<_> = server
            .take()
            .iter()
            .map(|pdu| Packet::decode(pdu).unwrap().header.call_id)
            .collect();
        assert_eq!(ids, [2, 3]);
    }

    #[test]
    fn do_not_let_input_pile_up_while_one_is_executed() {
        let mut server = Server::bound_with(config(), PfcFlags::CONC_MPX);
        server.is_prompt = false;
        server.feed_packet(&request(2, b""));
        let next = encode(&request(3, &[0; 4000]));
        let mut fed = 0;
        while server.association.wants_data() {
            server.feed(&next);
            fed += next.len();
        }
        assert!(fed <= MAX_BUFFERED);
        server.assert_silent();
        // A driver that reads on nevertheless is stopped.
        while server.closed.is_none() {
            server.feed(&next);
            fed += next.len();
            assert!(fed <= 2 * MAX_BUFFERED);
        }
    }

    #[test]
    fn unknown_replies_are_ignored() {
        let mut server = Server::bound();
        server.reply(77, Ok(Bytes::new()));
        server.assert_silent();
        server.assert_alive();
    }

    #[test]
    fn response_context_id_has_eight_bits_as_on_windows() {
        let mut server = Server::new(config());
        server.feed_packet(&bind(PfcFlags::empty(), vec![element(0x1001, ECHO)]));
        server.only();
        let body = Request {
            alloc_hint: 0,
            context_id: 0x1001,
            opnum: 0,
            object: None,
            body: b"",
        };
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 2, Body::Request(body)));
        let pdu = server.only();
        let Body::Response(response) = Packet::decode(&pdu).unwrap().body else {
            panic!()
        };
        assert_eq!(response.context_id, 1);
    }

    #[test]
    fn below_the_minimum_level_are_refused() {
        let mut server = Server::bound_with(config_at(AuthLevel::Integrity), PfcFlags::empty());
        server.feed_packet(&request(2, b""));
        assert_refused(&mut server, 2, 1, FaultStatus::ACCESS_DENIED);
        assert!(server.calls.is_empty());
    }
}

mod lies {
    use super::*;

    /// Changes a good PDU and feeds it to a bound and to a fresh server.
    fn feed_changed(packet: &Packet<'_>, change: impl Fn(&mut BytesMut)) -> [Server; 2] {
        let mut bytes = BytesMut::from(&encode(packet)[..]);
        change(&mut bytes);
        let mut servers = [Server::bound(), Server::new(config())];
        for server in &mut servers {
            server.feed(&bytes);
        }
        servers
    }

    #[test]
    fn a_frag_length_that_does_not_hold_the_header() {
        for length in [0_u16, 1, 15] {
            let servers = feed_changed(&request(1, b""), |bytes| {
                bytes[8..10].copy_from_slice(&length.to_le_bytes());
            });
            for mut server in servers {
                server.assert_closed();
                assert!(server.take().is_empty(), "nothing in it can be believed");
            }
        }
    }

    #[test]
    fn a_frag_length_that_does_not_hold_the_fixed_part() {
        for length in 16..24_u16 {
            let [mut bound, _] = feed_changed(&request(1, b""), |bytes| {
                bytes[8..10].copy_from_slice(&length.to_le_bytes());
            });
            assert_refused(&mut bound, 1, 0, FaultStatus::PROTOCOL);
        }
        for length in 16..28_u16 {
            let packet = bind(PfcFlags::empty(), vec![element(1, ECHO)]);
            let [_, mut fresh] = feed_changed(&packet, |bytes| {
                bytes[8..10].copy_from_slice(&length.to_le_bytes());
            });
            assert_eq!(fresh.nak(), 4);
            fresh.assert_closed();
        }
    }

    #[test]
    fn an_auth_length_that_reaches_into_the_fixed_part() {
        for length in [1_u16, 8, 200, 0xFFFF] {
            let [mut bound, _] = feed_changed(&request(1, b"12345678"), |bytes| {
                bytes[10..12].copy_from_slice(&length.to_le_bytes());
            });
            assert_refused(&mut bound, 1, 0, FaultStatus::PROTOCOL);
            let packet = bind(PfcFlags::empty(), vec![]);
            let [_, mut fresh] = feed_changed(&packet, |bytes| {
                bytes[10..12].copy_from_slice(&length.to_le_bytes());
            });
            assert_eq!(fresh.nak(), 4);
            fresh.assert_closed();
        }
    }

    #[test]
    fn counts_of_contexts_that_are_not_there() {
        let packet = bind(PfcFlags::empty(), vec![element(1, ECHO)]);
        for at in [24, 30] {
            let [_, mut fresh] = feed_changed(&packet, |bytes| bytes[at] = 200);
            assert_eq!(fresh.nak(), 4);
            fresh.assert_closed();
        }
    }

    #[test]
    fn representations_that_we_do_not_speak() {
        for (at, value) in [(0, 4), (1, 9), (4, 0x11), (4, 0x20), (5, 1)] {
            let [mut bound, mut fresh] = feed_changed(&request(1, b""), |bytes| bytes[at] = value);
            let (_, _, status) = bound.fault();
            assert_eq!(status, FaultStatus::PROTOCOL);
            bound.assert_closed();
            assert_eq!(fresh.nak(), 4);
            fresh.assert_closed();
        }
    }

    #[test]
    fn a_closed_association_says_no_more() {
        let mut server = Server::bound();
        server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, ECHO)]));
        server.take();
        server.feed_packet(&request(1, b""));
        server.reply(1, Ok(Bytes::new()));
        assert!(server.take().is_empty());
        assert!(!server.association.wants_data());
        assert_eq!(server.association.poll_timeout(), None);
    }
}

mod timers {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Nothing happens a moment before the timer, and the end when it fires.
    fn assert_fires(server: &mut Server, after: Duration) {
        let at = server.association.poll_timeout().unwrap();
        assert_eq!(at, server.now + after);
        server.association.handle_timeout(at - SECOND);
        server.act();
        assert_eq!(server.closed, None);
        server.association.handle_timeout(at);
        server.act();
        assert!(
            matches!(server.closed, Some(CloseReason::Timeout(_))),
            "{:?}",
            server.closed
        );
    }

    #[test]
    fn a_bind_must_come() {
        let mut server = Server::new(config());
        assert_eq!(server.now, NOW);
        assert_fires(&mut server, BIND_TIMEOUT);
    }

    #[test]
    fn an_idle_association_may_be_idle() {
        let mut server = Server::bound();
        assert_eq!(server.association.poll_timeout(), None);
        server.feed_packet(&request(2, b""));
        assert_eq!(server.association.poll_timeout(), None);
    }

    #[test]
    fn the_rest_of_a_pdu_must_follow() {
        let bytes = encode(&request(2, b"stub"));
        for length in [1, 15, 16, bytes.len() - 1] {
            let mut server = Server::bound();
            server.feed(&bytes[..length]);
            assert_fires(&mut server, PDU_TIMEOUT);
        }
        // Dripping bytes do not push it back.
        let mut server = Server::bound();
        server.feed(&bytes[..3]);
        let before = server.association.poll_timeout();
        server.now += SECOND;
        server.feed(&bytes[3..5]);
        assert_eq!(server.association.poll_timeout(), before);
        server.feed(&bytes[5..]);
        assert_eq!(server.association.poll_timeout(), None);
    }

    #[test]
    fn the_rest_of_a_request_must_follow() {
        let mut server = Server::bound();
        server.feed_packet(&fragment(2, FIRST, b""));
        let before = server.association.poll_timeout();
        server.now += SECOND;
        server.feed_packet(&fragment(2, MIDDLE, b""));
        assert_eq!(server.association.poll_timeout(), before);
        server.now -= SECOND;
        assert_fires(&mut server, REQUEST_TIMEOUT);

        let mut server = Server::bound();
        server
            .feed_packet(&fragment(2, FIRST, b""))
            .feed_packet(&fragment(2, LAST, b""));
        assert_eq!(server.association.poll_timeout(), None);
    }

    #[test]
    fn an_authentication_must_end() {
        let trailer = common::trailer(AuthLevel::Integrity, 1);
        let bind = bind(PfcFlags::empty(), vec![element(1, ECHO)]).with_auth(trailer, b"hello");
        let mut server = Server::new(config());
        server.feed_packet(&bind);
        assert_fires(&mut server, AUTHENTICATION_TIMEOUT);
        // The same while the driver has the leg.
        let mut server = Server::new(config());
        server.is_prompt = false;
        server.feed_packet(&bind);
        assert_fires(&mut server, AUTHENTICATION_TIMEOUT);
        let ticket = server.tickets.pop().unwrap();
        let late = dcerpc_proto::security::SecurityError::OutOfTurn;
        server
            .association
            .handle_stepped(server.now, ticket, Err(late));
        server.act();
        assert!(server.take().is_empty());
    }

    #[test]
    fn a_call_that_is_executed_has_no_timer() {
        let mut server = Server::bound();
        server.is_prompt = false;
        server.feed_packet(&request(2, b"")).feed(b"\x05");
        assert_eq!(server.association.poll_timeout(), None);
    }
}

mod mgmt {
    use super::*;

    fn bound() -> Server {
        let config = ServerConfig {
            secondary_address: "9135".to_owned(),
            ..config()
        };
        let mut server = Server::new(config);
        server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, SyntaxId::MGMT)]));
        server.only();
        server
    }

    fn call(server: &mut Server, opnum: u16, stub: &[u8]) {
        let body = Request {
            alloc_hint: 0,
            context_id: 1,
            opnum,
            object: None,
            body: stub,
        };
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 2, Body::Request(body)));
    }

    #[test]
    fn answers() {
        let mut server = bound();
        call(&mut server, 2, b"");
        assert_eq!(
            server.response(),
            [0, 0, 0, 0, 1, 0, 0, 0],
            "is_server_listening"
        );
        call(&mut server, 3, b"");
        assert_eq!(server.response(), [5, 0, 0, 0], "stop_server_listening");
        call(&mut server, 1, &[4, 0, 0, 0]);
        let stub = server.response();
        assert_eq!(
            (stub.len(), &stub[..8]),
            (28, &[4, 0, 0, 0, 4, 0, 0, 0][..]),
            "inq_stats"
        );
        assert_eq!(stub[8..12], [3, 0, 0, 0], "calls in");
        call(&mut server, 1, &[0; 4]);
        assert_eq!(server.response(), [0; 12], "inq_stats of nothing");
        call(&mut server, 1, &[0xFF; 4]);
        assert_eq!(server.response().len(), 28, "inq_stats of too much");
        call(&mut server, 4, &[10, 0, 0, 0, 0, 1, 0, 0]);
        let expected = [
            0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xD3, 6, 0, 0,
        ];
        assert_eq!(server.response(), expected, "inq_princ_name");
    }

    #[test]
    fn refuses() {
        let mut server = bound();
        for (opnum, stub, status) in [
            (1, &[1, 2][..], FaultStatus::BAD_STUB_DATA),
            (4, &[0; 4], FaultStatus::BAD_STUB_DATA),
            (4, &[0; 8], FaultStatus::BAD_STUB_DATA),
            (5, b"", FaultStatus::OP_RANGE),
        ] {
            call(&mut server, opnum, stub);
            assert_eq!(server.fault().2, status, "{opnum}");
        }
        assert_eq!(server.closed, None);
    }

    #[test]
    fn has_the_minimum_level_of_the_rest() {
        let mut server = Server::new(config_at(AuthLevel::Integrity));
        server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, SyntaxId::MGMT)]));
        server.only();
        call(&mut server, 0, b"");
        assert_refused(&mut server, 2, 1, FaultStatus::ACCESS_DENIED);
    }
}
