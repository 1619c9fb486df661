//! A client with RPC security, to try our initiators against real servers: it asks the remote
//! management interface three times for the list of interfaces (inq_if_ids).
//!
//! `cargo run -p dcerpc-security --example call -- HOST PORT PACKAGE LEVEL PRINCIPAL PASSWORD
//! [no-header-signing]`, where PACKAGE is `ntlm`, `kerberos`, `spnego`, `spnego-ntlm` or
//! `spnego-kerberos`, LEVEL 5 or 6 and PRINCIPAL `DOMAIN\user` or `user@REALM`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::{
    ClientAction, ClientAssociation, ClientConfig, ClientSecurity, FeatureNegotiation,
    HeaderSigning,
};
use dcerpc_proto::limits::MAX_FRAG_TCP;
use dcerpc_proto::security::{AuthLevel, AuthType};
use dcerpc_security::{InitiatorConfig, KerberosCredentials, NtlmCredentials, Secret, initiator};

/// inq_if_ids.
const INQ_IF_IDS: u16 = 0;
const CALLS: u32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [host, port, package, level, principal, password, rest @ ..] = arguments.as_slice() else {
        return Err("usage: HOST PORT PACKAGE LEVEL PRINCIPAL PASSWORD".into());
    };
    let level = AuthLevel::try_from(level.parse::<u8>()?).map_err(|_| "no such level")?;
    let config = credentials(host, package, level, principal, password)?;
    let mut stream = TcpStream::connect((host.as_str(), port.parse::<u16>()?))?;
    let mut association = ClientAssociation::new(ClientConfig {
        interfaces: vec![SyntaxId::MGMT],
        max_frag: MAX_FRAG_TCP,
        association_group: 0,
        feature_negotiation: FeatureNegotiation::Offer,
        security: Some(ClientSecurity {
            auth_type: config.auth_type,
            level,
            context: initiator(&config)?,
            context_id: 1,
            header_signing: if rest.is_empty() {
                HeaderSigning::Offer
            } else {
                HeaderSigning::Omit
            },
        }),
    });
    let mut buffer = vec![0; 65_536];
    let mut answered = 0;
    loop {
        while let Some(action) = association.poll_action() {
            match action {
                ClientAction::Transmit(pdu) => stream.write_all(&pdu)?,
                ClientAction::Step(mut ticket) => {
                    let outcome = ticket.run();
                    association.handle_stepped(ticket, outcome);
                }
                ClientAction::Bound(_) => {
                    for _ in 0..CALLS {
                        association.call(SyntaxId::MGMT, INQ_IF_IDS, Bytes::new())?;
                    }
                }
                ClientAction::Completed { outcome, .. } => {
                    println!("{} bytes", outcome?.len());
                    answered += 1;
                    if answered == CALLS {
                        return Ok(());
                    }
                }
                ClientAction::Failed(error) => return Err(error.into()),
            }
        }
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Err("the server closed the connection".into());
        }
        association.handle_data(buffer.get(..len).unwrap_or_default());
    }
}

fn credentials(
    host: &str,
    package: &str,
    level: AuthLevel,
    principal: &str,
    password: &str,
) -> Result<InitiatorConfig, Box<dyn Error>> {
    let (auth_type, with_ntlm, with_kerberos) = match package {
        "ntlm" => (AuthType::WINNT, true, false),
        "kerberos" => (AuthType::GSS_KERBEROS, false, true),
        "spnego" => (AuthType::GSS_NEGOTIATE, true, true),
        "spnego-ntlm" => (AuthType::GSS_NEGOTIATE, true, false),
        "spnego-kerberos" => (AuthType::GSS_NEGOTIATE, false, true),
        _ => return Err(format!("unknown package {package}").into()),
    };
    let (domain, user) = principal.split_once('\\').unwrap_or(("", principal));
    let password = Secret::new(password.to_owned());
    Ok(InitiatorConfig {
        auth_type,
        level,
        target_host: host.to_owned(),
        ntlm: with_ntlm
            .then(|| NtlmCredentials::with_password(user.to_owned(), domain.to_owned(), &password)),
        kerberos: with_kerberos.then(|| KerberosCredentials {
            principal: Some(user.to_owned()),
            ccache: None,
            password: Some(password.clone()),
        }),
    })
}
