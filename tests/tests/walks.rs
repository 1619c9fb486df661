//! `rpcclient` makes, uses and deletes shadow copies of every kind of share.

use fsrvp_testkit::{AgentKind, Lab, LabOptions, ShareKey};
use fsrvp_tests::{CaseResult, Suite, fail};
use libtest_mimic::Failed;
use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = Suite::new(|agent: AgentKind| LabOptions::for_test(agent));
    for key in [ShareKey::A, ShareKey::B, ShareKey::Hidden, ShareKey::Subdir] {
        for writable in [false, true] {
            let name = format!("{}_{}", if writable { "rw" } else { "ro" }, key.key());
            suite = suite.case(name.to_lowercase(), move |lab| walk(lab, key, writable));
        }
    }
    suite
        .case("two_volumes_in_one_set", two_volumes)
        .case("a_plain_user_is_refused", plain_user)
        .run()
}

/// What `fss_create_expose` prints: the set's and the copies' ids.
struct Created {
    set: String,
    copies: Vec<String>,
}

fn create(lab: &Lab, mode: &str, shares: &[&str]) -> Result<Created, Failed> {
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

fn exposed(share: &str, copy: &str) -> String {
    let hidden = if share.ends_with('$') { "$" } else { "" };
    format!("{share}@{{{copy}}}{hidden}")
}

fn walk(lab: &Lab, key: ShareKey, writable: bool) -> CaseResult {
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

fn two_volumes(lab: &Lab) -> CaseResult {
    let names = [ShareKey::A, ShareKey::B].map(|key| lab.share(key).name);
    let created = create(lab, "rw", &names)?;
    for (name, copy) in names.iter().zip(&created.copies) {
        if !put(lab, &exposed(name, copy), "made")? {
            return fail(format!("the copy of {name} cannot be written"));
        }
    }
    succeeds(lab, &format!("fss_recovery_complete {}", created.set))?;
    for (name, copy) in names.iter().zip(&created.copies) {
        succeeds(lab, &format!("fss_delete {name} {} {copy}", created.set))?;
    }
    Ok(())
}

fn plain_user(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::A).name;
    for command in ["fss_is_path_sup", "fss_create_expose backup ro"] {
        let output = lab
            .rpcclient(lab.plain(), "", &format!("{command} {share}"))
            .output()?;
        if !output.says("0x80070005") {
            return fail(format!("{command}: {}", output.text()));
        }
    }
    Ok(())
}

fn succeeds(lab: &Lab, command: &str) -> CaseResult {
    let output = lab.rpcclient(lab.backup(), "", command).output()?;
    // rpcclient's exit status does not tell a refusal from success.
    if output.says("failed") || output.says("result was NT_STATUS") || !output.status.success() {
        return fail(format!("{command}: {}", output.text()));
    }
    Ok(())
}

fn put(lab: &Lab, share: &str, name: &str) -> Result<bool, Failed> {
    let command = format!("put /etc/hostname {name}");
    Ok(lab
        .smbclient(lab.backup(), share, &command)
        .output()?
        .status
        .success())
}

fn holds(lab: &Lab, share: &str, name: &str, content: &str) -> CaseResult {
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
