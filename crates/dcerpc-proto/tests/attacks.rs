//! Attacks on authentication and protection: each rule that stops one, with a client that tries.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::BytesMut;
use common::toy::{self, BLUNT, TALKATIVE, TOY, Toy};
use common::{ECHO, OTHER, Server, alter, bind, config, config_at, element, encode, fragment};
use dcerpc_proto::assoc::CloseReason;
use dcerpc_proto::limits::{MAX_SECURITY_CONTEXTS, MAX_TOKEN_NTLM};
use dcerpc_proto::pdu::{Auth3, Body, Packet, PfcFlags, Request, SecTrailer};
use dcerpc_proto::security::{AuthLevel, AuthType, Leg, SecurityContext, SecurityError};
use dcerpc_proto::{FaultStatus, SyntaxId};

const FIRST: PfcFlags = PfcFlags::FIRST_FRAG;
const LAST: PfcFlags = PfcFlags::LAST_FRAG;
const HEADER_SIGN: PfcFlags = PfcFlags::SUPPORT_HEADER_SIGN;

/// A client that logs on by hand, and then signs whatever it is told to.
struct Peer {
    toy: Toy,
    trailer: SecTrailer,
    level: AuthLevel,
    header_signing: bool,
}

impl Peer {
    fn new(level: AuthLevel, context_id: u32) -> Self {
        Self {
            toy: toy::initiator(TOY, "sesame"),
            trailer: common::trailer(level, context_id),
            level,
            header_signing: true,
        }
    }

    fn leg(&mut self, token: &[u8]) -> Vec<u8> {
        let Leg { token, .. } = self.toy.step(token).unwrap();
        token
    }

    /// Logs on with bind and auth3.
    fn bind(level: AuthLevel) -> (Self, Server) {
        let mut peer = Self::new(level, 7);
        let mut server = Server::new(config());
        let hello = peer.leg(b"");
        let packet = bind(HEADER_SIGN, vec![element(1, ECHO)]);
        server.feed_packet(&packet.with_auth(peer.trailer, &hello));
        peer.auth3(&mut server);
        (peer, server)
    }

    /// Logs on to an association that is bound, with alter_context and auth3.
    fn alter(level: AuthLevel, context_id: u32, server: &mut Server) -> Self {
        let mut peer = Self {
            header_signing: false,
            ..Self::new(level, context_id)
        };
        let hello = peer.leg(b"");
        let packet = alter(PfcFlags::empty(), vec![element(1, ECHO)]);
        server.feed_packet(&packet.with_auth(peer.trailer, &hello));
        peer.auth3(server);
        peer
    }

    fn auth3(&mut self, server: &mut Server) {
        let pdu = server.only();
        let challenge = Packet::decode(&pdu).unwrap().auth.unwrap();
        assert_eq!(challenge.trailer, self.trailer);
        let token = self.leg(challenge.token);
        server
            .feed_packet(&auth3(self.trailer, &token))
            .assert_silent();
    }

    /// Pads and protects a request.
    fn protect(&mut self, packet: &Packet<'_>) -> BytesMut {
        let Body::Request(request) = packet.body else {
            panic!("not a request")
        };
        let mut body = request.body.to_vec();
        let pad = body.len().wrapping_neg() % 16;
        body.resize(body.len() + pad, 0);
        let request = Request {
            body: &body,
            ..request
        };
        let trailer = SecTrailer {
            auth_pad_length: pad as u8,
            ..self.trailer
        };
        let packet = Packet {
            body: Body::Request(request),
            ..packet.clone()
        };
        self.sign(&packet.with_auth(trailer, &[0; 16]))
    }

    /// Protects a request whose padding and trailer are there already.
    fn sign(&mut self, packet: &Packet<'_>) -> BytesMut {
        let mut pdu = BytesMut::from(&encode(packet)[..]);
        let signed = pdu.len() - 16;
        let body = Request::FIXED_LEN..signed - SecTrailer::LEN;
        let signature = self
            .toy
            .protect(self.level, self.header_signing, &mut pdu[..signed], body)
            .unwrap();
        pdu[signed..].copy_from_slice(&signature);
        pdu
    }

    fn request(&mut self, call_id: u32, stub: &[u8]) -> BytesMut {
        self.protect(&common::request(call_id, stub))
    }

    /// Expects a protected response and returns its stub.
    fn open(&mut self, server: &mut Server) -> Vec<u8> {
        let mut pdu = BytesMut::from(&server.only()[..]);
        let packet = Packet::decode(&pdu).unwrap();
        let trailer = packet.auth.unwrap().trailer;
        let pad = usize::from(trailer.auth_pad_length);
        assert_eq!(
            SecTrailer {
                auth_pad_length: 0,
                ..trailer
            },
            self.trailer
        );
        let signed = pdu.len() - 16;
        let body = Request::FIXED_LEN..signed - SecTrailer::LEN;
        assert_eq!(body.len() % 16, 0, "trailer at a multiple of 16");
        let (pdu, signature) = pdu.split_at_mut(signed);
        self.toy
            .unprotect(
                self.level,
                self.header_signing,
                pdu,
                body.clone(),
                signature,
            )
            .unwrap();
        pdu[body.start..body.end - pad].to_vec()
    }
}

fn auth3(trailer: SecTrailer, token: &[u8]) -> Packet<'_> {
    Packet::new(PfcFlags::WHOLE, 1, Body::Auth3(Auth3 { pad: [0x20; 4] })).with_auth(trailer, token)
}

fn assert_refused(server: &mut Server, status: FaultStatus) {
    let (_, _, found) = server.fault();
    assert_eq!(found, status);
    server.assert_closed();
}

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
