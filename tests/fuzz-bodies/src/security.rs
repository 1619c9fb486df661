//! Tokens of the security packages.

use dcerpc_proto::security::{
    AuthLevel, AuthType, SecurityContext, SecurityError, SecurityProvider,
};
use dcerpc_security::environment::Environment;
use dcerpc_security::verifier::{Account, Logon, Ticket, Verified, Verifier, VerifyError};
use dcerpc_security::{Key16, Packages, Provider, ProviderConfig, ServerNames};
use std::sync::Arc;

/// Legs of NTLM: tokens with two bytes of length each, then one protected PDU.
pub fn ntlm(input: &[u8]) {
    exchange(AuthType::WINNT, input);
}

/// The same with SPNEGO, which has NTLM inside.
pub fn spnego(input: &[u8]) {
    exchange(AuthType::GSS_NEGOTIATE, input);
}

fn exchange(auth_type: AuthType, input: &[u8]) {
    let names = ServerNames {
        netbios_name: "LAB".to_owned(),
        netbios_domain: "LABS".to_owned(),
        dns_name: "lab.example".to_owned(),
        dns_domain: "example".to_owned(),
    };
    let provider = Provider::new(ProviderConfig {
        packages: Packages {
            kerberos: false,
            ..Packages::default()
        },
        environment: Arc::new(Still),
        ..ProviderConfig::new(Arc::new(Anybody), names)
    });
    let mut context = provider.acceptor(auth_type).unwrap();
    let mut rest = input;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(tail.len());
        let (token, tail) = tail.split_at(length);
        rest = tail;
        match context.step(token) {
            Ok(leg) if leg.done => return protected(&mut *context, rest),
            Ok(leg) => assert!(context.identity().is_none() && leg.token.len() < 65_536),
            Err(_) => {
                assert!(context.identity().is_none(), "an identity after a refusal");
                return;
            }
        }
    }
}

/// A finished context: it speaks for somebody, and takes no signature that the fuzzer could make.
fn protected(context: &mut dyn SecurityContext, input: &[u8]) {
    assert!(context.identity().is_some());
    let mut pdu = input.to_vec();
    let body = pdu.len().min(24)..pdu.len().saturating_sub(8).max(pdu.len().min(24));
    let sealed = context.protect(AuthLevel::Integrity, true, &mut pdu, body.clone());
    if let Ok(signature) = sealed {
        let length = context.signature_len(AuthLevel::Integrity, body.len());
        assert_eq!(signature.len(), length);
        // Our own signature is the server's: it must not pass for the client's.
        let reflected = context.unprotect(AuthLevel::Integrity, true, &mut pdu, body, &signature);
        assert_eq!(reflected, Err(SecurityError::BadSignature));
    }
}

/// Knows everybody, so that nothing after the password goes untried.
#[derive(Debug)]
struct Anybody;

impl Verifier for Anybody {
    fn verify(&self, logon: &Logon<'_>) -> Result<Verified, VerifyError> {
        Ok(Verified {
            base_key: Key16::from([7; 16]),
            account: account(logon.user),
        })
    }

    fn resolve(&self, ticket: &Ticket<'_>) -> Result<Account, VerifyError> {
        Ok(account(ticket.principal))
    }
}

fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        sids: vec!["S-1-5-21-1-2-3-1000".to_owned()],
        has_authority: true,
    }
}

/// Always the same numbers and the same time, so that an input always does the same.
#[derive(Debug)]
struct Still;

impl Environment for Still {
    fn random(&self, bytes: &mut [u8]) -> Result<(), SecurityError> {
        bytes.fill(0x5A);
        Ok(())
    }

    fn filetime(&self) -> u64 {
        133_000_000_000_000_000
    }
}
