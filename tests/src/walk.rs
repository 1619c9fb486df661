//! What a person would do with `rpcclient` and `smbclient`.

use crate::{CaseResult, fail};
use fsrvp_testkit::{Lab, ShareKey};
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

/// Makes and exposes a set of shares, `ro` or `rw`.
///
/// # Errors
/// What rpcclient said.
pub fn create(lab: &Lab, mode: &str, shares: &[&str]) -> Result<Created, Failed> {
    let command = format!("fss_create_expose backup {mode} {}", shares.join(" "));
    let output = lab.rpcclient(lab.backup(), "", &command).check()?;
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

/// Name of the exposed share.
#[must_use]
pub fn exposed(share: &str, copy: &str) -> String {
    let hidden = if share.ends_with('$') { "$" } else { "" };
    format!("{share}@{{{copy}}}{hidden}")
}

/// The whole life of a copy: made, compared with a changed base, written or not, sealed, deleted.
///
/// # Errors
/// Whatever is not as it has to be.
pub fn walk(lab: &Lab, key: ShareKey, writable: bool) -> CaseResult {
    let share = lab.share(key);
    let file = share.path.join("moment");
    fs::write(&file, "before")?;
    let created = create(lab, if writable { "rw" } else { "ro" }, &[share.name])?;
    fs::write(&file, "after")?;
    let (set, [copy]) = (&created.set, created.copies.as_slice()) else {
        return fail("one share, several copies");
    };
    let copied = exposed(share.name, copy);
    let who = lab.backup();
    holds(lab, &copied, "moment", "before")?;
    if put(lab, &copied, "made")? != writable {
        return fail(format!("the copy is writable: {}", !writable));
    }
    let mapping = format!("fss_get_mapping {} {set} {copy}", share.name);
    let output = lab.rpcclient(who, "", &mapping).check()?;
    if !output.says(&copied) {
        return fail(output.text());
    }
    succeeds(lab, &format!("fss_recovery_complete {set}"))?;
    if put(lab, &copied, "late")? {
        return fail("a file could be written after RecoveryComplete");
    }
    holds(lab, &copied, "moment", "before")?;
    succeeds(lab, &format!("fss_has_shadow_copy {}", share.name))?;
    succeeds(lab, &format!("fss_delete {} {set} {copy}", share.name))?;
    let gone = lab.smbclient(who, &copied, "ls").output()?;
    if !gone.says("NT_STATUS_BAD_NETWORK_NAME") {
        return fail(format!("after fss_delete: {}", gone.text()));
    }
    Ok(())
}

/// A command of rpcclient that has to succeed.
///
/// # Errors
/// What it said.
pub fn succeeds(lab: &Lab, command: &str) -> CaseResult {
    let output = lab.rpcclient(lab.backup(), "", command).output()?;
    // rpcclient's exit status does not tell a refusal from success.
    if output.says("failed") || output.says("result was NT_STATUS") || !output.status.success() {
        return fail(format!("{command}: {}", output.text()));
    }
    Ok(())
}

/// Whether a file can be written to a share.
///
/// # Errors
/// When smbclient cannot be run.
pub fn put(lab: &Lab, share: &str, name: &str) -> Result<bool, Failed> {
    let command = format!("put /etc/hostname {name}");
    Ok(lab
        .smbclient(lab.backup(), share, &command)
        .output()?
        .status
        .success())
}

/// Compares a file of a share with what it has to hold.
///
/// # Errors
/// When it differs.
pub fn holds(lab: &Lab, share: &str, name: &str, content: &str) -> CaseResult {
    let place = tempfile::tempdir()?;
    let target = place.path().join("file");
    lab.smbclient(
        lab.backup(),
        share,
        &format!("get {name} {}", target.display()),
    )
    .check()?;
    let found = fs::read_to_string(target)?;
    if found == content {
        Ok(())
    } else {
        fail(format!("{share}: {found:?}, not {content:?}"))
    }
}
