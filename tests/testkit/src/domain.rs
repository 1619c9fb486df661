//! A domain controller of a real Samba domain on loopback, with one share and our agent.
//!
//! It takes the ports and names of a whole machine, so it runs only inside
//! [`Isolation::Domain`](crate::Isolation).

use crate::agent::{self, AgentFiles};
use crate::isolation::KRB5_CONF;
use crate::process::MARK;
use crate::samba::Account;
use crate::{Error, Run, lab, until, volume};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Kerberos realm; the NetBIOS domain is its first part.
const REALM: &str = "FSRVP.TEST";
/// NetBIOS name of the domain.
const DOMAIN: &str = "FSRVP";
/// The controller, as Kerberos knows it.
const HOST: &str = "dc.fsrvp.test";
/// Time for the controller's services to come up on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Encryption types of session keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// AES256-CTS-HMAC-SHA1-96.
    Aes,
    /// RC4-HMAC.
    Rc4,
}

/// Accounts of the domain.
#[derive(Debug, Clone)]
pub struct DomainAccounts {
    /// The domain's Administrator.
    pub admin: Account,
    /// A Backup Operator.
    pub backup: Account,
    /// Neither.
    pub plain: Account,
    /// A Backup Operator whose account is disabled.
    pub disabled: Account,
    /// A computer's account that is a Backup Operator.
    pub machine: Account,
}

/// The controller with its agent; dropping it takes it down.
#[derive(Debug)]
pub struct Domain {
    dir: PathBuf,
    accounts: DomainAccounts,
}

impl Domain {
    /// Name of the one share.
    pub const SHARE: &'static str = "docs";

    /// Provisions a domain, starts its controller and the agent.
    ///
    /// # Errors
    /// What failed; what was made is removed.
    pub fn up(fsrvpd: &Path) -> Result<Self, Error> {
        let dir = lab::test_directory();
        volume::directory(&dir)?;
        let dir = fs::canonicalize(&dir).map_err(Error::file(&dir))?;
        lab::mark(&dir)?;
        let account = |user: &str| {
            // The complexity that a domain asks for.
            let password = format!("Aa1.{}", crate::samba::random_password()?);
            let user = user.to_owned();
            Ok::<_, Error>(Account { user, password })
        };
        let domain = Self {
            dir,
            accounts: DomainAccounts {
                admin: account("Administrator")?,
                backup: account("bkp")?,
                plain: account("plain")?,
                disabled: account("former")?,
                machine: account("WKS$")?,
            },
        };
        domain.build(fsrvpd)?;
        Ok(domain)
    }

    /// Removes every trace.
    ///
    /// # Errors
    /// [`Error::LeftOver`].
    pub fn down(self) -> Result<(), Error> {
        lab::down(&self.dir)
    }

    /// The accounts.
    #[must_use]
    pub fn accounts(&self) -> &DomainAccounts {
        &self.accounts
    }

    /// fsrvpd's log.
    #[must_use]
    pub fn agent_log(&self) -> PathBuf {
        AgentFiles::of(&self.dir).log
    }

    /// Directory of the share.
    #[must_use]
    pub fn share_path(&self) -> PathBuf {
        volume::mounts_directory(&self.dir)
            .join("btrfs")
            .join(Self::SHARE)
    }

    /// A file like the laboratory's for the judges.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn environment_file(&self) -> Result<PathBuf, Error> {
        let mut environment = crate::Environment::default();
        environment.set("HOST", Ipv4Addr::LOCALHOST.to_string());
        environment.set("PORT", "445");
        environment.set("SERVER_NAME", "DC");
        environment.set("SMB_CONF", self.conf().display().to_string());
        environment.set("SHARE_A", Self::SHARE);
        let admin_socket = AgentFiles::of(&self.dir).admin_socket;
        environment.set("ADMIN_SOCKET", admin_socket.display().to_string());
        let accounts = &self.accounts;
        for (name, account) in [
            ("ADMIN", &accounts.admin),
            ("BACKUP", &accounts.backup),
            ("PLAIN", &accounts.plain),
            ("DISABLED", &accounts.disabled),
            ("MACHINE", &accounts.machine),
        ] {
            environment.set(format!("{name}_USER"), account.user.clone());
            environment.set(format!("{name}_PASSWORD"), account.password.clone());
        }
        let path = self.dir.join("env");
        environment.write(&path)?;
        Ok(path)
    }

    /// `rpcclient` with NTLM.
    #[must_use]
    pub fn with_ntlm(&self, who: &Account, options: &str, command: &str) -> Run {
        let name = format!("{DOMAIN}\\{}", who.credentials());
        self.rpcclient(options, command)
            .args(["-U", &name, "--use-kerberos=off"])
    }

    /// `rpcclient` with Kerberos, for the SMB session as well.
    #[must_use]
    pub fn with_kerberos(&self, who: &Account, options: &str, command: &str) -> Run {
        let name = format!("{}@{REALM}%{}", who.user, who.password);
        self.rpcclient(options, command)
            .args(["-U", &name, "--use-kerberos=required"])
    }

    /// `rpcclient` with the tickets of a credential cache.
    #[must_use]
    pub fn with_tickets(&self, cache: &Path, options: &str, command: &str) -> Run {
        let cache = format!("FILE:{}", cache.display());
        self.rpcclient(options, command)
            .arg(format!("--use-krb5-ccache={cache}"))
            .arg("--use-kerberos=required")
            .env("KRB5CCNAME", cache)
    }

    /// Gets a ticket and returns the cache that holds it.
    ///
    /// # Errors
    /// What `kinit` said.
    pub fn kinit(&self, who: &Account) -> Result<PathBuf, Error> {
        let cache = self.dir.join(format!("tickets.{}", who.user));
        Run::new("kinit")
            .arg("-c")
            .arg(&cache)
            .arg(format!("{}@{REALM}", who.user))
            .input(format!("{}\n", who.password))
            .check()?;
        Ok(cache)
    }

    /// What `klist -e` shows of a cache.
    ///
    /// # Errors
    /// What `klist` said.
    pub fn tickets(&self, cache: &Path) -> Result<String, Error> {
        let run = Run::new("klist").args(["-e", "-c"]).arg(cache);
        run.check().map(|output| output.stdout)
    }

    /// Gets the tickets for the controller's services with session keys of one kind.
    ///
    /// # Errors
    /// What `kvno` said.
    pub fn get_service_tickets(&self, cache: &Path, keys: Keys) -> Result<(), Error> {
        let kind = match keys {
            Keys::Aes => "aes256-cts",
            Keys::Rc4 => "arcfour-hmac",
        };
        Run::new("kvno")
            .arg("-c")
            .arg(cache)
            .args(["-e", kind])
            .args([format!("host/{HOST}"), format!("cifs/{HOST}")])
            .check()
            .map(drop)
    }

    fn rpcclient(&self, options: &str, command: &str) -> Run {
        Run::new("rpcclient")
            .arg("-s")
            .arg(self.conf())
            .arg(format!("ncacn_np:{HOST}[{options}]"))
            .args(["-c", command])
    }

    fn root(&self) -> PathBuf {
        self.dir.join("dc")
    }

    fn conf(&self) -> PathBuf {
        self.root().join("etc/smb.conf")
    }

    fn build(&self, fsrvpd: &Path) -> Result<(), Error> {
        write_krb5_conf()?;
        volume::create_one(&self.dir, "btrfs", 1 << 30)?;
        let share = self.share_path();
        Run::new("btrfs")
            .args(["subvolume", "create"])
            .arg(&share)
            .check()?;
        volume::open_to_all(&share)?;
        self.provision()?;
        self.start_controller()?;
        self.create_accounts()?;
        self.start_agent(fsrvpd)
    }

    fn provision(&self) -> Result<(), Error> {
        Run::new("samba-tool")
            .args([
                "domain",
                "provision",
                "--server-role=dc",
                "--dns-backend=NONE",
            ])
            .arg(format!("--realm={REALM}"))
            .arg(format!("--domain={DOMAIN}"))
            .arg(format!("--adminpass={}", self.accounts.admin.password))
            .args(["--host-name=dc", "--host-ip=127.0.0.1"])
            .arg(format!("--targetdir={}", self.root().display()))
            .args([
                "--option=interfaces=lo",
                "--option=bind interfaces only=yes",
            ])
            .check()?;
        let conf = self.conf();
        let text = fs::read_to_string(&conf).map_err(Error::file(&conf))?;
        // Up to the first share: [sysvol] and [netlogon] are not needed here.
        let mut wanted = String::new();
        let mut sections = 0;
        for line in text.lines() {
            sections += u32::from(line.starts_with('['));
            if sections <= 1 {
                wanted.push_str(line);
                wanted.push('\n');
            }
        }
        wanted.push_str(&format!(
            "    registry shares = yes
    server services = s3fs, rpc, ldap, cldap, kdc, winbindd
    rpc start on demand helpers = no
    load printers = no
    printing = bsd
    disable spoolss = yes
    log level = 1
    log file = {root}/log.%m
    pid directory = {root}
    lock directory = {root}
    ncalrpc dir = {root}/ncalrpc

[{share}]
    path = {path}
    read only = no
",
            root = self.root().display(),
            share = Self::SHARE,
            path = self.share_path().display(),
        ));
        fs::write(&conf, wanted).map_err(Error::file(&conf))
    }

    fn start_controller(&self) -> Result<(), Error> {
        Run::new("samba")
            .args(["-D", "-s"])
            .arg(self.conf())
            .env(MARK, &self.dir)
            .check()?;
        let open = |port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        };
        let mut last = String::new();
        let serves = until(PATIENCE, || {
            let asked = Run::new("wbinfo").arg("-p").output()?;
            last = asked.text();
            let serves = asked.status.success() && [445, 88, 389].into_iter().all(open);
            Ok::<_, Error>(serves.then_some(()))
        })?;
        serves.ok_or(Error::NotReady {
            server: "samba",
            limit: PATIENCE,
            last,
        })
    }

    fn create_accounts(&self) -> Result<(), Error> {
        let Self { accounts, .. } = self;
        let tool = |words: &[&str]| {
            let run = Run::new("samba-tool")
                .args(words)
                .arg("-s")
                .arg(self.conf());
            run.check().map(drop)
        };
        for user in [&accounts.backup, &accounts.plain, &accounts.disabled] {
            tool(&["user", "create", &user.user, &user.password])?;
        }
        let machine = &accounts.machine;
        tool(&["computer", "create", machine.user.trim_end_matches('$')])?;
        let password = format!("--newpassword={}", machine.password);
        tool(&["user", "setpassword", &machine.user, &password])?;
        let members: Vec<_> = [&accounts.backup, &accounts.disabled, machine]
            .map(|account| account.user.as_str())
            .to_vec();
        tool(&[
            "group",
            "addmembers",
            "Backup Operators",
            &members.join(","),
        ])?;
        tool(&["user", "disable", &accounts.disabled.user])
    }

    fn start_agent(&self, fsrvpd: &Path) -> Result<(), Error> {
        let files = AgentFiles::of(&self.dir);
        for path in [&files.state, &files.run] {
            volume::directory(path)?;
        }
        let text = format!(
            "[log]\nlevel = \"debug\"\n\n[admin]\nsocket = {:?}\n\n[[server]]\nsmb_conf = {:?}\n\
             state_dir = {:?}\nrun_dir = {:?}\n\n[server.security]\nkeytab = {:?}\n",
            files.admin_socket,
            self.conf(),
            files.state,
            files.run,
            self.root().join("private/secrets.keytab"),
        );
        fs::write(&files.config, text).map_err(Error::file(&files.config))?;
        agent::start(&self.dir, Run::new(fsrvpd)).map(drop)
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        if self.dir.exists()
            && let Err(error) = lab::down(&self.dir)
        {
            eprintln!("domain {}: {error}", self.dir.display());
        }
    }
}

/// Where Kerberos' programs and libraries look inside the namespaces.
fn write_krb5_conf() -> Result<(), Error> {
    let lower = REALM.to_lowercase();
    let text = format!(
        "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n \
         dns_lookup_realm = false\n dns_canonicalize_hostname = false\n rdns = false\n\
         [realms]\n {REALM} = {{\n  kdc = 127.0.0.1\n }}\n\
         [domain_realm]\n .{lower} = {REALM}\n {lower} = {REALM}\n"
    );
    fs::write(KRB5_CONF, text).map_err(Error::file(KRB5_CONF))
}
