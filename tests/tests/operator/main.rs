//! What an operator does and sees beside a real Samba: retention that respects clients, kept
//! snapshots, acts, and a doctor who finds what was broken on purpose.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value without a field is null"
)]

mod doctor;
mod elsewhere;
mod restore;

use fsrvp_testkit::{AgentKind, Lab, LabOptions, Run, ShareKey, unix_http, unix_http_get};
use fsrvp_tests::walk::{Walk, exposed};
use fsrvp_tests::{CaseResult, Suite, fail};
use libtest_mimic::Failed;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let suite = Suite::new(|agent: AgentKind| {
        LabOptions::for_test(agent).server_line(
            "[[server.share]]\nname = \"vm\"\nkeep = { name = \"kept-{copy}\", count = 2 }",
        )
    });
    suite
        .case("a_copy_that_a_client_has_open_outlives_its_age", retention)
        .case("a_snapshot_is_kept_and_outlives_its_set", keeping)
        .case(
            "a_restore_that_is_killed_leaves_the_old_or_the_new",
            restore::killed,
        )
        .case("the_whole_of_a_share_is_restored", restore::whole_share)
        .case(
            "what_a_client_has_open_is_not_replaced_unasked",
            restore::open_over_smb,
        )
        .case(
            "a_disk_that_fails_in_the_middle_of_a_restore_is_told",
            restore::failing_disk,
        )
        .case(
            "the_doctor_does_not_wait_for_a_tool_that_hangs",
            elsewhere::hanging_tool,
        )
        .case("an_operator_ends_what_a_client_left", acts)
        .case("space_is_told", space)
        .case("the_doctor_finds_what_was_broken_in_samba", doctor::samba)
        .case("the_doctor_finds_who_has_the_pipe", doctor::pipe)
        .case("the_doctor_finds_what_is_wrong_with_shares", doctor::shares)
        .case(
            "the_doctor_finds_what_is_wrong_with_the_system",
            doctor::system,
        )
        .case("the_doctor_finds_what_is_left_over", doctor::leftovers)
        .case("the_doctor_finds_a_profile_in_the_way", elsewhere::apparmor)
        .case(
            "the_doctor_finds_what_is_old_and_a_clock_that_is_behind",
            elsewhere::clock,
        )
        .case(
            "the_doctor_finds_a_table_of_a_newer_version",
            elsewhere::newer_table,
        )
        .case("the_start_of_the_daemon_says_the_same", doctor::start)
        .and_nothing_is_left()
        .run()
}

pub(crate) fn ask(lab: &Lab, path: &str) -> Result<Value, Failed> {
    let answer = unix_http_get(&lab.admin_socket(), path)?;
    if answer.status != 200 {
        return fail(format!("{path}: {}", answer.body));
    }
    Ok(serde_json::from_str(&answer.body)?)
}

pub(crate) fn order(lab: &Lab, verb: &str, path: &str, body: &str) -> Result<Value, Failed> {
    let answer = unix_http(&lab.admin_socket(), verb, path, body)?;
    if answer.status != 200 {
        return fail(format!("{verb} {path}: {}", answer.body));
    }
    Ok(serde_json::from_str(&answer.body)?)
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> Result<bool, Failed>) -> CaseResult {
    let held = fsrvp_testkit::until(PATIENCE, || Ok::<_, Failed>(holds()?.then_some(())))?;
    held.ok_or_else(|| format!("{what}: not within {PATIENCE:?}").into())
}

/// A client that stays connected to a share until it is dropped.
pub(crate) struct Client(Child);

impl Client {
    pub(crate) fn connect(lab: &Lab, share: &str) -> Result<Self, Failed> {
        let account = lab.backup();
        let mut command = Command::new("smbclient");
        command
            .arg("-s")
            .arg(lab.smb_conf())
            .args(["-p", &lab.port().to_string(), "-U"])
            .arg(format!("{}%{}", account.user, account.password))
            .arg(format!("//127.0.0.1/{share}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let client = Self(command.spawn()?);
        let conf = lab.smb_conf();
        until("the client is connected", || {
            let listed = Run::new("smbstatus")
                .arg("-s")
                .arg(&conf)
                .arg("--shares")
                .output()?;
            Ok(listed.stdout.contains(share))
        })?;
        Ok(client)
    }

    /// Tells smbclient to do something, and waits for nothing.
    pub(crate) fn tell(&mut self, command: &str) -> CaseResult {
        if let Some(stdin) = &mut self.0.stdin {
            writeln!(stdin, "{command}")?;
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has_set(lab: &Lab, set: &str) -> Result<bool, Failed> {
    let copies = ask(lab, "/v1/copies")?;
    let copies = copies["copies"].as_array().cloned().unwrap_or_default();
    Ok(copies.iter().any(|copy| copy["set"] == set))
}

fn retention(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::B).name;
    let walk = Walk::of(lab);
    let created = walk.create("rw", &[share])?;
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    let [copy] = created.copies.as_slice() else {
        return fail("one share, several copies");
    };
    let client = Client::connect(lab, &exposed(share, copy))?;
    let rule = r#"{"age_seconds": 1}"#;
    until("the set is old enough to go", || {
        let pruned = order(lab, "POST", "/v1/prune", rule)?;
        Ok(pruned.to_string().contains(&created.set))
    })?;
    until("it is told that the set stays", || {
        let events = ask(lab, &format!("/v1/events?set={}", created.set))?;
        Ok(events.to_string().contains("fsrvp.retention.held"))
    })?;
    if !has_set(lab, &created.set)? {
        return fail("the set went although a client has its copy open");
    }
    drop(client);
    until("the set goes once nobody uses it", || {
        order(lab, "POST", "/v1/prune", rule)?;
        Ok(!has_set(lab, &created.set)?)
    })
}

fn keeping(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::A);
    let walk = Walk::of(lab);
    let file = share.path.join("kept");
    let mut names = Vec::new();
    for content in ["one", "two", "three"] {
        fs::write(&file, content)?;
        let created = walk.create("rw", &[share.name])?;
        let [copy] = created.copies.as_slice() else {
            return fail("one share, several copies");
        };
        walk.put(&exposed(share.name, copy), "recovered")?;
        walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
        let name = format!("kept-{copy}");
        until("the snapshot is kept", || {
            Ok(ask(lab, "/v1/snapshots")?.to_string().contains(&name))
        })?;
        names.push(name);
        walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
    }
    // The oldest of three is one too many.
    let kept = ask(lab, "/v1/snapshots")?;
    let list = kept["snapshots"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> = list
        .iter()
        .filter_map(|kept| kept["name"].as_str())
        .collect();
    if found != names.iter().skip(1).collect::<Vec<_>>() {
        return fail(format!("{found:?}, not the last two of {names:?}"));
    }
    for (kept, content) in list.iter().zip(["two", "three"]) {
        let path = Path::new(kept["path"].as_str().unwrap_or_default());
        if fs::read_to_string(path.join("kept"))? != content || !path.join("recovered").exists() {
            return fail(format!(
                "{} does not hold the recovered copy",
                path.display()
            ));
        }
        if fs::write(path.join("late"), "").is_ok() {
            return fail(format!("{} can be written", path.display()));
        }
    }
    // Neither a restart nor what recovery does there touches them, and the share can be copied.
    lab.restart_agent()?;
    if ask(lab, "/v1/snapshots")? != kept {
        return fail("a restart changed the kept snapshots");
    }
    walk.run(ShareKey::A, true)?;
    until("all of them can be deleted", || {
        let kept = ask(lab, "/v1/snapshots")?;
        for kept in kept["snapshots"].as_array().into_iter().flatten() {
            let text = |key: &str| kept[key].as_str().unwrap_or_default().to_owned();
            let path = format!(
                "/v1/snapshots/{}/{}/{}",
                text("server"),
                text("share"),
                text("name")
            );
            order(lab, "DELETE", &path, "")?;
        }
        Ok(ask(lab, "/v1/snapshots")?["snapshots"] == serde_json::json!([]))
    })
}

fn acts(lab: &Lab) -> CaseResult {
    let walk = Walk::of(lab);
    let names = [ShareKey::A, ShareKey::B].map(|key| lab.share(key).name);
    let created = walk.create("rw", &names)?;
    order(lab, "POST", &format!("/v1/sets/{}/abort", created.set), "")?;
    if has_set(lab, &created.set)? {
        let sets = ask(lab, "/v1/sets")?;
        return fail(format!("an aborted set is there: {sets}"));
    }
    let created = walk.create("rw", &[names[1]])?;
    order(lab, "POST", &format!("/v1/sets/{}/seal", created.set), "")?;
    if walk.put(&exposed(names[1], &created.copies[0]), "late")? {
        return fail("what an operator sealed can be written");
    }
    order(
        lab,
        "DELETE",
        &format!("/v1/copies/{}", created.copies[0]),
        "",
    )?;
    if has_set(lab, &created.set)? {
        let sets = ask(lab, "/v1/sets")?;
        return fail(format!("the last copy did not take the set along: {sets}"));
    }
    Ok(())
}

fn space(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::B);
    let walk = Walk::of(lab);
    let file = share.path.join("big");
    fs::write(&file, vec![7; 1 << 20])?;
    let created = walk.create("ro", &[share.name])?;
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    let own = || -> Result<u64, Failed> {
        let space = ask(lab, "/v1/space")?;
        let items = space["items"].as_array().cloned().unwrap_or_default();
        let item = items.iter().find(|item| item["share"] == share.name);
        let item = item.ok_or_else(|| Failed::from(format!("no copy in {space}")))?;
        item["exclusive_bytes"]
            .as_u64()
            .ok_or_else(|| Failed::from(format!("no bytes in {item}")))
    };
    let before = own()?;
    fs::remove_file(&file)?;
    Run::new("sync").arg("-f").arg(&share.path).check()?;
    let after = own()?;
    order(lab, "DELETE", &format!("/v1/sets/{}", created.set), "")?;
    if before >= 1 << 20 || after < 1 << 20 {
        return fail(format!(
            "{before} bytes before the base file went, {after} after"
        ));
    }
    Ok(())
}
