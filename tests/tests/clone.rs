//! The clone backend behind smbd: every share is on XFS. Flows, walks, seals and restarts are those of
//! the other suites; what only clones do is here.

use fsrvp_testkit::{Lab, LabOptions, ShareKey, unix_http};
use fsrvp_tests::descriptors::descriptors_are_the_same;
use fsrvp_tests::obstacles::{Obstacle, are_named, fsrvpctl, is_named_by_the_daemon};
use fsrvp_tests::restarts::{Victim, set_with};
use fsrvp_tests::walk::{Walk, exposed};
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use libtest_mimic::Failed;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::PathBuf;
use std::process::ExitCode;

/// Judged in `clone_torture.rs`, where two shares of a volume may stand in one set.
const ELSEWHERE: &str = "sets::two_shares_of_a_volume_share_a_copy";
/// Root's own handles hold the seal of a clone up; see `handles_of_root_hold_the_seal_up`.
const OTHERWISE: &str = "seal::root_cannot_write_where_smbd_serves";

fn main() -> ExitCode {
    let mut suite = Suite::new(|agent| LabOptions::for_test(agent).xfs());
    for key in [
        ShareKey::A,
        ShareKey::Hidden,
        ShareKey::Subdir,
        ShareKey::Xfs,
    ] {
        for writable in [false, true] {
            let name = format!("{}_{}", if writable { "rw" } else { "ro" }, key.key());
            suite = suite.case(name.to_lowercase(), move |lab| {
                Walk::of(lab).run(key, writable)
            });
        }
    }
    let judged = ["flows::", "sets::", "seal::", "states::"];
    suite
        .cases(Judge::cases(move |name| {
            judged.iter().any(|module| name.starts_with(module))
                && ![ELSEWHERE, OTHERWISE].contains(&name)
        }))
        .case("restarts_of_the_agent", |lab| {
            set_with(lab, Victim::AgentKilled)
        })
        .case("restarts_of_everything", |lab| {
            set_with(lab, Victim::Everything)
        })
        .case(
            "security_descriptors_are_the_same",
            descriptors_are_the_same,
        )
        .case("handles_of_root_hold_the_seal_up", held)
        .case("what_is_in_the_way_is_named", |lab| {
            let all = [
                Obstacle::Link,
                Obstacle::Pipe,
                Obstacle::TooDeep,
                Obstacle::Mount,
            ];
            are_named(lab, ShareKey::B, &all)
        })
        .case("only_what_a_list_names_is_copied", file_list)
        .case("an_operator_names_files", named_by_an_operator)
        .case("a_stop_waits_for_what_is_being_removed", removed)
        .and_nothing_is_left()
        .run()
}

/// The directory that an exposed share serves.
fn served(lab: &Lab, copy: &str) -> PathBuf {
    lab.run_dir().join("clone").join(copy)
}

/// Whoever holds a file of the copy open for writing is waited for and then told about; nothing is
/// sealed that could still be written.
fn held(lab: &Lab) -> CaseResult {
    let (share, walk) = (lab.share(ShareKey::A), Walk::of(lab));
    fs::write(share.path.join("held"), "before")?;
    let created = walk.create("rw", &[share.name])?;
    let [copy] = created.copies.as_slice() else {
        return fail("one share, several copies");
    };
    let path = served(lab, copy).join("held");
    let file = OpenOptions::new().write(true).open(&path)?;
    let complete = format!("fss_recovery_complete {}", created.set);
    if walk.succeeds(&complete).is_ok() {
        return fail("RecoveryComplete succeeded while a handle could write");
    }
    // It stays Exposed, the share is read-only already, and the call may be repeated.
    if walk.put(&exposed(share.name, copy), "late")? {
        return fail("the share can be written after a failed RecoveryComplete");
    }
    file.write_all_at(b"during", 0)?;
    drop(file);
    walk.succeeds(&complete)?;
    walk.holds(&exposed(share.name, copy), "held", "during")?;
    if OpenOptions::new().write(true).open(&path).is_ok() {
        return fail("root can open a file of the sealed copy for writing");
    }
    walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))
}

/// A deletion is answered before the files are gone; an agent that ends in good order removes them
/// first.
fn removed(lab: &Lab) -> CaseResult {
    const FILES: usize = 20_000;
    let (share, walk) = (lab.share(ShareKey::B), Walk::of(lab));
    for number in 0..FILES {
        let directory = share.path.join("many").join((number / 1_000).to_string());
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(number.to_string()), "")?;
    }
    let created = walk.create("ro", &[share.name])?;
    let [copy] = created.copies.as_slice() else {
        return fail("one share, several copies");
    };
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
    lab.stop_agent(false)?;
    let area = lab.volume("btrfs2").join(".fsrvpd").join(lab.server_name());
    let left = fs::read_dir(area.join("clone/trash"))?.count();
    lab.start_agent()?;
    fs::remove_dir_all(share.path.join("many"))?;
    if left == 0 {
        return Ok(());
    }
    fail(format!("{left} directories are left in the trash"))
}

/// The same by `fsrvpctl`: a list that names what is not there, in the calls of a set too; one for the
/// next set, which a set that fails does not use up; and a standing one.
fn named_by_an_operator(lab: &Lab) -> CaseResult {
    let (share, walk) = (lab.share(ShareKey::B), Walk::of(lab));
    let names = |words: &[&str]| fsrvpctl(lab, &[&["targets"], words].concat());
    let is_listed = || Ok::<_, Failed>(names(&["list"])?.contains("wanted"));
    for name in ["wanted", "unwanted"] {
        fs::create_dir_all(share.path.join(name))?;
        fs::write(share.path.join(name).join("file"), name)?;
    }
    let lives = || {
        let created = walk.create("rw", &[share.name])?;
        let [copy] = created.copies.as_slice() else {
            return fail("one share, several copies");
        };
        let copied = exposed(share.name, copy);
        walk.holds(&copied, "wanted/file", "wanted")?;
        let listing = lab.smbclient(lab.backup(), &copied, "ls").check()?;
        walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
        walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
        Ok::<_, Failed>(listing.says("unwanted"))
    };
    names(&["set", share.name, "wanted", "lost/file"])?;
    // Refused by name, and the list stays for a set that can be made.
    is_named_by_the_daemon(lab, share.name, &share.path.join("lost"))?;
    if walk.create("rw", &[share.name]).is_ok() || !is_listed()? {
        return fail("a set without a file that its list names, or a list that it used up");
    }
    names(&["set", share.name, "wanted"])?;
    if lives()? || is_listed()? {
        return fail("a list for the next set was not obeyed, or was not used up");
    }
    if !lives()? {
        return fail("the set after it does not hold the whole share");
    }
    names(&["set", share.name, "wanted", "--standing"])?;
    for _ in 0..2 {
        if lives()? || !is_listed()? {
            return fail("a standing list was not obeyed, or was used up");
        }
    }
    names(&["clear", share.name])?;
    if !lives()? {
        return fail("the list stays after it was cleared");
    }
    fs::remove_dir_all(share.path.join("unwanted"))?;
    Ok(fs::remove_dir_all(share.path.join("wanted"))?)
}

/// A list for one set, across a restart, and a standing one.
fn file_list(lab: &Lab) -> CaseResult {
    let (share, walk) = (lab.share(ShareKey::B), Walk::of(lab));
    let path = format!("/v1/shares/{}/targets", share.name.to_uppercase());
    let ask = |verb: &str, body: &str, expected: u16| {
        let answer = unix_http(&lab.admin_socket(), verb, &path, body)?;
        if answer.status != expected {
            return fail(format!("{verb} {body}: {} {}", answer.status, answer.body));
        }
        Ok(answer.body)
    };
    for name in ["wanted/in", "also", "unwanted"] {
        fs::create_dir_all(share.path.join(name))?;
        fs::write(share.path.join(name).join("file"), name)?;
    }
    // In the way of the whole share.
    symlink("/etc", share.path.join("unwanted/link"))?;
    ask("GET", "", 404)?;
    let wanted = r#"{"files": ["wanted", "also/file"]}"#;
    ask("PUT", r#"{"files": ["none"]}"#, 200)?;
    let output = lab
        .rpcclient(lab.backup(), &format!("fss_is_path_sup {}", share.name))
        .output()?;
    if !output.says("0x8004230c") {
        return fail(format!("a list names what is not there: {}", output.text()));
    }
    ask("PUT", wanted, 200)?;
    lab.restart_agent()?;
    let shown: serde_json::Value = serde_json::from_str(&ask("GET", "", 200)?)?;
    let kept = serde_json::json!(["wanted", "also/file"]);
    if shown.get("files") != Some(&kept) || shown.get("standing") != Some(&false.into()) {
        return fail(format!("after a restart: {shown}"));
    }
    let created = walk.create("ro", &[share.name])?;
    let [copy] = created.copies.as_slice() else {
        return fail("one share, several copies");
    };
    let copied = exposed(share.name, copy);
    walk.holds(&copied, "wanted/in/file", "wanted/in")?;
    walk.holds(&copied, "also/file", "also")?;
    let listing = lab.smbclient(lab.backup(), &copied, "ls").check()?;
    if listing.says("unwanted") {
        return fail(listing.text());
    }
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
    // Used up by that one set.
    ask("GET", "", 404)?;
    ask("PUT", r#"{"files": ["also"], "standing": true}"#, 200)?;
    for _ in 0..2 {
        let created = walk.create("ro", &[share.name])?;
        let [copy] = created.copies.as_slice() else {
            return fail("one share, several copies");
        };
        walk.holds(&exposed(share.name, copy), "also/file", "also")?;
        walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
        walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
    }
    lab.restart_agent()?;
    ask("DELETE", "", 200)?;
    ask("DELETE", "", 404)?;
    fs::remove_dir_all(share.path.join("unwanted"))?;
    Ok(())
}
