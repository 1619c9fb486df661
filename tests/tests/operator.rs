//! What an operator does and sees beside a real Samba: retention that respects clients, kept
//! snapshots, acts, and a doctor who finds what was broken on purpose.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value without a field is null"
)]

use fsrvp_testkit::{
    AgentKind, Lab, LabOptions, Run, ShareKey, programs, unix_http, unix_http_get,
};
use fsrvp_tests::walk::{Walk, exposed};
use fsrvp_tests::{CaseResult, Suite, fail};
use libtest_mimic::Failed;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

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
            restoring,
        )
        .case("an_operator_ends_what_a_client_left", acts)
        .case("space_is_told", space)
        .case("the_doctor_finds_what_was_broken", doctor)
        .and_nothing_is_left()
        .run()
}

fn ask(lab: &Lab, path: &str) -> Result<Value, Failed> {
    let answer = unix_http_get(&lab.admin_socket(), path)?;
    if answer.status != 200 {
        return fail(format!("{path}: {}", answer.body));
    }
    Ok(serde_json::from_str(&answer.body)?)
}

fn order(lab: &Lab, verb: &str, path: &str, body: &str) -> Result<Value, Failed> {
    let answer = unix_http(&lab.admin_socket(), verb, path, body)?;
    if answer.status != 200 {
        return fail(format!("{verb} {path}: {}", answer.body));
    }
    Ok(serde_json::from_str(&answer.body)?)
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool, Failed>) -> CaseResult {
    let begun = Instant::now();
    while !holds()? {
        if begun.elapsed() > PATIENCE {
            return fail(format!("{what}: not within {PATIENCE:?}"));
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A client that stays connected to a share until it is dropped.
struct Client(Child);

impl Client {
    fn connect(lab: &Lab, share: &str) -> Result<Self, Failed> {
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
    // What an age of one second says of a set that is two seconds old.
    sleep(Duration::from_secs(2));
    let rule = r#"{"age_seconds": 1}"#;
    let pruned = order(lab, "POST", "/v1/prune", rule)?;
    if !pruned.to_string().contains(&created.set) {
        return fail(format!("the set is not looked at: {pruned}"));
    }
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

/// The words of all files of a tree, which are the same in each of its two states.
fn words(tree: &Path, files: usize) -> Result<Option<String>, Failed> {
    let mut word: Option<String> = None;
    for number in 0..files {
        let Ok(found) = fs::read_to_string(tree.join(format!("d{}/f{number}", number % 7))) else {
            return Ok(None);
        };
        if word.as_ref().is_some_and(|word| *word != found) {
            return Ok(None);
        }
        word = Some(found);
    }
    Ok(word)
}

fn restoring(lab: &Lab) -> CaseResult {
    const FILES: usize = 1_500;
    let share = lab.share(ShareKey::A);
    let tree = share.path.join("tree");
    let fill = |word: &str| -> CaseResult {
        for number in 0..FILES {
            let directory = tree.join(format!("d{}", number % 7));
            fs::create_dir_all(&directory)?;
            fs::write(directory.join(format!("f{number}")), word)?;
        }
        Ok(())
    };
    fill("old")?;
    let walk = Walk::of(lab);
    let created = walk.create("ro", &[share.name])?;
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    let copy = exposed(
        share.name,
        created.copies.first().map_or("", String::as_str),
    );
    let restore = || -> Result<Command, Failed> {
        let mut command = Command::new(programs::program("fsrvpctl")?);
        command.arg("--socket").arg(lab.admin_socket());
        command.args(["restore", share.name, "tree", "--copy", &copy]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command)
    };
    let (mut old, mut new) = (0, 0);
    for round in 0..12_u64 {
        fill("new")?;
        let mut running = restore()?.spawn()?;
        sleep(Duration::from_millis(round * 90));
        let _ = running.kill();
        running.wait()?;
        match words(&tree, FILES)?.as_deref() {
            Some("new") => new += 1,
            Some("old") => old += 1,
            other => return fail(format!("round {round}: the tree is between: {other:?}")),
        }
    }
    println!("killed: {new} times as it was, {old} times as it should be");
    fill("new")?;
    // What a killed cp still writes goes with it or with the next run.
    until("it is restored", || Ok(restore()?.status()?.success()))?;
    if words(&tree, FILES)?.as_deref() != Some("old") {
        return fail("a restore that succeeded did not bring the tree back");
    }
    let beside = fs::read_dir(&share.path)?.flatten();
    let beside: Vec<_> = beside
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".fsrvp-restore"))
        .collect();
    fs::remove_dir_all(&tree)?;
    order(lab, "DELETE", &format!("/v1/sets/{}", created.set), "")?;
    if !beside.is_empty() {
        return fail(format!("{beside:?} lies beside the tree"));
    }
    Ok(())
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

/// What the doctor finds wrong, with the commands that mend it.
fn findings(lab: &Lab, more: &[&str]) -> Result<Vec<(String, String)>, Failed> {
    let output = Run::new(programs::program("fsrvpctl")?)
        .arg("--socket")
        .arg(lab.admin_socket())
        .args(["doctor", "--json", "--config"])
        .arg(lab.dir().join("agent/fsrvpd.toml"))
        .args(more)
        .output()?;
    let answer: Value = serde_json::from_str(&output.stdout)
        .map_err(|error| Failed::from(format!("{error}: {}", output.text())))?;
    let findings = answer["findings"].as_array().cloned().unwrap_or_default();
    let bad = findings
        .iter()
        .filter(|finding| finding["severity"] == "warning" || finding["severity"] == "problem");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(bad
        .map(|finding| (text(&finding["check"]), text(&finding["mend"])))
        .collect())
}

/// Breaks something, sees that the doctor finds it, mends it, and sees that it is gone.
fn found(
    lab: &Lab,
    check: &str,
    broken: impl FnOnce() -> CaseResult,
    mend: impl FnOnce(&str) -> CaseResult,
) -> CaseResult {
    let has = |findings: &[(String, String)]| findings.iter().any(|(name, _)| name == check);
    let before = findings(lab, &[])?;
    if has(&before) {
        return fail(format!(
            "{check} is found before anything was broken: {before:?}"
        ));
    }
    broken()?;
    let seen = findings(lab, &[]);
    let command = seen.as_ref().ok().and_then(|seen| {
        let (_, mend) = seen.iter().find(|(name, _)| name == check)?;
        Some(mend.clone())
    });
    mend(command.as_deref().unwrap_or_default())?;
    if command.is_none_or(|command| command.is_empty()) {
        return fail(format!("{check} is not found: {:?}", seen?));
    }
    if has(&findings(lab, &[])?) {
        return fail(format!("{check} is still found after it was mended"));
    }
    Ok(())
}

/// Runs what a finding says to run.
fn run_it(mend: &str) -> CaseResult {
    let command = mend.strip_prefix("run: ").unwrap_or(mend);
    Run::new("sh").args(["-c", command]).check()?;
    Ok(())
}

fn doctor(lab: &Lab) -> CaseResult {
    let conf = lab.smb_conf();
    let text = fs::read_to_string(&conf)?;
    let rewrite = |new: &str| -> CaseResult { Ok(fs::write(&conf, new)?) };
    let off = text.replace("registry shares = yes", "registry shares = no");
    found(lab, "registry_shares", || rewrite(&off), |_| rewrite(&text))?;
    let fickle = text.replacen("[global]", "[global]\n    include = /etc/samba/%m.conf", 1);
    found(
        lab,
        "include_files",
        || rewrite(&fickle),
        |_| rewrite(&text),
    )?;

    let np = lab.pipe().parent().map(Path::to_owned).unwrap_or_default();
    let mode =
        |mode| -> CaseResult { Ok(fs::set_permissions(&np, fs::Permissions::from_mode(mode))?) };
    found(lab, "np_directory", || mode(0o755), run_it)?;
    let owner = |uid| Ok(std::os::unix::fs::chown(&np, Some(uid), None)?);
    found(lab, "np_directory", || owner(65_534), run_it)?;
    // `--fix` does the same.
    mode(0o755)?;
    findings(lab, &["--fix"])?;
    if fs::metadata(&np)?.permissions().mode() & 0o777 != 0o700 {
        return fail("--fix did not mend the mode of the np directory");
    }

    let share = lab.share(ShareKey::B).path.clone();
    let nested = share.join("nested");
    let subvolume = |verb: &str| -> CaseResult {
        Run::new("btrfs")
            .args(["subvolume", verb])
            .arg(&nested)
            .check()?;
        Ok(())
    };
    found(
        lab,
        "nested_subvolume",
        || subvolume("create"),
        |_| subvolume("delete"),
    )?;
    let walk = Walk::of(lab);
    walk.run(ShareKey::A, true)?;
    let run_dirs: Vec<_> = fs::read_dir(lab.run_dir())?.flatten().collect();
    let area = run_dirs
        .iter()
        .map(|entry| entry.path().join(".fsrvpd"))
        .find(|path| path.exists());
    let area = area.ok_or("no area is mounted")?;
    let area_mode = |mode| -> CaseResult {
        Ok(fs::set_permissions(
            &area,
            fs::Permissions::from_mode(mode),
        )?)
    };
    found(lab, "area_mode", || area_mode(0o755), run_it)?;

    let groups = |verb: &str| -> CaseResult {
        Run::new("net")
            .arg("-s")
            .arg(&conf)
            .args(["groupmap", verb])
            .args(match verb {
                "delete" => vec!["sid=S-1-5-32-551".to_owned()],
                _ => vec![
                    "sid=S-1-5-32-551".to_owned(),
                    "ntgroup=Backup Operators".to_owned(),
                    format!("unixgroup={}", lab.backup().user),
                    "type=builtin".to_owned(),
                ],
            })
            .check()?;
        Ok(())
    };
    let listed = Run::new("net")
        .arg("-s")
        .arg(&conf)
        .args(["groupmap", "list"])
        .check()?;
    let line = listed
        .stdout
        .lines()
        .find(|line| line.contains("S-1-5-32-551"));
    let group = line
        .and_then(|line| line.rsplit_once("-> "))
        .map(|(_, group)| group.to_owned());
    let group = group.ok_or("the laboratory maps no group")?;
    found(
        lab,
        "builtin_groups",
        || groups("delete"),
        |mend| {
            let command = mend
                .replace(
                    "net groupmap",
                    &format!("net -s {} groupmap", conf.display()),
                )
                .replace("unixgroup=backup", &format!("unixgroup={group}"));
            run_it(&command)
        },
    )
}
