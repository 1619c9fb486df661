//! What several tests share: recorded conversations, users, and security contexts that talk to
//! each other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dcerpc_proto::security::{AuthLevel, Leg, SecurityContext, SecurityError};

use crate::environment::Environment;
use crate::mechanism::Mechanism;
use crate::ntlm::{
    AcceptorConfig, ChallengeSource, FreshChallenges, NegotiateFlags, NtlmAcceptor, NtlmInitiator,
};
use crate::spnego::{Mechanisms, Package};
use crate::targets::AcceptedTargets;
use crate::verifier::{UsersFile, Verifier};
use crate::{NtlmCredentials, Secret, ServerNames};

/// The accounts of the recordings and of our own tests.
pub(crate) const USERS: &str = r#"
    [[user]]
    name = "user"
    password = "pass"
    sids = ["S-1-5-21-1-2-3-1000", "S-1-5-32-551"]

    [[user]]
    name = "root"
    password = "Pass1"
    sids = ["S-1-5-21-1-2-3-1001", "S-1-5-32-544"]
"#;

pub(crate) fn users() -> Arc<dyn Verifier> {
    Arc::new(UsersFile::parse(USERS).unwrap())
}

/// Directory of the recordings.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// One recorded PDU.
#[derive(Debug, Clone)]
pub(crate) struct Pdu {
    pub(crate) file: String,
    pub(crate) from_client: bool,
    pub(crate) bytes: Vec<u8>,
}

/// Bind, auth3, alter_context and their answers carry tokens of the exchange.
const EXCHANGE_TYPES: [u8; 5] = [11, 12, 14, 15, 16];

impl Pdu {
    pub(crate) fn ptype(&self) -> u8 {
        self.bytes[2]
    }

    fn u16_at(&self, at: usize) -> usize {
        let bytes = [self.bytes[at], self.bytes[at + 1]];
        usize::from(if self.bytes[4] & 0xf0 == 0 {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    pub(crate) fn is_exchange(&self) -> bool {
        EXCHANGE_TYPES.contains(&self.ptype())
    }

    fn token_start(&self) -> Option<usize> {
        let len = self.u16_at(10);
        (len > 0).then(|| self.bytes.len() - len)
    }

    /// The token, if there is a sec_trailer.
    pub(crate) fn token(&self) -> Option<&[u8]> {
        Some(&self.bytes[self.token_start()?..])
    }

    /// Everything but the token.
    pub(crate) fn without_token(&self) -> Vec<u8> {
        self.bytes[..self.token_start().unwrap()].to_vec()
    }

    pub(crate) fn auth_type(&self) -> u8 {
        self.bytes[self.token_start().unwrap() - 8]
    }

    pub(crate) fn level(&self) -> AuthLevel {
        AuthLevel::try_from(self.bytes[self.token_start().unwrap() - 7]).unwrap()
    }

    /// Stub and authentication padding of a request or response.
    pub(crate) fn body(&self) -> Range<usize> {
        24..self.token_start().unwrap() - 8
    }

    pub(crate) fn pad(&self) -> usize {
        usize::from(self.bytes[self.token_start().unwrap() - 6])
    }
}

/// Hexadecimal text with white space.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| u8::try_from(d).unwrap())
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty(), "odd number of digits");
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

/// The connections of one recorded case, in order.
pub(crate) fn conversations(case: &Path) -> Vec<Vec<Pdu>> {
    let mut files: Vec<_> = std::fs::read_dir(case)
        .unwrap_or_else(|error| panic!("{}: {error}", case.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".hex") && !name.contains("plain-stub"))
        .collect();
    files.sort();
    let mut connections: Vec<(String, Vec<Pdu>)> = Vec::new();
    for file in files {
        let connection = file.split(['-', '_']).next().unwrap().to_owned();
        let pdu = Pdu {
            from_client: file.contains("c2s"),
            bytes: hex(&std::fs::read_to_string(case.join(&file)).unwrap()),
            file,
        };
        match connections.last_mut() {
            Some((last, pdus)) if *last == connection => pdus.push(pdu),
            _ => connections.push((connection, vec![pdu])),
        }
    }
    connections.into_iter().map(|(_, pdus)| pdus).collect()
}

/// Gives the recorded CHALLENGE_MESSAGE, whatever the client asks for.
#[derive(Debug)]
pub(crate) struct RecordedChallenge(pub(crate) Vec<u8>);

impl ChallengeSource for RecordedChallenge {
    fn challenge(&self, _requested: NegotiateFlags) -> Result<Vec<u8>, SecurityError> {
        Ok(self.0.clone())
    }
}

/// Counts instead of rolling dice; the time stands still.
#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU64);

impl Environment for Counting {
    fn random(&self, bytes: &mut [u8]) -> Result<(), SecurityError> {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
        Ok(())
    }

    fn filetime(&self) -> u64 {
        133_000_000_000_000_000
    }
}

pub(crate) fn server_names() -> ServerNames {
    ServerNames {
        netbios_name: "FS1".to_owned(),
        netbios_domain: "WG".to_owned(),
        dns_name: "fs1.example.com".to_owned(),
        dns_domain: "example.com".to_owned(),
    }
}

pub(crate) fn acceptor_config() -> AcceptorConfig {
    AcceptorConfig {
        challenges: Arc::new(FreshChallenges {
            names: server_names(),
            environment: Arc::new(Counting::default()),
        }),
        verifier: users(),
        require_mic: false,
        accepted_targets: AcceptedTargets::default(),
        allow_unsigned: false,
    }
}

pub(crate) fn ntlm_acceptor() -> NtlmAcceptor {
    NtlmAcceptor::new(Arc::new(acceptor_config()))
}

pub(crate) fn ntlm_initiator(user: &str, password: &str) -> NtlmInitiator {
    let password = Secret::new(password.to_owned());
    NtlmInitiator::new(
        NtlmCredentials::with_password(user.to_owned(), "WG".to_owned(), &password),
        "host/fs1".to_owned(),
        AuthLevel::Privacy,
        Arc::new(Counting::default()),
    )
}

/// Offers NTLM with one configuration, and a Kerberos of the test's choice.
#[derive(Debug)]
pub(crate) struct TestMechanisms {
    pub(crate) ntlm: Option<Arc<AcceptorConfig>>,
    pub(crate) kerberos: fn() -> Option<Box<dyn Mechanism>>,
}

impl Mechanisms for TestMechanisms {
    fn mechanism(&self, package: Package) -> Option<Box<dyn Mechanism>> {
        match package {
            Package::Ntlm => Some(Box::new(NtlmAcceptor::new(Arc::clone(self.ntlm.as_ref()?)))),
            Package::Kerberos => (self.kerberos)(),
        }
    }
}

/// Runs the exchange to its end. Returns the tokens, the initiator's first.
pub(crate) fn establish(
    initiator: &mut dyn SecurityContext,
    acceptor: &mut dyn SecurityContext,
) -> Result<Vec<Vec<u8>>, SecurityError> {
    let mut tokens = Vec::new();
    let mut from_acceptor = Vec::new();
    let (mut initiator_done, mut acceptor_done) = (false, false);
    for _ in 0..8 {
        if !initiator_done {
            let Leg { token, done } = initiator.step(&from_acceptor)?;
            initiator_done = done;
            if !token.is_empty() {
                tokens.push(token.clone());
                let Leg { token, done } = acceptor.step(&token)?;
                acceptor_done = done;
                tokens.push(token.clone());
                from_acceptor = token;
            }
        }
        if initiator_done && acceptor_done {
            return Ok(tokens);
        }
    }
    panic!("the exchange does not end");
}

/// A PDU like a request: 24 bytes header, body, 8 bytes sec_trailer.
pub(crate) fn sample_pdu(stub: &[u8]) -> (Vec<u8>, Range<usize>) {
    let header = [0x05_u8; 24];
    let pdu = [&header, stub, &[0x0a_u8; 8]].concat();
    (pdu, 24..24 + stub.len())
}

/// Sends a PDU from one context to the other and checks that it arrives.
pub(crate) fn send(
    from: &mut dyn SecurityContext,
    to: &mut dyn SecurityContext,
    level: AuthLevel,
    header_signing: bool,
    stub: &[u8],
) -> Result<(), SecurityError> {
    let (plain, body) = sample_pdu(stub);
    let mut pdu = plain.clone();
    let expected_len = from.signature_len(level, body.len());
    let signature = from.protect(level, header_signing, &mut pdu, body.clone())?;
    assert_eq!(signature.len(), expected_len);
    if level == AuthLevel::Privacy && stub.len() >= 8 {
        assert_ne!(pdu, plain, "the body is encrypted");
    }
    to.unprotect(level, header_signing, &mut pdu, body, &signature)?;
    assert_eq!(pdu, plain);
    Ok(())
}
