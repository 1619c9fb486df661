//! A Kerberos realm of its own: a key distribution centre on loopback, gone with its owner.

use crate::{Error, Run, comes_true, process};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Time for the key distribution centre to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// MIT's krb5kdc with one user and the keys of one service.
#[derive(Debug)]
pub struct Realm {
    dir: tempfile::TempDir,
    kdc: Option<Child>,
}

impl Realm {
    /// Starts the realm `name` at `address`, with a user and a service (`host/server.example`).
    ///
    /// # Errors
    /// What the realm's programs said.
    pub fn up(
        name: &str,
        address: SocketAddr,
        user: (&str, &str),
        service: &str,
    ) -> Result<Self, Error> {
        let dir = tempfile::tempdir().map_err(Error::file(std::env::temp_dir()))?;
        let mut realm = Self { dir, kdc: None };
        let domain = name.to_lowercase();
        let client = format!(
            "[libdefaults]\n default_realm = {name}\n dns_lookup_kdc = false\n \
             dns_lookup_realm = false\n dns_canonicalize_hostname = false\n rdns = false\n\
             [realms]\n {name} = {{\n kdc = {address}\n }}\n\
             [domain_realm]\n {domain} = {name}\n .{domain} = {name}\n"
        );
        let at = |file: &str| realm.dir.path().join(file).display().to_string();
        let server = format!(
            "[kdcdefaults]\n kdc_listen = {address}\n kdc_tcp_listen = {address}\n\
             [realms]\n {name} = {{\n database_name = {}\n key_stash_file = {}\n acl_file = {}\n \
             supported_enctypes = aes256-cts:normal aes128-cts:normal rc4-hmac:normal\n }}\n",
            at("principal"),
            at("stash"),
            at("acl")
        );
        for (file, text) in [("krb5.conf", client), ("kdc.conf", server)] {
            let path = realm.dir.path().join(file);
            fs::write(&path, text).map_err(Error::file(&path))?;
        }
        let create = ["create", "-s", "-P", "master", "-r", name];
        realm.run("kdb5_util").args(create).check()?;
        let (user, password) = user;
        let queries = format!(
            "addprinc -pw {password} {user}\naddprinc -randkey {service}\nktadd -k {} {service}\n",
            realm.keytab().display()
        );
        realm.run("kadmin.local").input(queries).check()?;
        let run = realm.run("krb5kdc").args(["-n", "-r", name]);
        let kdc = run
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        realm.kdc = Some(kdc.map_err(|source| Error::Start {
            command: run.line(),
            source,
        })?);
        let mut last = String::new();
        let answers = || {
            let connected = TcpStream::connect(address).map_err(|error| error.to_string());
            connected.map_err(|error| last = error).is_ok()
        };
        if comes_true(PATIENCE, answers) {
            return Ok(realm);
        }
        Err(Error::NotReady {
            server: "krb5kdc",
            limit: PATIENCE,
            last,
        })
    }

    /// The service's keys.
    #[must_use]
    pub fn keytab(&self) -> PathBuf {
        self.dir.path().join("keytab")
    }

    /// What clients have to be given as `KRB5_CONFIG`.
    #[must_use]
    pub fn client_config(&self) -> PathBuf {
        self.dir.path().join("krb5.conf")
    }

    fn run(&self, program: impl AsRef<Path>) -> Run {
        Run::new(program.as_ref())
            .env("KRB5_CONFIG", self.client_config())
            .env("KRB5_KDC_PROFILE", self.dir.path().join("kdc.conf"))
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        if let Some(kdc) = &mut self.kdc {
            process::stop([kdc.id()], PATIENCE);
            let _ = kdc.wait();
        }
    }
}
