//! What a person would do with `rpcclient` and `smbclient`.

use crate::{CaseResult, fail};
use fsrvp_testkit::{Lab, Run, ShareKey};
use libtest_mimic::Failed;
use std::fs;

/// What `fss_create_expose` prints: the set's and the copies' ids.
#[derive(Debug, Clone)]
pub struct Created {
    /// The set's id.
    pub set: String,
    /// The copies' ids, in the order of the shares.
    pub copies: Vec<String>,
}

/// The backup operator with a shell.
#[derive(Debug, Clone, Copy)]
pub struct Walk<'a> {
    lab: &'a Lab,
    options: Option<&'a str>,
}

impl<'a> Walk<'a> {
    /// Calls are protected as the laboratory's agent asks for.
    #[must_use]
    pub const fn of(lab: &'a Lab) -> Self {
        Self { lab, options: None }
    }

    /// Calls are made with these options of rpcclient's binding.
    #[must_use]
    pub const fn with(lab: &'a Lab, options: &'a str) -> Self {
        Self {
            lab,
            options: Some(options),
        }
    }

    /// The whole life of a copy: made, compared with a changed base, written or not, sealed, deleted.
    ///
    /// # Errors
    /// Whatever is not as it has to be.
    pub fn run(&self, key: ShareKey, writable: bool) -> CaseResult {
        let share = self.lab.share(key);
        let file = share.path.join("moment");
        fs::write(&file, "before")?;
        let created = self.create(if writable { "rw" } else { "ro" }, &[share.name])?;
        fs::write(&file, "after")?;
        let (set, [copy]) = (&created.set, created.copies.as_slice()) else {
            return fail("one share, several copies");
        };
        let copied = exposed(share.name, copy);
        self.holds(&copied, "moment", "before")?;
        if self.put(&copied, "made")? != writable {
            return fail(format!("the copy is writable: {}", !writable));
        }
        let mapping = format!("fss_get_mapping {} {set} {copy}", share.name);
        let output = self.rpcclient(&mapping).check()?;
        if !output.says(&copied) {
            return fail(output.text());
        }
        self.succeeds(&format!("fss_recovery_complete {set}"))?;
        if self.put(&copied, "late")? {
            return fail("a file could be written after RecoveryComplete");
        }
        self.holds(&copied, "moment", "before")?;
        self.succeeds(&format!("fss_has_shadow_copy {}", share.name))?;
        self.succeeds(&format!("fss_delete {} {set} {copy}", share.name))?;
        let gone = self.smbclient(&copied, "ls").output()?;
        if !gone.says("NT_STATUS_BAD_NETWORK_NAME") {
            return fail(format!("after fss_delete: {}", gone.text()));
        }
        Ok(())
    }

    /// Makes and exposes a set of shares, `ro` or `rw`.
    ///
    /// # Errors
    /// What rpcclient said.
    pub fn create(&self, mode: &str, shares: &[&str]) -> Result<Created, Failed> {
        let command = format!("fss_create_expose backup {mode} {}", shares.join(" "));
        let output = self.rpcclient(&command).check()?;
        let mut created = Created {
            set: String::new(),
            copies: Vec::new(),
        };
        for line in output.stdout.lines() {
            // SET(COPY): share SHARE@{COPY} exposed as a snapshot of UNC
            let Some((ids, _)) = line.split_once("): share ") else {
                continue;
            };
            let Some((set, copy)) = ids.split_once('(') else {
                continue;
            };
            created.set = set.to_owned();
            created.copies.push(copy.to_owned());
        }
        if created.copies.len() != shares.len() {
            return fail(format!("{command}:\n{}", output.text()));
        }
        Ok(created)
    }

    /// A command of rpcclient that has to succeed.
    ///
    /// # Errors
    /// What it said.
    pub fn succeeds(&self, command: &str) -> CaseResult {
        let output = self.rpcclient(command).output()?;
        // rpcclient's exit status does not tell a refusal from success.
        let refused = output.says("failed") || output.says("result was NT_STATUS");
        if refused || !output.status.success() {
            return fail(format!("{command}: {}", output.text()));
        }
        Ok(())
    }

    /// Whether a file can be written to a share.
    ///
    /// # Errors
    /// When smbclient cannot be run.
    pub fn put(&self, share: &str, name: &str) -> Result<bool, Failed> {
        let output = self
            .smbclient(share, &format!("put /etc/hostname {name}"))
            .output()?;
        Ok(output.status.success())
    }

    /// Compares a file of a share with what it has to hold.
    ///
    /// # Errors
    /// When it differs.
    pub fn holds(&self, share: &str, name: &str, content: &str) -> CaseResult {
        let place = tempfile::tempdir()?;
        let target = place.path().join("file");
        self.smbclient(share, &format!("get {name} {}", target.display()))
            .check()?;
        let found = fs::read_to_string(target)?;
        if found == content {
            Ok(())
        } else {
            fail(format!("{share}: {found:?}, not {content:?}"))
        }
    }

    fn rpcclient(&self, command: &str) -> Run {
        let who = self.lab.backup();
        match self.options {
            Some(options) => self.lab.rpcclient_with(who, options, command),
            None => self.lab.rpcclient(who, command),
        }
    }

    fn smbclient(&self, share: &str, commands: &str) -> Run {
        self.lab.smbclient(self.lab.backup(), share, commands)
    }
}

/// Name of the exposed share.
#[must_use]
pub fn exposed(share: &str, copy: &str) -> String {
    let hidden = if share.ends_with('$') { "$" } else { "" };
    format!("{share}@{{{copy}}}{hidden}")
}
