//! Kerberos between our own initiator and acceptor, in a realm that exists for this test only.
//!
//! The library reads its configuration from the environment, so the outer test makes the realm and
//! runs the inner tests in a process of their own.
#![cfg(feature = "kerberos")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use dcerpc_proto::security::{
    AuthLevel, AuthType, Leg, SecurityContext, SecurityError, SecurityProvider,
};
use dcerpc_security::verifier::UsersFile;
use dcerpc_security::{
    InitiatorConfig, KerberosCredentials, NtlmCredentials, Packages, Provider, ProviderConfig,
    Secret, ServerNames, initiator,
};

const REALM: &str = "FSRVP.TEST";
const DIRECTORY: &str = "FSRVP_TEST_REALM";

const USERS: &str = r#"
    [[user]]
    name = "backup"
    password = "geheim"
    sids = ["S-1-5-32-551"]
    principals = ["backup@FSRVP.TEST"]
"#;

/// A realm with a running key distribution centre; everything goes with it.
struct Realm {
    directory: tempfile::TempDir,
    kdc: Option<Child>,
}

impl Drop for Realm {
    fn drop(&mut self) {
        if let Some(kdc) = &mut self.kdc {
            let _ = kdc.kill();
            let _ = kdc.wait();
        }
    }
}

fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|p| p.exists())
}

impl Realm {
    fn command(&self, program: &Path) -> Command {
        let directory = self.directory.path();
        let mut command = Command::new(program);
        command
            .env("KRB5_CONFIG", directory.join("krb5.conf"))
            .env("KRB5_KDC_PROFILE", directory.join("kdc.conf"))
            .env(
                "KRB5RCACHENAME",
                format!("file2:{}", directory.join("rcache").display()),
            )
            .env_remove("KRB5_KTNAME")
            .env_remove("KRB5CCNAME");
        command
    }

    fn run(&self, program: &Path, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", program.display());
    }

    /// `None` if the programs are missing.
    fn start() -> Option<Self> {
        let (util, kadmin, kdc) = (
            program("kdb5_util")?,
            program("kadmin.local")?,
            program("krb5kdc")?,
        );
        let mut realm = Self {
            directory: tempfile::tempdir().unwrap(),
            kdc: None,
        };
        let port = free_port();
        let at = |name: &str| realm.directory.path().join(name).display().to_string();
        std::fs::write(
            at("krb5.conf"),
            format!(
                "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n \
                 dns_canonicalize_hostname = false\n rdns = false\n \
                 default_ccache_name = FILE:{}\n\
                 [realms]\n {REALM} = {{\n kdc = 127.0.0.1:{port}\n }}\n\
                 [domain_realm]\n server.test = {REALM}\n",
                at("ccache")
            ),
        )
        .unwrap();
        std::fs::write(
            at("kdc.conf"),
            format!(
                "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
                 [realms]\n {REALM} = {{\n database_name = {}\n key_stash_file = {}\n acl_file = {}\n \
                 supported_enctypes = aes256-cts:normal aes128-cts:normal rc4-hmac:normal\n }}\n",
                at("principal"),
                at("stash"),
                at("acl")
            ),
        )
        .unwrap();
        realm.run(&util, &["create", "-s", "-P", "master", "-r", REALM]);
        let keytab = at("keytab");
        let other = at("other.keytab");
        for query in [
            "addprinc -pw geheim backup",
            "addprinc -pw geheim stranger",
            "addprinc -randkey host/server.test",
            "addprinc -randkey host/other.test",
            &format!("ktadd -k {keytab} host/server.test"),
            &format!("ktadd -k {other} host/other.test"),
        ] {
            realm.run(&kadmin, &["-q", query]);
        }
        let mut command = realm.command(&kdc);
        command
            .args(["-n", "-r", REALM])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        realm.kdc = Some(command.spawn().unwrap());
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let kdc = realm.kdc.as_mut().unwrap();
            assert!(kdc.try_wait().unwrap().is_none(), "krb5kdc ended");
            std::thread::yield_now();
        }
        Some(realm)
    }
}

#[test]
fn kerberos_in_a_realm_of_its_own() {
    let Some(realm) = Realm::start() else {
        println!("skipped: krb5-kdc is not installed");
        assert!(
            std::env::var_os("FSRVP_REQUIRE_LAB").is_none(),
            "krb5-kdc is not installed"
        );
        return;
    };
    let output = realm
        .command(&std::env::current_exe().unwrap())
        .env(DIRECTORY, realm.directory.path())
        .args(["inner", "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("9 passed"), "{text}");
}

mod inner {
    use super::*;

    fn directory() -> PathBuf {
        PathBuf::from(std::env::var_os(DIRECTORY).unwrap())
    }

    fn config(keytab: &str) -> ProviderConfig {
        let users = Arc::new(UsersFile::parse(USERS).unwrap());
        let names = ServerNames {
            netbios_name: "SERVER".to_owned(),
            ..ServerNames::default()
        };
        ProviderConfig {
            keytab: Some(directory().join(keytab)),
            ..ProviderConfig::new(users, names)
        }
    }

    fn acceptor(config: ProviderConfig, auth_type: AuthType) -> Box<dyn SecurityContext> {
        Provider::new(config).acceptor(auth_type).unwrap()
    }

    fn initiate(
        principal: &str,
        password: &str,
        auth_type: AuthType,
        level: AuthLevel,
    ) -> Box<dyn SecurityContext> {
        let password = Secret::new(password.to_owned());
        let ntlm = NtlmCredentials::with_password(principal.to_owned(), String::new(), &password);
        initiator(&InitiatorConfig {
            auth_type,
            level,
            target_host: "server.test".to_owned(),
            ntlm: (auth_type == AuthType::GSS_NEGOTIATE).then_some(ntlm),
            kerberos: Some(KerberosCredentials {
                principal: Some(principal.to_owned()),
                ccache: None,
                password: Some(password),
            }),
        })
        .unwrap()
    }

    fn establish(
        client: &mut dyn SecurityContext,
        server: &mut dyn SecurityContext,
    ) -> Result<(), SecurityError> {
        let mut from_server = Vec::new();
        loop {
            let Leg {
                token,
                done: client_done,
            } = client.step(&from_server)?;
            if token.is_empty() {
                assert!(client_done);
                return Ok(());
            }
            let Leg { token, done } = server.step(&token)?;
            if client_done {
                assert!(done && token.is_empty());
                return Ok(());
            }
            from_server = token;
        }
    }

    type Contexts = (Box<dyn SecurityContext>, Box<dyn SecurityContext>);

    fn established(auth_type: AuthType, level: AuthLevel) -> Contexts {
        let mut client = initiate("backup", "geheim", auth_type, level);
        let mut server = acceptor(config("keytab"), auth_type);
        establish(client.as_mut(), server.as_mut()).unwrap();
        (client, server)
    }

    fn sample() -> (Vec<u8>, Range<usize>) {
        (
            [[5; 24].as_slice(), b"0123456789abcdef", &[16; 8]].concat(),
            24..40,
        )
    }

    const LEVELS: [AuthLevel; 2] = [AuthLevel::Integrity, AuthLevel::Privacy];

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn messages_arrive() {
        for auth_type in [AuthType::GSS_KERBEROS, AuthType::GSS_NEGOTIATE] {
            for header_signing in [true, false] {
                for level in LEVELS {
                    let (mut client, mut server) = established(auth_type, level);
                    let identity = server.identity().unwrap();
                    assert_eq!(
                        (identity.account.as_str(), identity.package),
                        ("backup", "kerberos")
                    );
                    assert_eq!(identity.sids, ["S-1-5-32-551"]);
                    for len in [0, 12, 16, 1000] {
                        let plain = [vec![5; 24], vec![7; len], vec![16; 8]].concat();
                        let body = 24..24 + len;
                        let mut pdu = plain.clone();
                        let token = client.protect(level, header_signing, &mut pdu, body.clone());
                        let token = token.unwrap();
                        assert_eq!(token.len(), client.signature_len(level, len));
                        assert_eq!(level == AuthLevel::Privacy && len > 0, pdu != plain);
                        server
                            .unprotect(level, header_signing, &mut pdu, body.clone(), &token)
                            .unwrap();
                        assert_eq!(pdu, plain);
                        let token = server.protect(level, header_signing, &mut pdu, body.clone());
                        client
                            .unprotect(level, header_signing, &mut pdu, body, &token.unwrap())
                            .unwrap();
                        assert_eq!(pdu, plain);
                    }
                }
            }
        }
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn replayed_messages_are_refused() {
        for level in LEVELS {
            let (mut client, mut server) = established(AuthType::GSS_KERBEROS, level);
            let (mut pdu, body) = sample();
            let token = client.protect(level, true, &mut pdu, body.clone()).unwrap();
            let mut take = || server.unprotect(level, true, &mut pdu.clone(), body.clone(), &token);
            assert_eq!(take(), Ok(()));
            assert_eq!(take(), Err(SecurityError::BadSignature), "{level:?}");
        }
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn reordered_and_missing_messages_are_refused() {
        for level in LEVELS {
            let (mut client, mut server) = established(AuthType::GSS_KERBEROS, level);
            let (plain, body) = sample();
            client
                .protect(level, true, &mut plain.clone(), body.clone())
                .unwrap();
            let mut pdu = plain;
            let token = client.protect(level, true, &mut pdu, body.clone()).unwrap();
            assert_eq!(
                server.unprotect(level, true, &mut pdu, body, &token),
                Err(SecurityError::BadSignature),
                "{level:?}"
            );
        }
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn tampered_messages_are_refused() {
        for level in LEVELS {
            let (plain, body) = sample();
            for at in 0..plain.len() {
                for header_signing in [true, false] {
                    let (mut client, mut server) = established(AuthType::GSS_KERBEROS, level);
                    let mut pdu = plain.clone();
                    let token = client
                        .protect(level, header_signing, &mut pdu, body.clone())
                        .unwrap();
                    pdu[at] ^= 1;
                    let outcome =
                        server.unprotect(level, header_signing, &mut pdu, body.clone(), &token);
                    // Without header signing only the body is covered.
                    let covered = header_signing || body.contains(&at);
                    assert_eq!(outcome.is_err(), covered, "{level:?} byte {at}");
                    if at % 8 != 0 {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn tampered_tokens_are_refused_and_never_panic() {
        for level in LEVELS {
            let (mut client, _) = established(AuthType::GSS_KERBEROS, level);
            let (mut pdu, body) = sample();
            let token = client.protect(level, true, &mut pdu, body.clone()).unwrap();
            for len in [0, 1, 15, 16, token.len() - 1] {
                let (_, mut server) = established(AuthType::GSS_KERBEROS, level);
                let cut = &token[..len];
                assert_eq!(
                    server.unprotect(level, true, &mut pdu.clone(), body.clone(), cut),
                    Err(SecurityError::BadSignature),
                    "{level:?} length {len}"
                );
            }
        }
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn a_captured_ap_req_cannot_be_used_again() {
        let mut client = initiate(
            "backup",
            "geheim",
            AuthType::GSS_KERBEROS,
            AuthLevel::Privacy,
        );
        let ap_req = client.step(&[]).unwrap().token;
        acceptor(config("keytab"), AuthType::GSS_KERBEROS)
            .step(&ap_req)
            .unwrap();
        let error = acceptor(config("keytab"), AuthType::GSS_KERBEROS)
            .step(&ap_req)
            .unwrap_err();
        assert!(matches!(error, SecurityError::Refused(_)), "{error}");
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn a_ticket_for_somebody_else_is_refused() {
        let mut client = initiate(
            "backup",
            "geheim",
            AuthType::GSS_KERBEROS,
            AuthLevel::Privacy,
        );
        let ap_req = client.step(&[]).unwrap().token;
        let mut other = acceptor(config("other.keytab"), AuthType::GSS_KERBEROS);
        assert!(matches!(
            other.step(&ap_req),
            Err(SecurityError::Refused(_))
        ));
        assert_eq!(other.identity(), None);

        for (target, accepted) in [("server.test", true), ("alias.test", false)] {
            let config = ProviderConfig {
                accepted_targets: vec![target.to_owned()],
                ..config("keytab")
            };
            let mut server = acceptor(config, AuthType::GSS_KERBEROS);
            let mut client = initiate(
                "backup",
                "geheim",
                AuthType::GSS_KERBEROS,
                AuthLevel::Privacy,
            );
            assert_eq!(
                establish(client.as_mut(), server.as_mut()).is_ok(),
                accepted,
                "{target}"
            );
        }
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn a_principal_without_account_has_a_name_and_no_groups() {
        let mut client = initiate(
            "stranger",
            "geheim",
            AuthType::GSS_KERBEROS,
            AuthLevel::Privacy,
        );
        let mut server = acceptor(config("keytab"), AuthType::GSS_KERBEROS);
        establish(client.as_mut(), server.as_mut()).unwrap();
        let identity = server.identity().unwrap();
        assert_eq!(identity.account, "FSRVP.TEST\\stranger");
        assert!(identity.sids.is_empty() && !identity.has_authority);
    }

    #[test]
    #[ignore = "run by kerberos_in_a_realm_of_its_own"]
    fn spnego_falls_back_to_ntlm() {
        // No keytab on the server; no Kerberos at the server; no ticket for the client.
        let no_kerberos = Packages {
            kerberos: false,
            ..Packages::default()
        };
        let configs = [
            (config("missing.keytab"), "backup", "geheim"),
            (
                ProviderConfig {
                    packages: no_kerberos,
                    ..config("keytab")
                },
                "backup",
                "geheim",
            ),
        ];
        for (config, user, password) in configs {
            let mut client = initiate(user, password, AuthType::GSS_NEGOTIATE, AuthLevel::Privacy);
            let mut server = acceptor(config, AuthType::GSS_NEGOTIATE);
            establish(client.as_mut(), server.as_mut()).unwrap();
            assert_eq!(server.identity().unwrap().package, "ntlm");
        }
        let limited = Provider::new(config("missing.keytab"));
        assert_eq!(limited.limitations().len(), 1);
        assert_eq!(Provider::new(config("keytab")).limitations(), []);
    }
}
