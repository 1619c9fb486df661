//! Calls under a security context, with a package that is none.

use crate::server::{Answer, Server, connect};
use dcerpc_proto::FaultStatus;
use dcerpc_proto::security::{
    AuthLevel, AuthType, Identity, Leg, SecurityContext, SecurityError, SecurityProvider,
};
use fsrvp_client::{ClientError, ClientSecurity, HeaderSigning, Options};
use fsrvp_idl::Request;
use std::ops::Range;
use std::sync::Arc;

const SIGNATURE: usize = 8;

/// Three legs, a sum for a signature, and a flipped bit for a cipher.
#[derive(Debug)]
struct Toy {
    /// What the peer says next, and what we answer.
    legs: Vec<(&'static [u8], &'static [u8])>,
    identity: Identity,
    sent: u8,
    received: u8,
}

impl Toy {
    fn new(legs: &[(&'static [u8], &'static [u8])]) -> Self {
        Self {
            legs: legs.iter().rev().copied().collect(),
            identity: Identity {
                account: r"TOY\user".to_owned(),
                sids: vec![],
                has_authority: false,
                package: "toy",
            },
            sent: 0,
            received: 0,
        }
    }

    fn initiator() -> Self {
        Self::new(&[(b"", b"hello"), (b"who?", b"me")])
    }

    fn acceptor() -> Self {
        Self::new(&[(b"hello", b"who?"), (b"me", b"")])
    }
}

fn sum(pdu: &[u8], sequence: u8) -> Vec<u8> {
    let sum = pdu.iter().fold(u64::from(sequence), |sum, &byte| {
        sum.rotate_left(5).wrapping_add(byte.into())
    });
    sum.to_le_bytes().to_vec()
}

fn flip(level: AuthLevel, body: &mut [u8]) {
    if level == AuthLevel::Privacy {
        body.iter_mut().for_each(|byte| *byte ^= 0x55);
    }
}

impl SecurityContext for Toy {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        let (expected, answer) = self.legs.pop().ok_or(SecurityError::OutOfTurn)?;
        if token != expected {
            return Err(SecurityError::Refused(format!("{token:?}")));
        }
        Ok(Leg {
            token: answer.to_vec(),
            done: self.legs.is_empty(),
        })
    }

    fn identity(&self) -> Option<&Identity> {
        self.legs.is_empty().then_some(&self.identity)
    }

    fn signature_len(&self, _level: AuthLevel, _body_len: usize) -> usize {
        SIGNATURE
    }

    fn protect(
        &mut self,
        level: AuthLevel,
        _header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        let signature = sum(pdu, self.sent);
        self.sent += 1;
        flip(level, &mut pdu[body]);
        Ok(signature)
    }

    fn unprotect(
        &mut self,
        level: AuthLevel,
        _header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        flip(level, &mut pdu[body]);
        let expected = sum(pdu, self.received);
        self.received += 1;
        if signature == expected {
            Ok(())
        } else {
            Err(SecurityError::BadSignature)
        }
    }
}

/// Accepts the toy as if it were NTLM.
struct Toys;

impl SecurityProvider for Toys {
    fn acceptor(&self, auth_type: AuthType) -> Option<Box<dyn SecurityContext>> {
        (auth_type == AuthType::WINNT).then(|| Box::new(Toy::acceptor()) as _)
    }
}

fn options(auth_type: AuthType, level: AuthLevel, context: Toy) -> Options {
    Options {
        security: Some(ClientSecurity {
            auth_type,
            level,
            context: Box::new(context),
            context_id: 1,
            header_signing: HeaderSigning::Offer,
        }),
        ..Options::default()
    }
}

fn server() -> Server {
    let mut server = Server::new(|call| {
        let security = call.security.as_ref().unwrap();
        assert_eq!(security.identity.account, r"TOY\user");
        Answer::Reply(call.stub.clone())
    });
    server.provider = Arc::new(Toys);
    server.min_auth_level = AuthLevel::Integrity;
    server
}

#[tokio::test]
async fn calls_are_signed_and_sealed_in_every_fragment() {
    let request = Request::IsPathSupported {
        share_name: "x".repeat(16_000),
    };
    for level in [AuthLevel::Integrity, AuthLevel::Privacy] {
        let options = options(AuthType::WINNT, level, Toy::initiator());
        let mut client = connect(server(), options).await.unwrap();
        for _ in 0..3 {
            let stub = request.encode();
            // The client appends a verification trailer or padding, which the echo brings back.
            let echo = client.call_raw(8, stub.clone()).await.unwrap();
            assert_eq!(echo[..stub.len()], stub);
        }
    }
}

#[tokio::test]
async fn a_level_below_the_servers_is_refused_with_fault_5() {
    let options = Options::default();
    let mut client = connect(server(), options).await.unwrap();
    let refused = client.supported_versions().await;
    let fault = FaultStatus::ACCESS_DENIED;
    assert!(
        matches!(refused, Err(ClientError::Fault(is)) if is == fault),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_package_that_is_not_offered_is_refused_at_the_bind() {
    let options = options(AuthType::GSS_KERBEROS, AuthLevel::Privacy, Toy::initiator());
    let refused = connect(server(), options).await;
    // authentication_type_not_recognized
    assert!(
        matches!(refused, Err(ClientError::BindNak(8))),
        "{refused:?}"
    );
}

/// Our own package's refusal names itself.
#[tokio::test]
async fn an_initiator_that_fails_ends_the_bind() {
    let confused = Toy::new(&[(b"", b"hello"), (b"other", b"me")]);
    let options = options(AuthType::WINNT, AuthLevel::Integrity, confused);
    let refused = connect(server(), options).await;
    assert!(
        matches!(refused, Err(ClientError::Association(_))),
        "{refused:?}"
    );
}
