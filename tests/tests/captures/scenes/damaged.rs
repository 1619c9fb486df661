//! What is wrong with the machine, or with the daemon.

use crate::fake::{self, http};
use crate::house::{CONFIG, House};
use crate::session::{Session, Who};
use fsrvp_tests::operator::Step;
use libtest_mimic::Failed;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

pub(crate) fn doctor(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    house.backup(&["vm"], Step::Recover)?;
    session.run(&["doctor"])?;
    session.run(&["doctor", "--all"])?;
    let area = fs::read_dir("/run/fsrvpd")?
        .flatten()
        .map(|entry| entry.path().join(".fsrvpd"))
        .find(|area| area.exists())
        .ok_or("no area is mounted")?;
    let mode = |mode| fs::set_permissions(&area, fs::Permissions::from_mode(mode));
    mode(0o755)?;
    session.run(&["doctor"])?;
    session.run(&["doctor", "--fix"])?;
    if session.who == Who::Root && fs::metadata(&area)?.permissions().mode() & 0o777 != 0o711 {
        return Err("--fix did not mend the mode".into());
    }
    mode(0o711)?;
    let config = "/etc/broken.toml";
    fs::write(config, CONFIG.replace("ws2012", "nt4"))?;
    session.run(&["doctor", "--config", config])?;
    session.run(&["doctor", "--config", "/etc/no-such.toml"])?;
    house.kill()?;
    let played = session.run(&["doctor"]);
    house.start()?;
    played
}

pub(crate) fn other_daemon(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    let newer = fake::daemon(
        "newer.sock",
        http!(
            "200 OK",
            r#"{"api": 2, "servers": {"FS": {"sets": "see /v2/sets"}}}"#
        ),
    )?;
    for verb in [
        ["sets"].as_slice(),
        &["show", "1234"],
        &["shares"],
        &["events"],
        &["watch"],
        &["log"],
    ] {
        session.run(&[verb, &["--socket", &newer]].concat())?;
    }
    let older = fake::daemon(
        "older.sock",
        http!(
            "404 Not Found",
            r#"{"error": {"code": "not_found", "message": "there is nothing at /v1/space"}}"#
        ),
    )?;
    session.run(&["space", "--socket", &older])?;
    let busy = fake::daemon(
        "busy.sock",
        http!(
            "503 Service Unavailable",
            r#"{"error": {"code": "busy", "message": "the shares are being looked at: ask again"}}"#
        ),
    )?;
    session.run(&["shares", "--socket", &busy])?;
    let proxy = fake::daemon(
        "proxy.sock",
        http!("502 Bad Gateway", "<html>Bad Gateway</html>"),
    )?;
    session.run(&["sets", "--socket", &proxy])?;
    let silent = fake::daemon("silent.sock", "")?;
    session.run(&["sets", "--socket", &silent])?;
    let other = fake::daemon("other.sock", "220 mail.example.com ESMTP\r\n")?;
    session.run(&["sets", "--socket", &other])?;
    let alike = fake::daemon(
        "alike.sock",
        http!(
            "200 OK",
            r#"{"servers": {"FS": {"profile": "spec", "context": {"is_set": false}, "debts": [], "jobs": [], "sets": [
                {"id": "00000000-aaaa-0000-0000-000000000001", "status": "exposed", "context": 9, "account": "a",
                 "writable": true, "started": "", "changed": "", "phases": [], "copies": []},
                {"id": "00000000-aaaa-0000-0000-000000000002", "status": "exposed", "context": 9, "account": "a",
                 "writable": true, "started": "", "changed": "", "phases": [], "copies": []}]}}}"#
        ),
    )?;
    session.run(&["abort", "00000000-aaaa", "--socket", &alike])
}

pub(crate) fn stopped(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    house.backup(&["sql"], Step::Recover)?;
    house.kill()?;
    let played = without_daemon(session);
    house.start()?;
    played
}

fn without_daemon(session: &mut Session) -> Result<(), Failed> {
    session.run(&["status"])?;
    session.run(&["abort", "00000000-0000-0000-0000-00000000abcd"])?;
    session.run(&["watch"])?;
    session.run(&["config", "check"])?;
    fs::remove_file(Path::new("/run/fsrvpd/admin.sock"))?;
    for verb in VERBS {
        session.run(verb)?;
    }
    Ok(())
}

/// Every verb that asks the daemon, once.
pub(super) const VERBS: [&[&str]; 24] = [
    &["status"],
    &["sets"],
    &["show", "1234abcd"],
    &["shares"],
    &["providers"],
    &["connections"],
    &["abort", "1234abcd"],
    &["seal", "1234abcd"],
    &["delete", "1234abcd"],
    &["delete", "--copy", "00000000-0000-0000-0000-00000000abcd"],
    &["delete", "--snapshot", "vm", "nightly"],
    &["prune"],
    &["forget", "7", "--yes"],
    &["restore", "vm", "notes.txt", "--snapshot", "nightly"],
    &["snapshots"],
    &["space"],
    &["targets", "list"],
    &["targets", "set", "vms", "vm1"],
    &["targets", "clear", "vms"],
    &["events"],
    &["watch"],
    &["config", "show"],
    &["config", "reload"],
    &["log", "debug"],
];
