//! Verbs that change something.

use crate::house::{CONFIG, House, ask};
use crate::session::Session;
use fsrvp_testkit::{Run, comes_true};
use fsrvp_tests::fail;
use fsrvp_tests::operator::Step;
use libtest_mimic::Failed;
use std::fs;
use std::time::Duration;

pub(crate) fn acts(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    let set = house.backup(&["vm"], Step::Expose)?.set.to_string();
    session.run(&["abort", &set])?;
    session.run(&["abort", &set])?;
    let set = house.backup(&["vm"], Step::Add)?.set.to_string();
    session.run(&["seal", &set])?;
    session.run(&["abort", &set[..8]])?;
    let backup = house.backup(&["vm"], Step::Expose)?;
    let (set, copy) = (backup.set.to_string(), backup.copies[0].to_string());
    session.run(&["seal", &set])?;
    session.run(&["seal", &set])?;
    session.run(&["abort", &set])?;
    let snapshot = house.kept(&backup)?;
    session.run(&["delete", "--copy", &copy])?;
    session.run(&["delete", &set])?;
    session.run(&["delete", "--snapshot", "vm", &snapshot])?;
    session.run(&["delete", "--snapshot", "vm", &snapshot])?;
    let set = house
        .backup(&["sql", "vms"], Step::Recover)?
        .set
        .to_string();
    session.run(&["delete", &set[..13]])?;
    let set = house.backup(&["sql"], Step::Recover)?.set.to_string();
    session.run(&["delete", &set, "--json"])?;
    session.run(&["sets"])
}

pub(crate) fn prune(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    session.run(&["prune"])?;
    house.backup(&["sql"], Step::Recover)?;
    session.run(&["prune", "--age", "30d"])?;
    session.run(&["prune", "--count", "1"])?;
    session.run(&["prune", "--count", "0"])?;
    session.run(&["prune", "--age", "3 moons"])?;
    session.run(&["prune", "--count", "-1"])
}

pub(crate) fn targets(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    session.run(&["targets", "set", "vms", "vm1"])?;
    session.run(&["targets", "list"])?;
    session.run(&[
        "targets",
        "set",
        "VMS",
        "vm1/disk.vhdx",
        "vm 2",
        "--standing",
    ])?;
    session.run(&["targets", "list", "vms"])?;
    session.run(&["targets", "list", "--server", "FS"])?;
    session.run(&["targets", "clear", "vms"])?;
    session.run(&["targets", "clear", "vms"])?;
    session.run(&["targets", "list", "vms"])?;
    session.run(&["targets", "set", "vm", "win11"])?;
    session.run(&["targets", "set", "vms", "../x"])?;
    session.run(&["targets", "set", "vms"])?;
    session.run(&["targets", "set", "vms", "--from", "/dev/null"])?;
    session.run(&["targets", "set", "vms", "--from", "/run/no-list"])?;
    session.run(&["targets", "set", "none", "a"])?;
    session.run(&["targets", "list", "vms", "--server", "OTHER"])
}

pub(crate) fn settings(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    session.run(&["log"])?;
    session.run(&["log", "info,fsrvp_snapshot=debug"])?;
    session.run(&["log"])?;
    session.run(&["log", "loud=and=clear"])?;
    session.run(&["log", "info"])?;
    session.run(&["config", "reload"])?;
    let played = reloads(session);
    fs::write("/etc/fsrvpd.toml", CONFIG)?;
    session.run(&["config", "reload"])?;
    played
}

fn reloads(session: &mut Session) -> Result<(), Failed> {
    let changed = CONFIG.replace("profile", "short_timer = \"2m\"\nprofile");
    fs::write("/etc/fsrvpd.toml", changed.replace("ws2012", "spec"))?;
    session.run(&["config", "reload"])?;
    fs::write("/etc/fsrvpd.toml", CONFIG.replace("ws2012", "nt4"))?;
    session.run(&["config", "reload"])?;
    fs::remove_file("/etc/fsrvpd.toml")?;
    session.run(&["config", "reload"])
}

pub(crate) fn leftovers(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    let backup = house.backup(&["sql"], Step::Recover)?;
    let sources = ask("/v1/shares/sql/sources")?;
    let path = sources["sources"][0]["path"].as_str().unwrap_or_default();
    // What something is mounted on cannot be destroyed.
    Run::new("mount")
        .args(["-t", "tmpfs", "none", path])
        .check()?;
    let played = owing(session, &backup.set.to_string());
    Run::new("umount").arg(path).check()?;
    played?;
    session.run(&["prune"])?;
    let paid = || ask("/v1/debts").is_ok_and(|debts| debts.to_string().contains("[]"));
    if !comes_true(Duration::from_secs(30), paid) {
        return fail("the debt is not paid");
    }
    session.run(&["status"])
}

fn owing(session: &mut Session, set: &str) -> Result<(), Failed> {
    session.run(&["delete", set])?;
    let debts = ask("/v1/debts")?;
    let number = debts["debts"][0]["number"].to_string();
    session.run_as("forget NUMBER", &["forget", &number])?;
    session.run_as("forget NUMBER --yes", &["forget", &number, "--yes"])?;
    session.run(&["forget", "4711"])?;
    session.run(&["forget", "one"])
}
