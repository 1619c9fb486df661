//! Tests of SPNEGO.

use std::ops::Range;
use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, Identity, Leg, SecurityContext, SecurityError};
use der::asn1::{ObjectIdentifier, OctetString};
use proptest::prelude::*;

use super::token::{KRB5, MS_KRB5, NTLMSSP, NegState, NegTokenInit, NegTokenResp};
use super::{Package, SpnegoAcceptor, SpnegoInitiator};
use crate::mechanism::Mechanism;
use crate::testing::{TestMechanisms, acceptor_config, establish, hex, ntlm_initiator, send};

/// A mechanism of which only the first step matters.
#[derive(Debug)]
struct Fake(fn() -> Result<Leg, SecurityError>);

type Kerberos = fn() -> Option<Box<dyn Mechanism>>;

impl SecurityContext for Fake {
    fn step(&mut self, _: &[u8]) -> Result<Leg, SecurityError> {
        (self.0)()
    }

    fn identity(&self) -> Option<&Identity> {
        None
    }

    fn signature_len(&self, _: AuthLevel, _: usize) -> usize {
        0
    }

    fn protect(
        &mut self,
        _: AuthLevel,
        _: bool,
        _: &mut [u8],
        _: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        Err(SecurityError::OutOfTurn)
    }

    fn unprotect(
        &mut self,
        _: AuthLevel,
        _: bool,
        _: &mut [u8],
        _: Range<usize>,
        _: &[u8],
    ) -> Result<(), SecurityError> {
        Err(SecurityError::OutOfTurn)
    }
}

impl Mechanism for Fake {
    fn mech_list_mic(&mut self, _: &[u8]) -> Result<Vec<u8>, SecurityError> {
        Err(SecurityError::OutOfTurn)
    }

    fn verify_mech_list_mic(&mut self, _: &[u8], _: &[u8]) -> Result<(), SecurityError> {
        Err(SecurityError::OutOfTurn)
    }

    fn mech_list_mic_obligatory(&self) -> bool {
        false
    }
}

fn acceptor(kerberos: Kerberos) -> SpnegoAcceptor {
    let ntlm = Some(Arc::new(acceptor_config()));
    SpnegoAcceptor::new(Arc::new(TestMechanisms { ntlm, kerberos }))
}

fn ntlm_client() -> SpnegoInitiator {
    SpnegoInitiator::new(vec![(
        Package::Ntlm,
        Box::new(ntlm_initiator("user", "pass")),
    )])
}

/// A client's Kerberos that always has a token to begin with.
fn hopeful() -> Fake {
    Fake(|| {
        Ok(Leg {
            token: b"AP-REQ".to_vec(),
            done: false,
        })
    })
}

fn both_client() -> SpnegoInitiator {
    SpnegoInitiator::new(vec![
        (Package::Kerberos, Box::new(hopeful())),
        (Package::Ntlm, Box::new(ntlm_initiator("user", "pass"))),
    ])
}

fn no_keytab() -> Option<Box<dyn Mechanism>> {
    Some(Box::new(Fake(|| {
        Err(SecurityError::Unavailable("no keytab".to_owned()))
    })))
}

fn garbage_ticket() -> Option<Box<dyn Mechanism>> {
    Some(Box::new(Fake(|| {
        Err(SecurityError::Malformed("garbage".to_owned()))
    })))
}

fn bad_ticket() -> Option<Box<dyn Mechanism>> {
    Some(Box::new(Fake(|| {
        Err(SecurityError::Refused("clock skew".to_owned()))
    })))
}

#[test]
fn ntlm_alone_takes_two_round_trips_and_both_mics() {
    let (mut client, mut server) = (ntlm_client(), acceptor(|| None));
    let tokens = establish(&mut client, &mut server).unwrap();
    assert_eq!(tokens.len(), 4);
    let last = NegTokenResp::decode(&tokens[3]).unwrap();
    assert_eq!(last.neg_state, Some(NegState::AcceptCompleted));
    assert!(last.mech_list_mic.is_some());
    assert_eq!(server.identity().unwrap().account, "user");
    for level in [AuthLevel::Integrity, AuthLevel::Privacy] {
        send(&mut client, &mut server, level, true, b"request stub").unwrap();
        send(&mut server, &mut client, level, false, b"response stub").unwrap();
    }
}

#[test]
fn the_server_falls_back_where_the_first_choice_is_of_no_use() {
    let kerberos: [Kerberos; 3] = [|| None, no_keytab, garbage_ticket];
    for kerberos in kerberos {
        let (mut client, mut server) = (both_client(), acceptor(kerberos));
        let tokens = establish(&mut client, &mut server).unwrap();
        assert_eq!(tokens.len(), 6);
        let first = NegTokenResp::decode(&tokens[1]).unwrap();
        assert_eq!(first.neg_state, Some(NegState::RequestMic));
        assert_eq!(first.supported_mech, Some(NTLMSSP));
        send(&mut client, &mut server, AuthLevel::Privacy, true, b"stub").unwrap();
    }
}

#[test]
fn a_ticket_that_is_refused_is_no_reason_to_fall_back() {
    let error = establish(&mut both_client(), &mut acceptor(bad_ticket)).unwrap_err();
    assert_eq!(error, SecurityError::Refused("clock skew".to_owned()));
}

#[test]
fn a_client_without_ticket_offers_ntlm_alone() {
    let no_ticket = Fake(|| Err(SecurityError::Unavailable("no ticket".to_owned())));
    let mut client = SpnegoInitiator::new(vec![
        (Package::Kerberos, Box::new(no_ticket)),
        (Package::Ntlm, Box::new(ntlm_initiator("user", "pass"))),
    ]);
    let init = NegTokenInit::decode(&client.step(&[]).unwrap().token).unwrap();
    assert_eq!(init.mechs, [NTLMSSP]);
}

#[test]
fn kerberos_is_offered_under_both_of_its_names() {
    let init = NegTokenInit::decode(&both_client().step(&[]).unwrap().token).unwrap();
    assert_eq!(init.mechs, [MS_KRB5, KRB5, NTLMSSP]);
    assert_eq!(init.mech_token.as_deref(), Some(b"AP-REQ".as_slice()));
}

/// Runs an exchange to the client's last token and lets `change` edit it; returns what the server
/// says.
fn with_last_token(
    client: SpnegoInitiator,
    kerberos: Kerberos,
    change: impl FnOnce(&mut NegTokenResp),
) -> Result<Leg, SecurityError> {
    let (mut client, mut server) = (client, acceptor(kerberos));
    let mut from_server = Vec::new();
    loop {
        let token = client.step(&from_server)?.token;
        if let Ok(mut response) = NegTokenResp::decode(&token)
            && response.mech_list_mic.is_some()
        {
            change(&mut response);
            return server.step(&response.encode()?);
        }
        from_server = server.step(&token)?.token;
    }
}

#[test]
fn the_clients_mech_list_mic_is_obligatory_and_checked() {
    let missing = SecurityError::Refused("mechListMIC is missing".to_owned());
    type Client = fn() -> SpnegoInitiator;
    for client in [ntlm_client as Client, both_client as Client] {
        assert!(with_last_token(client(), || None, |_| ()).unwrap().done);
        assert_eq!(
            with_last_token(client(), || None, |token| token.mech_list_mic = None),
            Err(missing.clone())
        );
        for wrong in [
            vec![0; 16],
            vec![1],
            hex("01000000000000000000000000000000"),
        ] {
            let wrong = OctetString::new(wrong).unwrap();
            assert_eq!(
                with_last_token(client(), || None, |token| token.mech_list_mic = Some(wrong)),
                Err(SecurityError::BadSignature)
            );
        }
    }
}

#[test]
fn a_changed_list_of_mechanisms_is_noticed() {
    // Somebody takes Kerberos off the client's list to have it use NTLM.
    let (mut client, mut server) = (both_client(), acceptor(no_keytab));
    client.step(&[]).unwrap();
    let mut other = ntlm_client();
    let stripped = other.step(&[]).unwrap().token;
    let answer = server.step(&stripped).unwrap().token;
    // The client never began NTLM, so the answer's token is of no use to it.
    assert!(matches!(
        client.step(&answer),
        Err(SecurityError::Malformed(_))
    ));

    // The same with the list's order kept and one name changed.
    let (mut client, mut server) = (both_client(), acceptor(|| None));
    let init = client.step(&[]).unwrap().token;
    let (changed, _) =
        NegTokenInit::encode(&[MS_KRB5, NTLMSSP], Some(b"AP-REQ".as_slice())).unwrap();
    assert_ne!(init, changed);
    let mut from_server = server.step(&changed).unwrap().token;
    for _ in 0..2 {
        let token = client.step(&from_server).unwrap().token;
        match server.step(&token) {
            Ok(leg) => from_server = leg.token,
            Err(error) => {
                assert_eq!(error, SecurityError::BadSignature);
                return;
            }
        }
    }
    panic!("the changed list was accepted");
}

#[test]
fn the_servers_mech_list_mic_is_obligatory_and_checked() {
    for wrong in [None, Some(OctetString::new(vec![0; 16]).unwrap())] {
        let (mut client, mut server) = (ntlm_client(), acceptor(|| None));
        let init = client.step(&[]).unwrap().token;
        let challenge = server.step(&init).unwrap().token;
        let authenticate = client.step(&challenge).unwrap().token;
        let mut last = NegTokenResp::decode(&server.step(&authenticate).unwrap().token).unwrap();
        last.mech_list_mic = wrong;
        assert!(client.step(&last.encode().unwrap()).is_err());
    }
}

#[test]
fn a_server_may_only_choose_what_was_offered() {
    let (mut client, mut server) = (ntlm_client(), acceptor(|| None));
    let init = client.step(&[]).unwrap().token;
    let mut answer = NegTokenResp::decode(&server.step(&init).unwrap().token).unwrap();
    answer.supported_mech = Some(KRB5);
    assert!(matches!(
        client.step(&answer.encode().unwrap()),
        Err(SecurityError::Malformed(_))
    ));
}

#[test]
fn bad_first_tokens_are_malformed() {
    let too_many = vec![NTLMSSP; 17];
    let unknown = ObjectIdentifier::new_unwrap("1.2.3.4");
    let good = NegTokenInit::encode(&[NTLMSSP], None).unwrap().0;
    for token in [
        Vec::new(),
        hex("60"),
        hex("6084ffffffff"),
        hex("6080"),
        // Nested application tags.
        hex("6082").repeat(2000),
        vec![0x60; 70_000],
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), &[0]].concat(),
        NegTokenInit::encode(&too_many, None).unwrap().0,
        NegTokenInit::encode(&[], None).unwrap().0,
        NegTokenInit::encode(&[unknown], None).unwrap().0,
        // The mechanism identifier of Kerberos instead of SPNEGO's.
        hex("600b06092a864886f712010202"),
        NegTokenResp::default().encode().unwrap(),
    ] {
        let outcome = acceptor(|| None).step(&token);
        assert!(
            matches!(outcome, Err(SecurityError::Malformed(_))),
            "{outcome:?}"
        );
    }
    assert!(acceptor(|| None).step(&good).is_ok());
}

#[test]
fn bad_later_tokens_end_the_exchange() {
    for (response, refused) in [
        (NegTokenResp::default(), false),
        (
            NegTokenResp {
                neg_state: Some(NegState::Reject),
                ..Default::default()
            },
            true,
        ),
    ] {
        let mut server = acceptor(|| None);
        server
            .step(&ntlm_client().step(&[]).unwrap().token)
            .unwrap();
        let error = server.step(&response.encode().unwrap()).unwrap_err();
        assert_eq!(
            matches!(error, SecurityError::Refused(_)),
            refused,
            "{error}"
        );
        assert_eq!(server.step(&[]), Err(SecurityError::OutOfTurn));
    }
}

#[test]
fn nothing_works_out_of_turn() {
    let (mut client, mut server) = (ntlm_client(), acceptor(|| None));
    let mut pdu = vec![0; 48];
    assert_eq!(
        server.unprotect(AuthLevel::Integrity, true, &mut pdu, 24..40, &[0; 16]),
        Err(SecurityError::OutOfTurn)
    );
    establish(&mut client, &mut server).unwrap();
    assert_eq!(server.step(&[]), Err(SecurityError::OutOfTurn));
    assert_eq!(client.step(&[]), Err(SecurityError::OutOfTurn));
    assert_eq!(server.identity(), None);
}

proptest! {
    #[test]
    fn arbitrary_tokens_never_panic(token in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = NegTokenInit::decode(&token);
        let _ = NegTokenResp::decode(&token);
        let _ = acceptor(|| None).step(&token);
        let mut client = ntlm_client();
        client.step(&[]).unwrap();
        let _ = client.step(&token);
    }

    #[test]
    fn damaged_tokens_never_panic(
        leg in 0_usize..2,
        at in 0_usize..600,
        bytes in proptest::collection::vec(any::<u8>(), 1..8),
    ) {
        let (mut client, mut server) = (ntlm_client(), acceptor(|| None));
        let mut from_server = Vec::new();
        for index in 0..2 {
            let mut token = client.step(&from_server).unwrap().token;
            let original = token.clone();
            if index == leg {
                for (offset, byte) in bytes.iter().enumerate() {
                    if let Some(target) = token.get_mut(at + offset) {
                        *target = *byte;
                    }
                }
            }
            let damaged = token != original;
            match server.step(&token) {
                Ok(answer) => {
                    // A damaged last token never completes; a damaged first one may at most
                    // change what the message integrity code will show.
                    prop_assert!(!(damaged && answer.done));
                    from_server = answer.token;
                }
                Err(_) => return Ok(()),
            }
            if damaged {
                return Ok(());
            }
        }
    }
}
