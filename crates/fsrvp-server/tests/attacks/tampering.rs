//! A man in the middle of an authenticated association.

use crate::attacker::{Answer, DOORS, Door, Logon, Peer};
use crate::{Target, lab};
use bytes::Bytes;
use dcerpc_proto::FaultStatus;
use dcerpc_proto::assoc::HeaderSigning;
use dcerpc_proto::security::{AuthLevel, AuthType};

const ACCESS_DENIED: Answer = Answer::Fault(FaultStatus::ACCESS_DENIED.0);
const SECURITY_PACKAGE: Answer = Answer::Fault(FaultStatus::SECURITY_PACKAGE.0);
const PROTOCOL: Answer = Answer::Fault(FaultStatus::PROTOCOL.0);

/// Lengths of a PDU's parts.
const HEADER: usize = 24;
const TRAILER: usize = 8;
const SIGNATURE: usize = 16;
/// IsPathSupported.
const IS_PATH_SUPPORTED: u16 = 8;

/// What is done to the PDU of a request.
type Attack = fn(&mut Vec<u8>);

fn trailer(pdu: &[u8]) -> usize {
    pdu.len() - SIGNATURE - TRAILER
}

/// The exact answers to what an attacker would try first.
const ROWS: [(&str, Attack, Answer); 9] = [
    ("opnum in the header", |pdu| pdu[22] ^= 1, SECURITY_PACKAGE),
    (
        "call id in the header",
        |pdu| pdu[12] ^= 1,
        SECURITY_PACKAGE,
    ),
    ("body", |pdu| pdu[HEADER] ^= 1, SECURITY_PACKAGE),
    (
        "signature",
        |pdu| *pdu.last_mut().unwrap() ^= 0x80,
        SECURITY_PACKAGE,
    ),
    (
        "level lowered",
        |pdu| {
            let at = trailer(pdu) + 1;
            pdu[at] -= 1;
        },
        ACCESS_DENIED,
    ),
    (
        "authentication type",
        |pdu| {
            let at = trailer(pdu);
            pdu[at] = 9;
        },
        ACCESS_DENIED,
    ),
    (
        "security context id",
        |pdu| {
            let at = trailer(pdu) + 4;
            pdu[at] ^= 1;
        },
        ACCESS_DENIED,
    ),
    (
        "padding of the trailer",
        |pdu| {
            let at = trailer(pdu) + 2;
            pdu[at] = 0xFF;
        },
        PROTOCOL,
    ),
    (
        "trailer left out",
        |pdu| {
            pdu.truncate(trailer(pdu));
            let length = u16::try_from(pdu.len()).unwrap().to_le_bytes();
            pdu[8..10].copy_from_slice(&length);
            pdu[10..12].fill(0);
        },
        ACCESS_DENIED,
    ),
];

/// The ways to log on that make a difference here.
fn logons() -> impl Iterator<Item = Logon> {
    [AuthLevel::Integrity, AuthLevel::Privacy]
        .into_iter()
        .flat_map(|level| {
            [AuthType::WINNT, AuthType::GSS_NEGOTIATE].map(|auth_type| Logon {
                auth_type,
                level,
                ..Logon::RIGHT
            })
        })
        .flat_map(|logon| {
            [HeaderSigning::Offer, HeaderSigning::Omit].map(|header_signing| Logon {
                header_signing,
                ..logon
            })
        })
}

#[test]
fn changed_requests_are_refused() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    for door in DOORS {
        for logon in logons() {
            for (what, attack, expected) in ROWS {
                if what == "authentication type" && logon.auth_type == AuthType::GSS_NEGOTIATE {
                    continue;
                }
                let what = format!("{what}, {door:?}, {logon:?}");
                let mut peer = Peer::new(&daemon, door, logon);
                let mut pdu = peer.pdu(&target.abort());
                attack(&mut pdu);
                assert!(peer.wire.send(&pdu), "{what}");
                let answer = peer.wire.answer();
                assert_eq!(answer, expected, "{what}");
                assert_eq!(peer.wire.answer(), Answer::End, "{what}");
            }
        }
        target.stands(&format!("{door:?}"));
    }
}

#[test]
fn no_byte_of_a_request_can_be_changed() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    for door in DOORS {
        let length = Peer::new(&daemon, door, Logon::RIGHT)
            .pdu(&target.abort())
            .len();
        for at in 0..length {
            // PFC_MAYBE and the like mean nothing, but they are signed.
            let mut peer = Peer::new(&daemon, door, Logon::RIGHT);
            let mut pdu = peer.pdu(&target.abort());
            pdu[at] ^= 0x40;
            peer.wire.send(&pdu);
            // A length that promises more is waited for.
            peer.wire.finish();
            let answer = peer.wire.answer();
            assert_ne!(answer, Answer::Response, "{door:?}, byte {at}");
            target.is_untouched(&format!("{door:?}, byte {at}"));
        }
        target.stands(&format!("{door:?}"));
    }
}

#[test]
fn replayed_and_reordered_requests_are_refused() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    let harmless = fsrvp_idl::Request::GetSupportedVersion;
    for door in DOORS {
        let mut peer = Peer::new(&daemon, door, Logon::RIGHT);
        let pdu = peer.pdu(&harmless);
        assert!(peer.wire.send(&pdu));
        assert_eq!(peer.wire.answer(), Answer::Response);
        assert!(peer.wire.send(&pdu));
        assert_eq!(peer.wire.answer(), SECURITY_PACKAGE);
        assert_eq!(peer.wire.answer(), Answer::End);

        let mut peer = Peer::new(&daemon, door, Logon::RIGHT);
        let _held_back = peer.pdu(&harmless);
        let second = peer.pdu(&target.abort());
        assert!(peer.wire.send(&second));
        assert_eq!(peer.wire.answer(), SECURITY_PACKAGE);

        // The PDU of one association in another of the same user.
        let mut one = Peer::new(&daemon, door, Logon::RIGHT);
        let mut other = Peer::new(&daemon, door, Logon::RIGHT);
        let pdu = one.pdu(&target.abort());
        assert!(other.wire.send(&pdu));
        assert_eq!(other.wire.answer(), SECURITY_PACKAGE);
        target.stands(&format!("{door:?}"));
    }
}

/// The fragments of a protected request, and a peer that has not sent them.
fn fragments(daemon: &crate::support::Daemon, door: Door) -> (Peer, Vec<Vec<u8>>) {
    let mut peer = Peer::new(daemon, door, Logon::RIGHT);
    let pdus = peer.pdus(IS_PATH_SUPPORTED, Bytes::from(vec![b'A'; 12_000]));
    assert!(pdus.len() > 2);
    (peer, pdus)
}

/// A fragment without protection that pretends to go on with a call.
fn unprotected(like: &[u8], flags: u8) -> Vec<u8> {
    let mut pdu = like[..HEADER].to_vec();
    pdu.extend([0x41; 8]);
    pdu[3] = flags;
    let length = u16::try_from(pdu.len()).unwrap().to_le_bytes();
    pdu[8..10].copy_from_slice(&length);
    pdu[10..12].fill(0);
    pdu
}

#[test]
fn injected_and_interleaved_fragments_are_refused() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    const MIDDLE: u8 = 0;
    const FIRST: u8 = 1;
    const LAST: u8 = 2;
    for door in DOORS {
        // Fragments that nobody has signed, in the middle of a call (CVE-2015-5370,
        // CVE-2021-23192).
        for flags in [MIDDLE, LAST, FIRST, FIRST | LAST] {
            let (mut peer, pdus) = fragments(&daemon, door);
            assert!(peer.wire.send(&pdus[0]));
            assert!(peer.wire.send(&unprotected(&pdus[0], flags)));
            let answer = peer.wire.answer();
            let refused = [ACCESS_DENIED, SECURITY_PACKAGE, PROTOCOL];
            assert!(refused.contains(&answer), "{door:?} {flags}: {answer:?}");
            assert_eq!(peer.wire.answer(), Answer::End);
        }
        // One left out, one twice, the last one first.
        for order in [&[0, 2][..], &[0, 1, 1], &[0, 0], &[2], &[1]] {
            let (mut peer, pdus) = fragments(&daemon, door);
            for at in order {
                peer.wire.send(&pdus[*at]);
            }
            let answer = peer.wire.answer();
            let refused = [SECURITY_PACKAGE, PROTOCOL];
            assert!(refused.contains(&answer), "{door:?} {order:?}: {answer:?}");
            assert_eq!(peer.wire.answer(), Answer::End);
        }
        // A whole request while another is half there.
        let (mut peer, pdus) = fragments(&daemon, door);
        assert!(peer.wire.send(&pdus[0]));
        let abort = peer.pdu(&target.abort());
        peer.wire.send(&abort);
        let answer = peer.wire.answer();
        assert!([SECURITY_PACKAGE, PROTOCOL].contains(&answer), "{answer:?}");
        target.stands(&format!("{door:?}"));
    }
}
