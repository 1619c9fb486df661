//! What asks no daemon, and command lines that make no sense.

use crate::house::{CONFIG, House, ROOM};
use crate::session::Session;
use libtest_mimic::Failed;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

pub(crate) fn help(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    session.run(&["--help"])?;
    for verb in [
        "status",
        "sets",
        "show",
        "shares",
        "providers",
        "connections",
        "abort",
        "seal",
        "delete",
        "prune",
        "forget",
        "restore",
        "snapshots",
        "space",
        "targets",
        "events",
        "watch",
        "doctor",
        "config",
        "log",
        "report",
        "backend-check",
        "completions",
        "man",
    ] {
        session.run(&[verb, "--help"])?;
    }
    for verb in [
        ["targets", "list"],
        ["targets", "set"],
        ["targets", "clear"],
        ["config", "check"],
        ["config", "show"],
        ["config", "reload"],
    ] {
        session.run(&[verb[0], verb[1], "--help"])?;
    }
    session.run(&["--version"])
}

pub(crate) fn usage(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    session.run(&[])?;
    session.run(&["frobnicate"])?;
    session.run(&["snapshot"])?;
    session.run(&["show"])?;
    session.run(&["abort"])?;
    session.run(&["delete"])?;
    session.run(&["delete", "--snapshot", "vm"])?;
    session.run(&["restore", "vm", "notes.txt"])?;
    session.run(&["events", "--last", "5"])?;
    session.run(&["events", "--limit", "many"])?;
    session.run(&["completions", "command.com"])?;
    session.run(&["backend-check", "/etc/program"])?;
    session.run(&["targets"])?;
    session.run(&["config"])
}

pub(crate) fn config_check(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    session.run(&["config", "check"])?;
    session.run(&["config", "check", "/etc/no-such.toml"])?;
    let wrong: [(&str, String); 9] = [
        ("typing", CONFIG.replace("[[server]]", "[[server]")),
        ("unknown-key", CONFIG.replace("profile", "profil")),
        ("unknown-value", CONFIG.replace("ws2012", "nt4")),
        ("no-unit", CONFIG.replace("\"0s\"", "30")),
        ("bad-unit", CONFIG.replace("\"0s\"", "\"3 moons\"")),
        ("backend", CONFIG.replace("\"clone\"", "\"ntfs\"")),
        ("template", CONFIG.replace("nightly-{copy}", "nightly")),
        (
            "twice",
            format!("{CONFIG}[[server.share]]\nname = \"VM\"\n"),
        ),
        ("no-server", "[log]\nlevel = \"info\"\n".to_owned()),
    ];
    for (name, text) in wrong {
        let file = format!("/etc/{name}.toml");
        fs::write(&file, text)?;
        session.run(&["config", "check", &file])?;
    }
    session.run(&["config", "check", "/etc/no-server.toml", "--json"])
}

/// Files that are written: the report, the pages.
pub(crate) fn files(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    let place = Path::new("/run/files");
    let _ = fs::remove_dir_all(place);
    fs::create_dir(place)?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o777))?;
    session.run(&["report", "/run/files/report.json"])?;
    session.run(&["report", "/run/files/report.json"])?;
    session.run(&["report", "/run/nowhere/report.json"])?;
    session.run(&[
        "report",
        "/run/files/alone.json",
        "--socket",
        "/run/none.sock",
    ])?;
    session.run(&["man", "/run/files/man"])?;
    session.run(&["man", "/run/files/report.json"])?;
    session.run(&["report", "/etc/report.json"])?;
    let _ = fs::remove_file("/etc/report.json");
    session.run(&["man", "/run/room/man"])
}

fn script(name: &str, text: &str, mode: u32) -> Result<String, Failed> {
    let path = Path::new(ROOM).join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(path.to_string_lossy().into_owned())
}

pub(crate) fn backend_check(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    let volume = "/var/lib/other";
    let mut check = |script: &str| session.run(&["backend-check", script, "--directory", volume]);
    check("/usr/local/bin/no-such")?;
    check(&script("no-program", "", 0o644)?)?;
    check(&script(
        "says-nothing",
        "#!/bin/sh\ncat > /dev/null\n",
        0o755,
    )?)?;
    check(&script(
        "fails",
        "#!/bin/sh\necho 'the array is off' >&2\nexit 1\n",
        0o755,
    )?)?;
    check(&script("no-json", "#!/bin/sh\necho yes\n", 0o755)?)?;
    let program = script(
        "fails",
        "#!/bin/sh\necho 'the array is off' >&2\nexit 1\n",
        0o755,
    )?;
    session.run(&["backend-check", &program, "--directory", "/srv/no-such"])
}
