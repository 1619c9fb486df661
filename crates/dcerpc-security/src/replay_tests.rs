//! Recorded conversations of Samba's clients and impacket, with our own prototype and with Samba
//! as the server: every token and every signature has to come out as recorded.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, SecurityContext, SecurityError};

use crate::Key16;
use crate::ntlm::crypto::{nt_hash, ntlmv2, ntowfv2, rc4k};
use crate::ntlm::{
    AcceptorConfig, Authenticate, Challenge, NegotiateFlags, NtlmAcceptor, Replayed,
};
use crate::spnego::SpnegoAcceptor;
use crate::testing::{
    Pdu, RecordedChallenge, TestMechanisms, acceptor_config, conversations, fixtures, hex,
};

/// The first NTLM message of `message_type` inside a token.
fn ntlm_message(token: &[u8], message_type: u8) -> Option<&[u8]> {
    let magic = [b"NTLMSSP\0".as_slice(), &[message_type, 0, 0, 0]].concat();
    let start = token
        .windows(magic.len())
        .position(|window| window == magic)?;
    Some(&token[start..])
}

/// What the recording shows of the NTLM exchange.
struct Recording {
    challenge: Vec<u8>,
    authenticate: Vec<u8>,
    account: &'static str,
    exported_key: Key16,
    flags: NegotiateFlags,
}

impl Recording {
    fn new(pdus: &[Pdu]) -> Option<Self> {
        let tokens = || {
            pdus.iter()
                .filter(|pdu| pdu.is_exchange())
                .filter_map(Pdu::token)
        };
        let challenge = exact(
            tokens().find_map(|token| ntlm_message(token, 2))?,
            &[12, 40],
        );
        let fields = [12, 20, 28, 36, 44, 52];
        let authenticate = exact(tokens().find_map(|token| ntlm_message(token, 3))?, &fields);
        let decoded = Authenticate::decode(&authenticate).unwrap();
        let offered = Challenge::decode(&challenge).unwrap();
        let (account, password) = match decoded.user.as_str() {
            "user" => ("user", "pass"),
            "root" => ("root", "Pass1"),
            other => panic!("unknown user {other}"),
        };
        let response_key = ntowfv2(&nt_hash(password), &decoded.user, &decoded.domain);
        let (proof, base_key) = ntlmv2(
            &response_key,
            &offered.server_challenge,
            &decoded.nt_response[16..],
        );
        assert_eq!(proof, decoded.nt_response[..16]);
        let mut key: [u8; 16] = decoded.encrypted_session_key.as_slice().try_into().unwrap();
        rc4k(base_key.expose(), &mut key);
        Some(Self {
            challenge,
            authenticate,
            account,
            exported_key: Key16::from(key),
            flags: decoded.flags & offered.flags,
        })
    }

    fn config(&self) -> AcceptorConfig {
        AcceptorConfig {
            challenges: Arc::new(RecordedChallenge(self.challenge.clone())),
            allow_unsigned: !self.flags.contains(NegotiateFlags::SIGN),
            ..acceptor_config()
        }
    }

    fn acceptor(&self, auth_type: u8) -> Box<dyn SecurityContext> {
        let config = Arc::new(self.config());
        if auth_type == 10 {
            return Box::new(NtlmAcceptor::new(config));
        }
        let mechanisms = TestMechanisms {
            ntlm: Some(config),
            kerberos: || None,
        };
        Box::new(SpnegoAcceptor::new(Arc::new(mechanisms)))
    }
}

/// Cuts a message behind the last of its fields.
fn exact(message: &[u8], fields: &[usize]) -> Vec<u8> {
    let end = fields
        .iter()
        .map(|at| {
            let len = u16::from_le_bytes([message[*at], message[at + 1]]);
            let offset: [u8; 4] = message[at + 4..at + 8].try_into().unwrap();
            usize::from(len) + u32::from_le_bytes(offset) as usize
        })
        .max()
        .unwrap();
    message[..end].to_vec()
}

/// How many PDUs were compared.
#[derive(Default, Debug, PartialEq, Eq)]
struct Count {
    tokens: usize,
    requests: usize,
    responses: usize,
    refused: usize,
}

/// Plays the client's part of a recorded connection and compares ours with the server's.
fn replay(pdus: &[Pdu], recording: &Recording, count: &mut Count) {
    let auth_type = pdus[0].auth_type();
    let mut acceptor = recording.acceptor(auth_type);
    let mut client = Replayed::initiator(&recording.exported_key, recording.flags);
    let mut answer = None;
    for pdu in pdus {
        let Some(token) = pdu.token() else { continue };
        if pdu.is_exchange() && pdu.from_client {
            match acceptor.step(token) {
                Ok(leg) => answer = Some(leg.token),
                Err(error) => {
                    assert!(
                        matches!(error, SecurityError::Refused(_)),
                        "{}: {error}",
                        pdu.file
                    );
                    count.refused += 1;
                    return;
                }
            }
            if auth_type == 9 && ntlm_message(token, 3).is_some() {
                // Both sides have signed the mechTypes.
                client.skip_mech_list_mics();
            }
        } else if pdu.is_exchange() {
            assert_eq!(answer.take().as_deref(), Some(token), "{}", pdu.file);
            count.tokens += 1;
        } else if pdu.from_client {
            let mut plain = pdu.without_token();
            if acceptor
                .unprotect(pdu.level(), true, &mut plain, pdu.body(), token)
                .is_err()
            {
                count.refused += 1;
                return;
            }
            check_stub(pdu, &plain);
            count.requests += 1;
        } else {
            let mut plain = pdu.without_token();
            client
                .unprotect(pdu.level(), &mut plain, pdu.body(), token)
                .unwrap();
            let signature = acceptor
                .protect(pdu.level(), true, &mut plain, pdu.body())
                .unwrap();
            assert_eq!([plain, signature].concat(), pdu.bytes, "{}", pdu.file);
            count.responses += 1;
        }
    }
    let identity = acceptor.identity().unwrap();
    assert_eq!(
        (identity.account.as_str(), identity.package),
        (recording.account, "ntlm")
    );
}

/// A request of operation 0 has an empty stub: what is there is a verification trailer.
fn check_stub(pdu: &Pdu, plain: &[u8]) {
    let body = &plain[pdu.body()];
    let stub = &body[..body.len() - pdu.pad()];
    let opnum = u16::from(plain[22]) | u16::from(plain[23]) << 8;
    if (opnum == 0 || opnum == 0x100) && !stub.is_empty() {
        assert_eq!(stub[..8], hex("8ae3137102f43671"), "{}", pdu.file);
    }
}

fn replay_case(directory: &str, case: &str) -> Count {
    let mut count = Count::default();
    for pdus in conversations(&fixtures().join(directory).join(case)) {
        if let Some(recording) = Recording::new(&pdus) {
            replay(&pdus, &recording, &mut count);
        }
    }
    count
}

#[test]
fn recordings_with_our_prototype_as_the_server() {
    let count = |tokens, requests, responses, refused| Count {
        tokens,
        requests,
        responses,
        refused,
    };
    let expected = BTreeMap::from([
        ("attack-downgrade", count(3, 1, 1, 1)),
        ("attack-noauth", count(3, 1, 1, 0)),
        ("attack-replay", count(3, 2, 2, 1)),
        ("attack-spnego-no-mechlistmic", count(2, 0, 0, 1)),
        ("attack-tamper", count(3, 1, 1, 1)),
        ("impacket-ntlm-seal-no-mic", count(1, 3, 3, 0)),
        ("ntlm-connect-refused", count(1, 0, 0, 0)),
        ("ntlm-seal-bigendian", count(1, 1, 1, 0)),
        ("ntlm-seal-hdrsign", count(1, 1, 1, 0)),
        ("ntlm-seal-no-hdrsign", count(1, 1, 1, 0)),
        ("ntlm-sign-hdrsign", count(1, 1, 1, 0)),
        ("rpcclient-other-opnums-plain-stubs", count(5, 5, 0, 0)),
        ("spnego-ntlm-seal", count(2, 1, 1, 0)),
        ("spnego-ntlm-sign", count(2, 1, 1, 0)),
        (
            "windowslike-ndr64-btf-spnego-fallback-seal",
            count(3, 1, 1, 0),
        ),
    ]);
    for (case, expected) in expected {
        assert_eq!(replay_case("auth", case), expected, "{case}");
    }
}

#[test]
fn recordings_with_samba_as_the_server() {
    let keys = std::fs::read_to_string(fixtures().join("pdu/NTLM_KEYS.txt")).unwrap();
    let mut cases = 0;
    for line in keys.lines().filter(|line| !line.starts_with(' ')) {
        let (case, rest) = line.split_once(' ').unwrap();
        let value = |name: &str| {
            rest.split_whitespace()
                .find_map(|word| word.strip_prefix(name))
                .unwrap()
        };
        let pdus = conversations(&fixtures().join("pdu").join(case)).remove(0);
        let recording = Recording::new(&pdus).unwrap();
        assert_eq!(
            recording.exported_key.expose().as_slice(),
            hex(value("session_key="))
        );
        let mut count = Count::default();
        replay(&pdus, &recording, &mut count);
        let calls = keys.lines().skip_while(|other| *other != line).skip(1);
        let signed = calls.take_while(|line| line.starts_with(' ')).count();
        assert_eq!(count.requests + count.responses, signed, "{case}");
        assert_eq!(count.refused, 0, "{case}");
        cases += 1;
    }
    assert_eq!(cases, 17);
}

/// The connections of a case that have an NTLM exchange.
fn ntlm_recordings(case: &str) -> Vec<(Vec<Pdu>, Recording)> {
    conversations(&fixtures().join("auth").join(case))
        .into_iter()
        .filter_map(|pdus| Some((pdus.clone(), Recording::new(&pdus)?)))
        .collect()
}

#[test]
fn a_context_that_cannot_sign_is_refused_by_default() {
    let (pdus, recording) = ntlm_recordings("ntlm-connect-refused").remove(0);
    let config = AcceptorConfig {
        allow_unsigned: false,
        ..recording.config()
    };
    let mut acceptor = NtlmAcceptor::new(Arc::new(config));
    acceptor.step(pdus[0].token().unwrap()).unwrap();
    let refused = acceptor.step(&recording.authenticate);
    assert_eq!(
        refused,
        Err(SecurityError::Refused(
            "client does not offer signing".to_owned()
        ))
    );
}

#[test]
fn a_context_that_cannot_sign_never_protects() {
    let (pdus, recording) = ntlm_recordings("ntlm-connect-refused").remove(0);
    let mut acceptor = recording.acceptor(10);
    acceptor.step(pdus[0].token().unwrap()).unwrap();
    assert!(acceptor.step(&recording.authenticate).unwrap().done);
    let mut pdu = vec![0; 48];
    for level in [AuthLevel::Integrity, AuthLevel::Privacy, AuthLevel::Connect] {
        let refused = acceptor.unprotect(level, true, &mut pdu, 24..40, &[0; 16]);
        assert_eq!(refused, Err(SecurityError::OutOfTurn));
    }
}

#[test]
fn a_client_without_mic_is_refused_where_one_is_required() {
    let (pdus, recording) = ntlm_recordings("impacket-ntlm-seal-no-mic").remove(0);
    let config = AcceptorConfig {
        require_mic: true,
        ..recording.config()
    };
    let mut acceptor = NtlmAcceptor::new(Arc::new(config));
    acceptor.step(pdus[0].token().unwrap()).unwrap();
    assert!(matches!(
        acceptor.step(&recording.authenticate),
        Err(SecurityError::Refused(_))
    ));
}

#[test]
fn an_authenticate_message_for_another_challenge_is_refused() {
    let (pdus, recording) = ntlm_recordings("ntlm-seal-hdrsign").remove(0);
    // Byte 24 is the first of ServerChallenge; the last is in TargetInfo, which only the message
    // integrity code covers.
    for (at, what) in [
        (24, "wrong password"),
        (recording.challenge.len() - 6, "integrity code"),
    ] {
        let mut challenge = recording.challenge.clone();
        challenge[at] ^= 1;
        let config = AcceptorConfig {
            challenges: Arc::new(RecordedChallenge(challenge)),
            ..recording.config()
        };
        let mut acceptor = NtlmAcceptor::new(Arc::new(config));
        acceptor.step(pdus[0].token().unwrap()).unwrap();
        match acceptor.step(&recording.authenticate) {
            Err(SecurityError::Refused(reason)) => assert!(reason.contains(what), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_bit_of_an_authenticate_message_with_mic_counts() {
    let (pdus, recording) = ntlm_recordings("ntlm-seal-hdrsign").remove(0);
    let config = Arc::new(recording.config());
    for bit in 0..recording.authenticate.len() * 8 {
        let mut message = recording.authenticate.clone();
        message[bit / 8] ^= 1 << (bit % 8);
        let mut acceptor = NtlmAcceptor::new(Arc::clone(&config));
        acceptor.step(pdus[0].token().unwrap()).unwrap();
        assert!(acceptor.step(&message).is_err(), "bit {bit}");
        assert_eq!(acceptor.identity(), None);
    }
}

#[test]
fn every_byte_of_a_recorded_pdu_counts() {
    for case in [
        "ntlm-seal-hdrsign",
        "ntlm-seal-no-hdrsign",
        "ntlm-sign-hdrsign",
    ] {
        let (pdus, recording) = ntlm_recordings(case).remove(0);
        let request = &pdus[3];
        for at in 0..request.bytes.len() {
            let mut acceptor = recording.acceptor(10);
            acceptor.step(pdus[0].token().unwrap()).unwrap();
            acceptor.step(&recording.authenticate).unwrap();
            let mut tampered = request.clone();
            tampered.bytes[at] ^= 0x80;
            let token_start = request.bytes.len() - request.token().unwrap().len();
            let (plain, token) = tampered.bytes.split_at_mut(token_start);
            let refused = acceptor.unprotect(request.level(), true, plain, request.body(), token);
            assert_eq!(
                refused,
                Err(SecurityError::BadSignature),
                "{case}: byte {at}"
            );
        }
    }
}

#[cfg(feature = "kerberos")]
#[test]
fn recorded_kerberos_tokens_are_understood() {
    use crate::kerberos::raw_message;
    use crate::spnego::first_mech_token;

    const AP_REQ: u8 = 0x6e;
    let first_token = |case: &str| {
        conversations(&fixtures().join("auth").join(case))
            .iter()
            .find_map(|pdus| Some(pdus[0].token()?.to_vec()))
            .unwrap()
    };
    for case in ["krb5-seal", "krb5-sign"] {
        let token = first_token(case);
        assert_eq!(raw_message(&token, AP_REQ), Ok(token.as_slice()), "{case}");
    }
    for (case, framed) in [
        ("spnego-krb5-seal", false),
        ("impacket-spnego-krb5-seal-framed-apreq", true),
    ] {
        let token = first_mech_token(&first_token(case)).unwrap();
        let raw = raw_message(&token, AP_REQ).unwrap();
        assert_eq!(raw.len() < token.len(), framed, "{case}");
    }
}

#[test]
fn every_recorded_case_is_replayed() {
    // Kerberos tickets of recordings have expired; "noauth" has no tokens, "pac" no PDUs.
    let others = [
        "impacket-spnego-krb5-seal-framed-apreq",
        "krb5-seal",
        "krb5-sign",
        "noauth-refused",
        "pac",
        "spnego-krb5-seal",
    ];
    let directory = fixtures().join("auth");
    let mut cases: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .filter(|path| !others.contains(&name(path)))
        .collect();
    cases.sort();
    assert_eq!(cases.len(), 15);
    for case in cases {
        assert!(
            !ntlm_recordings(name(&case)).is_empty(),
            "{}",
            case.display()
        );
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
