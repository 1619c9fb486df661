//! Attacks on the protection of calls.

use super::*;

#[test]
fn the_peer_of_these_tests_is_served() {
    for level in [AuthLevel::Packet, AuthLevel::Integrity, AuthLevel::Privacy] {
        let (mut peer, mut server) = Peer::bind(level);
        for (call_id, stub) in [(2, &b"hello"[..]), (3, b""), (4, &[1; 16])] {
            let pdu = peer.request(call_id, stub);
            server.feed(&pdu);
            assert_eq!(peer.open(&mut server), stub);
        }
        let security = server.calls[0].security.clone().unwrap();
        assert_eq!((security.auth_type, security.level), (TOY, level));
        assert_eq!(security.identity.account, "TOY\\tester");
    }
}

#[test]
fn tampering_is_noticed_wherever_it_is() {
    let (mut peer, _) = Peer::bind(AuthLevel::Integrity);
    let length = peer.request(2, b"transfer 10").len();
    for at in 0..length {
        let (mut peer, mut server) = Peer::bind(AuthLevel::Integrity);
        let mut pdu = peer.request(2, b"transfer 10");
        pdu[at] ^= 0x40;
        server.feed(&pdu);
        if at == 9 {
            // The upper half of frag_length: nothing is complete yet, or it is too long.
            server.feed(&[0; 20_000]);
        }
        assert!(server.calls.is_empty(), "byte {at}");
        server.assert_closed();
    }
}

#[test]
fn without_header_signing_the_body_is_still_covered() {
    let mut server = Server::bound();
    let mut peer = Peer::alter(AuthLevel::Integrity, 7, &mut server);
    let mut pdu = peer.request(2, b"transfer 10");
    pdu[30] ^= 1;
    server.feed(&pdu);
    assert_refused(&mut server, FaultStatus::SECURITY_PACKAGE);
}

#[test]
fn replay_and_reordering_are_noticed() {
    let (mut peer, mut server) = Peer::bind(AuthLevel::Integrity);
    let pdu = peer.request(2, b"once");
    server.feed(&pdu);
    peer.open(&mut server);
    server.feed(&pdu);
    assert_refused(&mut server, FaultStatus::SECURITY_PACKAGE);
    assert_eq!(server.calls.len(), 1);

    let (mut peer, mut server) = Peer::bind(AuthLevel::Integrity);
    let _first = peer.request(2, b"first");
    let second = peer.request(3, b"second");
    server.feed(&second);
    assert_refused(&mut server, FaultStatus::SECURITY_PACKAGE);
}

#[test]
fn the_level_cannot_be_lowered_in_one_pdu() {
    // CVE-2016-2118 (Badlock): the byte says connect, or the trailer is left out.
    for level in [0, 1, 2, 3, 4, 5, 7, 255] {
        let (mut peer, mut server) = Peer::bind(AuthLevel::Privacy);
        peer.trailer.auth_level = level;
        let pdu = peer.request(2, b"x");
        server.feed(&pdu);
        assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
        assert!(server.calls.is_empty());
    }
    let mut server = Server::new(config_at(AuthLevel::Integrity));
    let mut peer = Peer::new(AuthLevel::Privacy, 7);
    let hello = peer.leg(b"");
    let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
    server.feed_packet(&packet.with_auth(peer.trailer, &hello));
    peer.auth3(&mut server);
    server.feed_packet(&common::request(2, b"bare"));
    assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
    assert!(server.calls.is_empty());
}

#[test]
fn a_call_without_a_trailer_has_no_identity() {
    let (_, mut server) = Peer::bind(AuthLevel::Integrity);
    server.feed_packet(&common::request(2, b"bare"));
    assert_eq!(server.response(), b"bare");
    assert_eq!(server.calls[0].security, None);
}

#[test]
fn type_or_context_cannot_be_switched() {
    for change in [
        |trailer: &mut SecTrailer| trailer.auth_type = TALKATIVE,
        |trailer: &mut SecTrailer| trailer.auth_type = AuthType(0),
        |trailer: &mut SecTrailer| trailer.auth_context_id = 8,
    ] {
        let (mut peer, mut server) = Peer::bind(AuthLevel::Integrity);
        change(&mut peer.trailer);
        let pdu = peer.request(2, b"x");
        server.feed(&pdu);
        assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
        assert!(server.calls.is_empty());
    }
}

#[test]
fn injected_fragments_are_noticed() {
    // CVE-2021-23192: the middle of a signed call comes from someone else.
    let mut other_call = fragment(2, PfcFlags::empty(), b"evil");
    other_call.header.call_id = 2;
    for (injected, status) in [
        // Unsigned.
        (encode(&other_call).to_vec(), FaultStatus::PROTOCOL),
        // With a trailer of an unknown context and a made-up signature.
        (
            encode(
                &other_call
                    .clone()
                    .with_auth(common::trailer(AuthLevel::Integrity, 99), &[0; 16]),
            )
            .to_vec(),
            FaultStatus::SECURITY_PACKAGE,
        ),
        // With the trailer of the right context.
        (
            encode(&other_call.with_auth(common::trailer(AuthLevel::Integrity, 7), &[0; 16]))
                .to_vec(),
            FaultStatus::SECURITY_PACKAGE,
        ),
    ] {
        let (mut peer, mut server) = Peer::bind(AuthLevel::Integrity);
        let first = peer.protect(&fragment(2, FIRST, b"good"));
        server.feed(&first).assert_silent();
        server.feed(&injected);
        assert_refused(&mut server, status);
        assert!(server.calls.is_empty());
    }
    // And a signed end does not make an unsigned beginning good.
    let (mut peer, mut server) = Peer::bind(AuthLevel::Integrity);
    server
        .feed_packet(&fragment(2, FIRST, b"evil"))
        .assert_silent();
    let last = peer.protect(&fragment(2, LAST, b"good"));
    server.feed(&last);
    assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
    assert!(server.calls.is_empty());
}

#[test]
fn later_fragments_are_judged_by_the_first_ones_context() {
    // The trailers of later fragments lie, but the signatures are right: as Windows, served.
    let mut server = Server::bound();
    let mut peer = Peer::alter(AuthLevel::Integrity, 7, &mut server);
    let first = peer.protect(&fragment(2, FIRST, b"one"));
    let mut last = peer.protect(&fragment(2, LAST, b"two"));
    let trailer = last.len() - 16 - SecTrailer::LEN;
    (last[trailer], last[trailer + 1], last[trailer + 4]) = (111, 111, 111);
    server.feed(&first).feed(&last);
    assert_eq!(peer.open(&mut server), b"onetwo");
    // Signed by another context of the same association: not served.
    let mut server = Server::bound();
    let mut one = Peer::alter(AuthLevel::Integrity, 1, &mut server);
    let mut two = Peer::alter(AuthLevel::Packet, 2, &mut server);
    let _ = two.request(9, b"moves its sequence on");
    let first = one.protect(&fragment(3, FIRST, b"one"));
    let last = two.protect(&fragment(3, LAST, b"two"));
    server.feed(&first).assert_silent();
    server.feed(&last);
    assert_refused(&mut server, FaultStatus::SECURITY_PACKAGE);
}

#[test]
fn a_second_first_fragment_of_another_context_is_a_security_error() {
    let mut server = Server::bound();
    let mut one = Peer::alter(AuthLevel::Integrity, 1, &mut server);
    let mut two = Peer::alter(AuthLevel::Packet, 2, &mut server);
    let (a, b) = (
        one.protect(&fragment(3, FIRST, b"a")),
        two.protect(&fragment(3, FIRST, b"b")),
    );
    server.feed(&a).assert_silent();
    server.feed(&b);
    assert_refused(&mut server, FaultStatus::SECURITY_PACKAGE);
}

#[test]
fn padding_cannot_reach_out_of_the_body() {
    for (pad, is_served) in [(0, true), (1, true), (16, true), (17, false), (255, false)] {
        let (mut peer, mut server) = Peer::bind(AuthLevel::Integrity);
        let trailer = SecTrailer {
            auth_pad_length: pad,
            ..peer.trailer
        };
        let packet = common::request(2, &[9; 16]).with_auth(trailer, &[0; 16]);
        let pdu = peer.sign(&packet);
        server.feed(&pdu);
        if is_served {
            assert_eq!(
                peer.open(&mut server),
                vec![9; 16 - usize::from(pad)],
                "{pad}"
            );
        } else {
            assert_refused(&mut server, FaultStatus::PROTOCOL);
            assert!(server.calls.is_empty());
        }
    }
}
