//! A file server of a Debian release with systemd, on which fsrvpd's package is installed, upgraded and removed.

use crate::{Booted, Judge, Root, debian_to_install, guide, package};
use fsrvp_testkit::{Environment, Error, Output, programs};
use libtest_mimic::Failed;
use std::path::{Path, PathBuf};

/// The booted server; dropping it ends everything inside.
pub struct FileServer {
    booted: Booted,
    environment: PathBuf,
}

impl FileServer {
    /// The account of docs/install.md, with its password.
    pub const ACCOUNT: &'static str = "fsbackup%a long secret";

    /// Boots a server with a btrfs at `/srv`. The packages of `versions` are in `/inbox/VERSION`, and the
    /// first in `/inbox` too. `None` where this machine cannot do that.
    ///
    /// # Errors
    /// What could not be made.
    pub fn boot(release: &str, versions: &[&str]) -> Result<Option<Self>, Error> {
        if !Root::is_possible() {
            return Ok(None);
        }
        Self::above(&debian_to_install(release)?, versions).map(Some)
    }

    /// The same above another root than a plain file server's.
    ///
    /// # Errors
    /// What could not be made.
    pub fn above(base: &Path, versions: &[&str]) -> Result<Self, Error> {
        let root = Root::new(base)?;
        let fsrvpd = programs::program("fsrvpd")?;
        let directory = fsrvpd.parent().unwrap_or(&fsrvpd);
        for (number, version) in versions.iter().enumerate() {
            let made = root.inbox().join(version);
            if number == 0 {
                package(directory, &made, version)?;
                let copied = root.shell(&format!("cp {version}/fsrvpd_*.deb ."))?;
                succeeded("cp", &copied)?;
                continue;
            }
            // The same programs under another number.
            let script = format!(
                "[ -d tree ] || dpkg-deb --raw-extract fsrvpd_*.deb tree
                 sed -i 's/^Version: .*/Version: {version}/' tree/DEBIAN/control
                 mkdir {version}
                 dpkg-deb -Znone --root-owner-group --build tree {version}"
            );
            succeeded("dpkg-deb", &root.shell(&script)?)?;
        }
        let mut environment = Environment::default();
        let (user, password) = Self::ACCOUNT.split_once('%').unwrap_or_default();
        for (name, value) in [
            ("HOST", "127.0.0.1"),
            ("PORT", "445"),
            ("SERVER_NAME", "FILER"),
            ("SMB_CONF", "/dev/null"),
            ("BACKUP_USER", user),
            ("BACKUP_PASSWORD", password),
        ] {
            environment.set(name, value);
        }
        let booted = root.boot()?;
        let file = booted.inbox().join("env");
        environment.write(&file)?;
        Ok(Self {
            booted,
            environment: file,
        })
    }

    /// Runs a shell script as root in `/inbox`, whatever its outcome.
    ///
    /// # Errors
    /// As [`Booted::shell`].
    pub fn shell(&self, script: &str) -> Result<Output, Error> {
        self.booted.shell(script)
    }

    /// Runs a shell script that has to succeed, and returns what it printed.
    ///
    /// # Errors
    /// What it said, with the ends of the logs.
    pub fn good(&self, script: &str) -> Result<String, Error> {
        let output = self.shell(script)?;
        if output.status.success() {
            return Ok(output.text());
        }
        let log = self.shell("journalctl --no-pager -n 60 -u fsrvpd -u smbd");
        let log = log.map(|log| log.text()).unwrap_or_default();
        Err(Error::Unfit(format!("{script}\n{}\n{log}", output.text())))
    }

    /// Replays commands; every one has to succeed. Returns what the last printed.
    ///
    /// # Errors
    /// As [`Self::good`].
    pub fn replay(&self, commands: &[String]) -> Result<String, Error> {
        let mut said = String::new();
        for command in commands {
            said = self.good(command)?;
            println!("$ {command}{said}");
        }
        Ok(said)
    }

    /// Replays the commands of `docs/install.md` from the plain file server to an agent that serves.
    ///
    /// # Errors
    /// As [`Self::good`].
    pub fn install(&self) -> Result<(), Error> {
        let commands = guide::block(&guide::text("docs/install.md")?, "stand-alone");
        let commands = commands.map_err(Error::Unfit)?;
        // The first client is somebody else's.
        let before = commands
            .iter()
            .take_while(|line| !line.starts_with("rpcclient"));
        self.replay(&before.cloned().collect::<Vec<_>>()).map(drop)
    }

    /// A process in the server's network.
    ///
    /// # Errors
    /// There is none any more.
    pub fn process(&self) -> Result<u32, Error> {
        let first = self.booted.first_process();
        first.ok_or_else(|| Error::Unfit("systemd does not run".to_owned()))
    }

    /// A call of the judges that has to succeed, from this machine's programs in the server's network.
    ///
    /// # Errors
    /// The code, when it is not ZERO.
    pub fn call(&self, judge: &Judge, words: &[&str]) -> Result<serde_json::Value, Failed> {
        judge.clone().in_network_of(self.process()?).succeeds_in(
            &self.environment,
            "integrity",
            words,
        )
    }

    /// `rpcclient` with the account of the guide, as a shell has it.
    #[must_use]
    pub fn rpc(call: &str) -> String {
        format!(
            "rpcclient -U '{}' 'ncacn_np:localhost[sign]' -c '{call}'",
            Self::ACCOUNT
        )
    }

    /// `smbclient` with the account of the guide, as a shell has it.
    #[must_use]
    pub fn smb(share: &str, call: &str) -> String {
        format!(
            "smbclient -U '{}' '//localhost/{share}' -c '{call}'",
            Self::ACCOUNT
        )
    }
}

fn succeeded(what: &str, output: &Output) -> Result<(), Error> {
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Unfit(format!("{what}: {}", output.text())))
}
