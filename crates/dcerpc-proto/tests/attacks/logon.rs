//! Attacks on the exchange of tokens, and on who is logged on.

use super::*;

#[test]
fn padding_of_exchanged_tokens_is_bounded_as_on_windows() {
    let hello = bind(HEADER_SIGN, vec![element(1, ECHO)]);
    let most = encode(
        &hello
            .clone()
            .with_auth(common::trailer(AuthLevel::Connect, 7), b"hello"),
    )
    .len()
        - Request::FIXED_LEN
        - SecTrailer::LEN
        - b"hello".len();
    let padded = |pad: usize| SecTrailer {
        auth_pad_length: pad as u8,
        ..common::trailer(AuthLevel::Connect, 7)
    };
    let mut server = Server::new(config());
    server.feed_packet(&hello.clone().with_auth(padded(most), b"hello"));
    let pdu = server.only();
    let auth = Packet::decode(&pdu).unwrap().auth.unwrap();
    assert_eq!(auth.trailer.auth_pad_length, 0);
    server.feed_packet(&auth3(padded(1), b"sesame"));
    assert_refused(&mut server, FaultStatus::REMOTE_NO_MEMORY);

    let mut server = Server::new(config());
    server.feed_packet(&hello.with_auth(padded(most + 1), b"hello"));
    assert_eq!(server.nak(), 4);
    server.assert_closed();

    let mut server = Server::bound();
    let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
    server.feed_packet(&packet.with_auth(padded(most + 1), b"hello"));
    assert_refused(&mut server, FaultStatus::PROTOCOL);
}

#[test]
fn levels_and_types_of_a_bind() {
    for (auth_type, level, reason) in [
        (TOY, 0, 0),
        (TOY, 1, 0),
        (TOY, 7, 0),
        (TOY, 255, 0),
        (TOY, 3, 9),
        (common::UNOFFERED, 5, 8),
        (AuthType(0), 5, 8),
        (AuthType(0), 1, 0),
    ] {
        let trailer = SecTrailer {
            auth_type,
            auth_level: level,
            auth_pad_length: 0,
            auth_context_id: 0,
        };
        let mut server = Server::new(config());
        let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
        server.feed_packet(&packet.with_auth(trailer, b"hello"));
        assert_eq!(server.nak(), reason, "{auth_type:?} {level}");
        server.assert_closed();
        // In an alter_context there is only one answer.
        let mut server = Server::bound();
        let packet = alter(HEADER_SIGN, vec![element(1, ECHO)]);
        server.feed_packet(&packet.with_auth(trailer, b"hello"));
        assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
    }
}

#[test]
fn privacy_needs_a_context_that_can_encrypt() {
    for (level, is_granted) in [(AuthLevel::Integrity, true), (AuthLevel::Privacy, false)] {
        let trailer = SecTrailer {
            auth_type: BLUNT,
            ..common::trailer(level, 7)
        };
        let mut server = Server::bound();
        let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
        server.feed_packet(&packet.clone().with_auth(trailer, b"hello"));
        server.only();
        server.feed_packet(&packet.with_auth(trailer, b"sesame"));
        if is_granted {
            server.only();
            assert_eq!(server.closed, None);
        } else {
            assert_refused(&mut server, FaultStatus::SECURITY_PACKAGE);
        }
    }
}

#[test]
fn a_first_token_that_is_refused_is_a_nak() {
    let mut server = Server::new(config());
    let trailer = common::trailer(AuthLevel::Integrity, 7);
    let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
    server.feed_packet(&packet.with_auth(trailer, b"nonsense"));
    assert_eq!(server.nak(), 9);
    assert!(matches!(
        server.closed,
        Some(CloseReason::Authentication(_))
    ));
}

#[test]
fn a_request_before_the_last_leg_is_refused() {
    let mut peer = Peer::new(AuthLevel::Integrity, 7);
    let hello = peer.leg(b"");
    let mut server = Server::new(config());
    let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
    server.feed_packet(&packet.with_auth(peer.trailer, &hello));
    server.only();
    server.feed_packet(&common::request(2, &[0; 16]).with_auth(peer.trailer, &[0; 16]));
    let (header, context_id, status) = server.fault();
    assert_eq!((context_id, status), (0, FaultStatus::PROTOCOL));
    assert!(header.flags.contains(PfcFlags::DID_NOT_EXECUTE));
    server.assert_closed();
}

#[test]
fn a_failed_auth3_is_remembered() {
    for (token, covered) in [(&b"wrong"[..], true), (b"wrong", false), (b"broken", false)] {
        let mut peer = Peer::new(AuthLevel::Integrity, 7);
        let hello = peer.leg(b"");
        let mut server = Server::new(config());
        let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
        server.feed_packet(&packet.with_auth(peer.trailer, &hello));
        server.only();
        server
            .feed_packet(&auth3(peer.trailer, token))
            .assert_silent();
        let request = common::request(2, &[0; 16]);
        match covered {
            true => server.feed_packet(&request.with_auth(peer.trailer, &[0; 16])),
            false => server.feed_packet(&request),
        };
        assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
        assert!(server.calls.is_empty());
    }
}

#[test]
fn an_auth3_that_does_not_finish_or_still_has_to_talk_fails() {
    // TALKATIVE's acceptor has a last word, which an auth3 cannot carry.
    let trailer = SecTrailer {
        auth_type: TALKATIVE,
        ..common::trailer(AuthLevel::Integrity, 7)
    };
    let mut server = Server::new(config());
    let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
    server.feed_packet(&packet.with_auth(trailer, b"hello"));
    server.only();
    server
        .feed_packet(&auth3(trailer, b"sesame"))
        .assert_silent();
    server.feed_packet(&common::request(2, b""));
    assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
}

#[test]
fn auth3_needs_an_exchange_under_way() {
    let trailer = common::trailer(AuthLevel::Integrity, 7);
    // Never begun.
    let mut server = Server::bound();
    server.feed_packet(&auth3(trailer, b"sesame"));
    assert_refused(&mut server, FaultStatus::PROTOCOL);
    // Finished.
    let (peer, mut server) = Peer::bind(AuthLevel::Integrity);
    server.feed_packet(&auth3(peer.trailer, b"sesame"));
    assert_refused(&mut server, FaultStatus::PROTOCOL);
    // Without a trailer.
    let mut server = Server::bound();
    let bare = Packet::new(PfcFlags::WHOLE, 1, Body::Auth3(Auth3 { pad: [0; 4] }));
    server.feed_packet(&bare);
    assert_refused(&mut server, FaultStatus::PROTOCOL);
}

#[test]
fn a_finished_context_takes_no_more_tokens() {
    let (peer, mut server) = Peer::bind(AuthLevel::Integrity);
    let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
    server.feed_packet(&packet.with_auth(peer.trailer, b"hello"));
    let (header, context_id, status) = server.fault();
    assert_eq!((context_id, status), (0, FaultStatus::ACCESS_DENIED));
    assert!(header.flags.contains(PfcFlags::DID_NOT_EXECUTE));
    server.assert_closed();
}

#[test]
fn a_later_leg_cannot_change_type_or_level() {
    let begun = || {
        let mut server = Server::new(config());
        let trailer = common::trailer(AuthLevel::Integrity, 7);
        let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
        server.feed_packet(&packet.with_auth(trailer, b"hello"));
        server.only();
        (server, trailer)
    };
    let changed = |trailer: SecTrailer, interface| {
        let packet = alter(PfcFlags::empty(), vec![element(1, interface)]);
        BytesMut::from(&encode(&packet.with_auth(trailer, b"sesame"))[..])
    };
    for (auth_type, auth_level, interface, status) in [
        (TOY, 6, ECHO, FaultStatus::ACCESS_DENIED),
        (TALKATIVE, 5, ECHO, FaultStatus::SECURITY_PACKAGE),
        (AuthType(0), 5, ECHO, FaultStatus::ACCESS_DENIED),
        // The contexts are looked at first.
        (TOY, 6, OTHER, FaultStatus::PROTOCOL),
    ] {
        let (mut server, trailer) = begun();
        let trailer = SecTrailer {
            auth_type,
            auth_level,
            ..trailer
        };
        server.feed(&changed(trailer, interface));
        assert_refused(&mut server, status);
    }
    // In an auth3 it is only noted.
    let (mut server, trailer) = begun();
    server
        .feed_packet(&auth3(
            SecTrailer {
                auth_level: 6,
                ..trailer
            },
            b"sesame",
        ))
        .assert_silent();
    server.feed_packet(&common::request(2, b""));
    assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
}

#[test]
fn security_contexts_are_multiplexed_up_to_a_cap() {
    let mut server = Server::bound();
    let mut peers: Vec<_> = (1..=MAX_SECURITY_CONTEXTS as u32)
        .map(|id| Peer::alter(AuthLevel::Integrity, id, &mut server))
        .collect();
    for (peer, call_id) in peers.iter_mut().rev().zip(100..) {
        let pdu = peer.request(call_id, b"mine");
        server.feed(&pdu);
        assert_eq!(peer.open(&mut server), b"mine");
    }
    let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
    let one_more = common::trailer(AuthLevel::Integrity, 1000);
    server.feed_packet(&packet.with_auth(one_more, b"hello"));
    assert_refused(&mut server, FaultStatus::PROTOCOL);
}

#[test]
fn header_signing_is_for_the_whole_association_once_agreed() {
    // A bind without it, then an alter_context with it: from then on the header counts.
    let mut server = Server::bound();
    let mut peer = Peer::alter(AuthLevel::Integrity, 7, &mut server);
    let pdu = peer.request(2, b"body only");
    server.feed(&pdu);
    peer.open(&mut server);
    server.feed_packet(&alter(HEADER_SIGN, vec![element(1, ECHO)]));
    server.only();
    peer.header_signing = true;
    let pdu = peer.request(3, b"header too");
    server.feed(&pdu);
    assert_eq!(peer.open(&mut server), b"header too");
    // A later PDU without the flag does not switch it off.
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(1, ECHO)]));
    server.only();
    peer.header_signing = false;
    let pdu = peer.request(4, b"body only");
    server.feed(&pdu);
    assert_refused(&mut server, FaultStatus::SECURITY_PACKAGE);
}

#[test]
fn tokens_that_no_client_sends_are_not_looked_at() {
    let long = vec![0; MAX_TOKEN_NTLM + 4];
    let trailer = SecTrailer {
        auth_type: AuthType::WINNT,
        ..common::trailer(AuthLevel::Integrity, 7)
    };
    let mut server = Server::new(config());
    server.is_prompt = false;
    let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
    server.feed_packet(&packet.clone().with_auth(trailer, &long));
    assert_eq!(server.nak(), 0);
    assert!(server.tickets.is_empty());
    server.assert_closed();
    // Later legs too.
    let mut server = Server::new(config());
    server.feed_packet(&packet.with_auth(trailer, b"hello"));
    server.only();
    let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
    server.feed_packet(&packet.with_auth(trailer, &long));
    assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
}

#[test]
fn a_leg_that_is_abandoned_counts_as_failed() {
    let unavailable = || SecurityError::Unavailable("the verification took too long".to_owned());
    let trailer = common::trailer(AuthLevel::Integrity, 7);
    let mut server = Server::new(config());
    server.is_prompt = false;
    let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
    server
        .feed_packet(&packet.with_auth(trailer, b"hello"))
        .assert_silent();
    // What comes meanwhile waits.
    server.feed_packet(&common::request(2, b"")).assert_silent();
    server
        .association
        .handle_step_abandoned(server.now, unavailable());
    server.act();
    assert_eq!(server.nak(), 9);
    assert_eq!(
        server.closed,
        Some(CloseReason::Authentication(unavailable()))
    );

    let mut server = Server::bound();
    let mut peer = Peer::new(AuthLevel::Integrity, 7);
    let hello = peer.leg(b"");
    let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
    server.feed_packet(&packet.clone().with_auth(trailer, &hello));
    server.only();
    server.is_prompt = false;
    server
        .feed_packet(&packet.with_auth(trailer, b"sesame"))
        .assert_silent();
    server
        .association
        .handle_step_abandoned(server.now, unavailable());
    server.act();
    assert_refused(&mut server, FaultStatus::ACCESS_DENIED);
}

#[test]
fn the_answer_to_a_last_leg_has_a_trailer_even_without_a_token() {
    // TOY by alter_context instead of auth3: its acceptor has nothing to say at the end.
    let mut peer = Peer {
        header_signing: false,
        ..Peer::new(AuthLevel::Integrity, 7)
    };
    let hello = peer.leg(b"");
    let mut server = Server::bound();
    let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
    server.feed_packet(&packet.clone().with_auth(peer.trailer, &hello));
    let pdu = server.only();
    let token = peer.leg(Packet::decode(&pdu).unwrap().auth.unwrap().token);
    server.feed_packet(&packet.with_auth(peer.trailer, &token));
    let pdu = server.only();
    assert_eq!(pdu[10..12], [0, 0], "auth_length");
    assert_eq!(pdu[pdu.len() - 8..], [0x54, 5, 0, 0, 7, 0, 0, 0]);
    let request = peer.request(3, b"x");
    server.feed(&request);
    assert_eq!(peer.open(&mut server), b"x");
}

#[test]
fn a_refused_level_leaves_a_signing_client_its_association() {
    let mut config = config_at(AuthLevel::Privacy);
    config.interfaces[1].min_auth_level = Some(AuthLevel::Integrity);
    let mut server = Server::new(config);
    server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, ECHO)]));
    server.only();
    let mut peer = Peer::alter(AuthLevel::Integrity, 7, &mut server);
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(2, OTHER)]));
    server.only();
    let pdu = peer.request(2, b"");
    server.feed(&pdu);
    assert_eq!(server.fault().2, FaultStatus::ACCESS_DENIED);
    assert_eq!(server.closed, None);
    let mut request = common::request(3, b"x");
    if let Body::Request(body) = &mut request.body {
        body.context_id = 2;
    }
    let pdu = peer.protect(&request);
    server.feed(&pdu);
    assert_eq!(peer.open(&mut server), b"x");
    assert_eq!(server.calls[0].interface, OTHER);
    assert_eq!(server.calls[0].verification.transfer, SyntaxId::NDR20);
}
