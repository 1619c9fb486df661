//! Requests, cancels and orphans.

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
