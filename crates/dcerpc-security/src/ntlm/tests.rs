//! Tests of the NTLM package.

use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, SecurityContext, SecurityError};
use proptest::prelude::*;

use super::crypto::{hmac_md5, nt_hash, ntlmv2, ntowfv2, rc4k};
use super::{
    AcceptorConfig, Authenticate, AvId, AvPairs, Challenge, Negotiate, NegotiateFlags, NtlmAcceptor,
};
use crate::AcceptedTargets;
use crate::testing::{
    acceptor_config, establish, hex, ntlm_acceptor, ntlm_initiator, sample_pdu, send,
};
use crate::verifier::UsersFile;

/// \[MS-NLMP 4.2.4\] NTLMv2: user "User", domain "Domain", password "Password", time 0, client
/// challenge 0xaa…, server challenge 0x0123456789abcdef.
#[test]
fn known_answers_of_the_specification() {
    let response_key = ntowfv2(&nt_hash("Password"), "User", "Domain");
    assert_eq!(
        response_key.expose().as_slice(),
        hex("0c868a403bfd7a93a3001ef22ef02e3f")
    );

    let target_info =
        hex("02000c0044006f006d00610069006e00 01000c00530065007200760065007200 00000000");
    let client_challenge = [
        hex("0101000000000000 0000000000000000 aaaaaaaaaaaaaaaa 00000000"),
        target_info,
        hex("00000000"),
    ]
    .concat();
    let server_challenge = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let (proof, base_key) = ntlmv2(&response_key, &server_challenge, &client_challenge);
    assert_eq!(proof.as_slice(), hex("68cd0ab851e51c96aabc927bebef6a1c"));
    assert_eq!(
        base_key.expose().as_slice(),
        hex("8de40ccadbc14a82f15cb0ad0de95ca3")
    );

    let mut encrypted = [0x55; 16];
    rc4k(base_key.expose(), &mut encrypted);
    assert_eq!(
        encrypted.as_slice(),
        hex("c5dad2544fc9799094ce1ce90bc9d03e")
    );
}

/// \[MS-NLMP 4.2.2.1\] and RFC 2202, test case 2 with its key padded.
#[test]
fn known_answers_of_the_functions() {
    assert_eq!(
        nt_hash("Password").expose().as_slice(),
        hex("a4f49c406510bdcab6824ee7c30fd852")
    );
    let mut key = [0; 16];
    key[..4].copy_from_slice(b"Jefe");
    let mac = hmac_md5(&key, &[b"what do ya want ", b"for nothing?"]);
    assert_eq!(mac.as_slice(), hex("750c783e6ab0b503eaa86e310a5db738"));
}

#[test]
fn client_and_server_agree_at_every_level() {
    for level in [AuthLevel::Packet, AuthLevel::Integrity, AuthLevel::Privacy] {
        let (mut client, mut server) = (ntlm_initiator("user", "pass"), ntlm_acceptor());
        let tokens = establish(&mut client, &mut server).unwrap();
        assert_eq!(tokens.len(), 4);
        assert_eq!(tokens[3], [], "an auth3 has no answer");
        let identity = server.identity().unwrap();
        assert_eq!(identity.account, "user");
        assert!(identity.has_authority);
        for round in 0..3 {
            send(
                &mut client,
                &mut server,
                level,
                round % 2 == 0,
                b"request stub",
            )
            .unwrap();
            send(&mut server, &mut client, level, round % 2 == 0, b"").unwrap();
        }
    }
}

#[test]
fn nothing_works_out_of_turn() {
    let (mut pdu, body) = sample_pdu(b"stub");
    let mut server = ntlm_acceptor();
    assert_eq!(
        server.protect(AuthLevel::Integrity, true, &mut pdu, body.clone()),
        Err(SecurityError::OutOfTurn)
    );
    let mut client = ntlm_initiator("user", "pass");
    assert_eq!(client.step(b"x"), Err(SecurityError::OutOfTurn));
    let mut client = ntlm_initiator("user", "pass");
    establish(&mut client, &mut server).unwrap();
    assert_eq!(server.step(&[]), Err(SecurityError::OutOfTurn));
    assert_eq!(client.step(&[]), Err(SecurityError::OutOfTurn));
    // A context that took a token too many is dead.
    assert_eq!(
        server.protect(AuthLevel::Integrity, true, &mut pdu, body),
        Err(SecurityError::OutOfTurn)
    );
    assert_eq!(server.identity(), None);
}

fn refusal(user: &str, password: &str, server: &mut NtlmAcceptor) -> SecurityError {
    let mut client = ntlm_initiator(user, password);
    let error = establish(&mut client, server).unwrap_err();
    assert_eq!(server.identity(), None);
    error
}

#[test]
fn wrong_passwords_and_strangers_are_refused() {
    let refused = |text: &str| SecurityError::Refused(text.to_owned());
    assert_eq!(
        refusal("user", "wrong", &mut ntlm_acceptor()),
        refused(r#""user" of "WG": wrong password"#)
    );
    assert_eq!(
        refusal("user", "", &mut ntlm_acceptor()),
        refused(r#""user" of "WG": wrong password"#)
    );
    // Another user's name with a password that is somebody's.
    assert_eq!(
        refusal("root", "pass", &mut ntlm_acceptor()),
        refused(r#""root" of "WG": wrong password"#)
    );
    assert_eq!(
        refusal("nobody", "pass", &mut ntlm_acceptor()),
        refused(r#""nobody" of "WG": no such account"#)
    );
    assert_eq!(
        refusal("", "pass", &mut ntlm_acceptor()),
        refused("anonymous logon")
    );
}

#[test]
fn guests_and_disabled_accounts_are_refused() {
    for (entry, reason) in [
        ("disabled = true", "disabled"),
        (r#"sids = ["S-1-5-32-551", "S-1-5-7"]"#, "guest"),
        (r#"sids = ["S-1-5-32-551", "S-1-5-32-546"]"#, "guest"),
        (r#"sids = ["S-1-5-21-1-2-3-501", "S-1-5-32-551"]"#, "guest"),
    ] {
        let users = format!("[[user]]\nname = \"user\"\npassword = \"pass\"\n{entry}\n");
        let config = AcceptorConfig {
            verifier: Arc::new(UsersFile::parse(&users).unwrap()),
            ..acceptor_config()
        };
        let mut server = NtlmAcceptor::new(Arc::new(config));
        let error = refusal("user", "pass", &mut server);
        assert!(
            matches!(&error, SecurityError::Refused(text) if text.contains(reason)),
            "{entry}: {error}"
        );
    }
}

#[test]
fn a_service_that_is_not_ours_is_refused() {
    for (own, accepted) in [("fs1", true), ("fs2", false)] {
        let config = AcceptorConfig {
            accepted_targets: AcceptedTargets::new(&[own.to_owned()]),
            ..acceptor_config()
        };
        let mut server = NtlmAcceptor::new(Arc::new(config));
        let outcome = establish(&mut ntlm_initiator("user", "pass"), &mut server);
        assert_eq!(outcome.is_ok(), accepted);
    }
}

/// Runs an exchange in which `change` edits the AUTHENTICATE_MESSAGE.
fn with_authenticate(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), SecurityError> {
    let (mut client, mut server) = (ntlm_initiator("user", "pass"), ntlm_acceptor());
    let negotiate = client.step(&[])?.token;
    let challenge = server.step(&negotiate)?.token;
    let mut authenticate = client.step(&challenge)?.token;
    change(&mut authenticate);
    server.step(&authenticate).map(|leg| assert!(leg.done))
}

/// The message again, without MIC, with other contents.
fn rebuilt(message: &[u8], change: impl FnOnce(&mut Authenticate)) -> Vec<u8> {
    let mut decoded = Authenticate::decode(message).unwrap();
    change(&mut decoded);
    decoded.encode().unwrap()
}

#[test]
fn old_and_weak_forms_are_refused() {
    let refused = |change: fn(&mut Authenticate)| match with_authenticate(|message| {
        *message = rebuilt(message, change)
    }) {
        Err(SecurityError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(|m| m.nt_response.truncate(24)),
        "LM or NTLMv1 response"
    );
    assert_eq!(refused(|m| m.nt_response.clear()), "LM or NTLMv1 response");
    assert_eq!(refused(|m| m.nt_response[17] = 2), "response is not NTLMv2");
    assert_eq!(
        refused(|m| m.flags |= NegotiateFlags::ANONYMOUS),
        "anonymous logon"
    );
    assert_eq!(refused(|m| m.user.clear()), "anonymous logon");
    assert_eq!(
        refused(|m| m.flags -= NegotiateFlags::NEGOTIATE_128),
        "weak session security"
    );
    assert_eq!(
        refused(|m| m.flags -= NegotiateFlags::EXTENDED_SESSIONSECURITY),
        "weak session security"
    );
    assert_eq!(
        refused(|m| m.flags -= NegotiateFlags::SIGN),
        "client does not offer signing"
    );
    assert_eq!(
        refused(|m| m.user = "root".to_owned()),
        r#""root" of "WG": wrong password"#
    );
    // The password is right and the message integrity code is not: nothing else differs.
    assert_eq!(refused(|_| ()), "message integrity code does not match");
    // The flag that promises the code is under the proof.
    assert_eq!(
        refused(|m| {
            let mut pairs = AvPairs::decode(&m.nt_response[44..]).unwrap();
            pairs.set(AvId::FLAGS, vec![0; 4]);
            m.nt_response.truncate(44);
            m.nt_response.extend(pairs.encode().unwrap());
        }),
        r#""user" of "WG": wrong password"#
    );
}

#[test]
fn a_first_message_without_the_basics_is_refused() {
    for missing in [
        NegotiateFlags::UNICODE,
        NegotiateFlags::NTLM,
        NegotiateFlags::EXTENDED_SESSIONSECURITY,
    ] {
        let negotiate = Negotiate {
            flags: NegotiateFlags::all() - missing,
        }
        .encode();
        assert!(matches!(
            ntlm_acceptor().step(&negotiate),
            Err(SecurityError::Refused(_))
        ));
    }
}

#[test]
fn lying_offsets_are_malformed() {
    type Lie = fn(&mut Vec<u8>);
    let lies: [(&str, Lie); 10] = [
        ("offset into the fixed part", |m| {
            m[24..28].copy_from_slice(&12_u32.to_le_bytes())
        }),
        ("offset past the end", |m| {
            m[24..28].copy_from_slice(&4000_u32.to_le_bytes())
        }),
        ("offset of 4 GiB", |m| {
            m[24..28].copy_from_slice(&u32::MAX.to_le_bytes())
        }),
        ("length past the end", |m| {
            m[20..22].copy_from_slice(&u16::MAX.to_le_bytes())
        }),
        ("payload where the integrity code is", |m| {
            m[44] = 2;
            m[48] = 80;
        }),
        ("odd name", |m| m[36] -= 1),
        ("cut off in the fixed part", |m| m.truncate(63)),
        ("cut off in the payload", |m| {
            m.pop();
        }),
        ("too long", |m| m.resize(5000, 0)),
        ("wrong type", |m| m[8] = 1),
    ];
    for (what, lie) in lies {
        let outcome = with_authenticate(lie);
        assert!(
            matches!(outcome, Err(SecurityError::Malformed(_))),
            "{what}: {outcome:?}"
        );
    }
    assert_eq!(
        with_authenticate(|_| ()),
        Ok(()),
        "unchanged, it is accepted"
    );
}

#[test]
fn av_pairs_that_lie_are_malformed() {
    for list in [
        hex(""),
        hex("0100"),
        hex("01000200 4100"),
        hex("0100ffff 41000000"),
        hex("01000000 01000000 00000000"),
        hex("01000000").repeat(40),
    ] {
        assert!(
            matches!(AvPairs::decode(&list), Err(SecurityError::Malformed(_))),
            "{list:02x?}"
        );
    }
    let mut many = Vec::new();
    for id in 1..=33_u16 {
        many.extend([id.to_le_bytes(), [0, 0]].concat());
    }
    many.extend([0; 4]);
    assert!(AvPairs::decode(&many).is_err());
}

fn established() -> (impl SecurityContext, impl SecurityContext) {
    let (mut client, mut server) = (ntlm_initiator("user", "pass"), ntlm_acceptor());
    establish(&mut client, &mut server).unwrap();
    (client, server)
}

#[test]
fn replayed_and_reordered_messages_are_refused() {
    for level in [AuthLevel::Integrity, AuthLevel::Privacy] {
        let (mut client, mut server) = established();
        let (plain, body) = sample_pdu(b"0123456789abcdef");
        let mut protect = || {
            let mut pdu = plain.clone();
            let signature = client.protect(level, true, &mut pdu, body.clone()).unwrap();
            (pdu, signature)
        };
        let (first, second) = (protect(), protect());
        let mut take = |(pdu, signature): &(Vec<u8>, Vec<u8>)| {
            server.unprotect(level, true, &mut pdu.clone(), body.clone(), signature)
        };
        assert_eq!(take(&first), Ok(()));
        assert_eq!(take(&first), Err(SecurityError::BadSignature), "replayed");

        let (mut client, mut server) = established();
        let mut skipped = plain.clone();
        client
            .protect(level, true, &mut skipped, body.clone())
            .unwrap();
        let (mut pdu, signature) = second;
        assert_eq!(
            server.unprotect(level, true, &mut pdu, body.clone(), &signature),
            Err(SecurityError::BadSignature),
            "reordered"
        );
    }
}

#[test]
fn one_direction_cannot_be_reflected() {
    let (mut client, mut server) = established();
    let (mut pdu, body) = sample_pdu(b"stub");
    let signature = server
        .protect(AuthLevel::Integrity, true, &mut pdu, body.clone())
        .unwrap();
    assert_eq!(
        server.unprotect(
            AuthLevel::Integrity,
            true,
            &mut pdu.clone(),
            body.clone(),
            &signature
        ),
        Err(SecurityError::BadSignature)
    );
    assert_eq!(
        client.unprotect(AuthLevel::Integrity, true, &mut pdu, body, &signature),
        Ok(())
    );
}

#[test]
fn a_relay_without_the_key_gets_nowhere() {
    // It passes the victim's messages on and is let in, but cannot sign.
    let (_, mut server) = established();
    let (mut pdu, body) = sample_pdu(b"stub");
    for signature in [
        vec![],
        vec![0; 16],
        hex("01000000 0000000000000000 00000000"),
    ] {
        let (_, mut fresh) = established();
        let refused = fresh.unprotect(
            AuthLevel::Integrity,
            true,
            &mut pdu,
            body.clone(),
            &signature,
        );
        assert_eq!(refused, Err(SecurityError::BadSignature));
    }
    assert!(
        server
            .protect(AuthLevel::Integrity, true, &mut pdu, body)
            .is_ok()
    );
}

#[test]
fn debug_output_has_no_secrets() {
    let (client, server) = established();
    let config = acceptor_config();
    let text = format!("{client:?} {server:?} {config:?}");
    for secret in ["pass", "Pass1"] {
        // "pass" occurs in no type name here.
        assert!(!text.contains(secret), "{text}");
    }
    for hash in [nt_hash("pass"), nt_hash("Pass1")] {
        assert!(!text.contains(&format!("{:?}", hash.expose())), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_tokens_never_panic(token in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Negotiate::decode(&token);
        let _ = Challenge::decode(&token);
        let _ = Authenticate::decode(&token);
        let _ = AvPairs::decode(&token);
        let _ = ntlm_acceptor().step(&token);
    }

    #[test]
    fn damaged_tokens_never_panic_nor_log_on(
        at in 0_usize..600,
        bytes in proptest::collection::vec(any::<u8>(), 1..8),
    ) {
        let mut changed = false;
        let outcome = with_authenticate(|message| {
            for (offset, byte) in bytes.iter().enumerate() {
                if let Some(target) = message.get_mut(at + offset) {
                    changed |= target != byte;
                    *target = *byte;
                }
            }
        });
        prop_assert_eq!(outcome.is_err(), changed);
    }

    #[test]
    fn damaged_challenges_never_panic(
        at in 0_usize..300,
        bytes in proptest::collection::vec(any::<u8>(), 1..8),
    ) {
        let (mut client, mut server) = (ntlm_initiator("user", "pass"), ntlm_acceptor());
        let negotiate = client.step(&[]).unwrap().token;
        let mut challenge = server.step(&negotiate).unwrap().token;
        for (offset, byte) in bytes.iter().enumerate() {
            if let Some(target) = challenge.get_mut(at + offset) {
                *target = *byte;
            }
        }
        let _ = client.step(&challenge);
    }

    #[test]
    fn messages_survive_a_round_trip(
        flags in any::<u32>(),
        user in "[a-zA-Z0-9äß$ ]{1,40}",
        domain in "[A-Z.]{0,20}",
        nt_response in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let authenticate = Authenticate {
            flags: NegotiateFlags::from_bits_retain(flags),
            lm_response: vec![0; 24],
            nt_response,
            domain,
            user,
            workstation: String::new(),
            encrypted_session_key: vec![1; 16],
            payload_start: 88,
        };
        let encoded = authenticate.encode().unwrap();
        prop_assert_eq!(Authenticate::decode(&encoded).unwrap(), authenticate);
    }

    #[test]
    fn any_conversation_is_understood(
        messages in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 1..20),
        user in "[a-zA-Zäöüéß]{1,12}",
        password in "\\PC{0,20}",
    ) {
        let users = format!("[[user]]\nname = {user:?}\nnt_hash = \"{}\"\n", nt_hash(&password)
            .expose().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let config = AcceptorConfig {
            verifier: Arc::new(UsersFile::parse(&users).unwrap()),
            ..acceptor_config()
        };
        let mut server = NtlmAcceptor::new(Arc::new(config));
        let mut client = ntlm_initiator(&user, &password);
        establish(&mut client, &mut server).unwrap();
        for (from_client, seal, stub) in messages {
            let level = if seal { AuthLevel::Privacy } else { AuthLevel::Integrity };
            if from_client {
                send(&mut client, &mut server, level, true, &stub).unwrap();
            } else {
                send(&mut server, &mut client, level, true, &stub).unwrap();
            }
        }
    }
}
