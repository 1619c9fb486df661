//! Attacks on the logon.

use crate::attacker::{Answer, DOORS, Door, INTERFACE, Logon, Peer, Wire};
use crate::support::Daemon;
use crate::{PLAIN_PASSWORD, Target, lab};
use bytes::BytesMut;
use dcerpc_proto::FaultStatus;
use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::ClientError;
use dcerpc_proto::pdu::{Bind, Body, ContextElement, Packet, PfcFlags, SecTrailer};
use dcerpc_proto::security::{AuthLevel, AuthType};
use fsrvp_idl::{Response, Status};

const ACCESS_DENIED: Answer = Answer::Fault(FaultStatus::ACCESS_DENIED.0);

/// What a client gets that logs on like this and then aborts the set.
fn outcome(daemon: &Daemon, target: &Target<'_>, door: Door, logon: Logon) -> Answer {
    match Peer::try_new(daemon, door, logon, |_, _| {}) {
        Err(ClientError::BindFault(fault)) => Answer::Fault(fault.0),
        Err(ClientError::BindNak(reason)) => Answer::BindNak(reason),
        Err(error) => panic!("{error}"),
        // The last leg of bare NTLM has no answer; the first request is told.
        Ok(mut peer) => {
            let pdu = peer.pdu(&target.abort());
            peer.wire.send(&pdu);
            peer.wire.answer()
        }
    }
}

#[test]
fn the_wrong_ones_do_not_get_in() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    let right = Logon::RIGHT;
    for door in DOORS {
        for auth_type in [AuthType::WINNT, AuthType::GSS_NEGOTIATE] {
            for (what, user, password) in [
                ("wrong password", "backup", "guess"),
                ("no password", "backup", ""),
                (
                    "another's name with a known password",
                    "backup",
                    PLAIN_PASSWORD,
                ),
                ("nobody", "stranger", right.password),
                ("disabled", "former", right.password),
                ("anonymous", "", ""),
            ] {
                let logon = Logon {
                    user,
                    password,
                    auth_type,
                    ..right
                };
                let answer = outcome(&daemon, &target, door, logon);
                assert_eq!(answer, ACCESS_DENIED, "{what}, {door:?}, {auth_type:?}");
            }
        }
        target.stands(&format!("{door:?}"));
    }
}

/// Whoever owns the pipe, the security context's user is who calls.
#[test]
fn an_ordinary_user_stays_one_on_an_administrators_pipe() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    for door in DOORS {
        let logon = Logon {
            user: "plain",
            password: PLAIN_PASSWORD,
            ..Logon::RIGHT
        };
        let response = Peer::new(&daemon, door, logon).call(&target.abort());
        assert_eq!(
            response,
            Response::AbortShadowCopySet {
                status: Status::E_ACCESSDENIED
            },
            "{door:?}"
        );
        target.stands(&format!("{door:?}"));
    }
}

#[test]
fn levels_below_the_minimum_are_refused() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    for door in DOORS {
        for level in [AuthLevel::Connect, AuthLevel::Packet] {
            let logon = Logon {
                level,
                ..Logon::RIGHT
            };
            let answer = outcome(&daemon, &target, door, logon);
            assert_eq!(answer, ACCESS_DENIED, "{level:?}, {door:?}");
        }
        target.stands(&format!("{door:?}"));
    }
    drop(daemon);
    let lab = crate::lab("min_auth_level = \"privacy\"");
    let daemon = lab.start();
    let target = Target::new(&daemon);
    let logon = Logon {
        level: AuthLevel::Integrity,
        ..Logon::RIGHT
    };
    for door in DOORS {
        assert_eq!(outcome(&daemon, &target, door, logon), ACCESS_DENIED);
    }
}

/// Somebody between client and server carries the logon over and has no key.
#[test]
fn a_relayed_logon_is_of_no_use() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    for door in DOORS {
        for level in [AuthLevel::Integrity, AuthLevel::Privacy] {
            let logon = Logon {
                level,
                ..Logon::RIGHT
            };
            // With a trailer that fits and a signature that cannot; and with no trailer at all.
            for strip in [false, true] {
                let mut victim = Peer::new(&daemon, door, logon);
                let mut pdu = victim.pdu(&target.abort());
                let expected = match strip {
                    true => {
                        pdu.truncate(pdu.len() - 24);
                        let length = u16::try_from(pdu.len()).unwrap().to_le_bytes();
                        pdu[8..10].copy_from_slice(&length);
                        pdu[10..12].fill(0);
                        ACCESS_DENIED
                    }
                    false => {
                        let start = pdu.len() - 16;
                        pdu[start..]
                            .copy_from_slice(&[1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0]);
                        Answer::Fault(FaultStatus::SECURITY_PACKAGE.0)
                    }
                };
                victim.wire.send(&pdu);
                assert_eq!(victim.wire.answer(), expected, "{door:?} {level:?}");
            }
        }
        target.stands(&format!("{door:?}"));
    }
}

/// The tokens of a logon, changed on their way: the list of mechanisms, the flags, the MICs.
#[test]
fn no_leg_of_a_logon_can_be_changed() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    let logon = Logon {
        auth_type: AuthType::GSS_NEGOTIATE,
        ..Logon::RIGHT
    };
    let door = DOORS[1];
    // The second PDU carries NegTokenResp with AUTHENTICATE_MESSAGE and mechListMIC, in this order.
    let length = std::cell::Cell::new(0);
    let measured = Peer::try_new(&daemon, door, logon, |number, pdu| {
        if number == 1 {
            length.set(usize::from(u16::from_le_bytes([pdu[10], pdu[11]])));
        }
    });
    assert!(measured.is_ok());
    let token = length.get();
    for back in 1..=token {
        let changed = Peer::try_new(&daemon, door, logon, |number, pdu| {
            if number == 1 {
                let at = pdu.len() - back;
                pdu[at] ^= 1;
            }
        });
        assert!(changed.is_err(), "byte {back} of {token} from the end");
        target.is_untouched(&format!("byte {back}"));
    }
    target.stands("changed legs");
}

/// A bind that offers a security context and whose token is `token`.
pub(crate) fn bind(auth_type: AuthType, token: &[u8]) -> BytesMut {
    let bind = Bind {
        max_xmit_frag: 4280,
        max_recv_frag: 4280,
        assoc_group_id: 0,
        contexts: vec![ContextElement {
            context_id: 0,
            abstract_syntax: INTERFACE,
            transfer_syntaxes: vec![SyntaxId::NDR20],
        }],
    };
    let trailer = SecTrailer {
        auth_type,
        auth_level: AuthLevel::Privacy as u8,
        auth_pad_length: 0,
        auth_context_id: 7,
    };
    let mut pdu = BytesMut::new();
    Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind))
        .with_auth(trailer, token)
        .encode(&mut pdu)
        .unwrap();
    pdu
}

#[test]
fn tokens_that_are_none_are_refused() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    for door in DOORS {
        for auth_type in [9, 10, 16, 0, 68, 255].map(AuthType) {
            for token in [
                &b"NTLMSSP\0"[..],
                &[0x60, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
                &[0xFF; 4000],
            ] {
                let mut wire = Wire::connect(&daemon, door);
                wire.send(&bind(auth_type, token));
                let answer = wire.answer();
                assert!(
                    matches!(answer, Answer::BindNak(_)),
                    "{auth_type:?}: {answer:?}"
                );
                assert_eq!(wire.answer(), Answer::End);
            }
        }
        target.stands(&format!("{door:?}"));
    }
}
