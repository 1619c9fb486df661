//! Attacks on authentication and protection: each rule that stops one, with a client that tries.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod logon;
mod protection;

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
