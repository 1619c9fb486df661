//! Fragments.

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
