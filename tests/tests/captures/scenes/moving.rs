//! What docs/operations.md says of a volume, or a whole server, that moves to another host, and of the backup of the
//! state directory: the other host has nothing of the first but what is carried there.

use crate::house::{CONFIG, House, next_second};
use crate::session::Session;
use fsrvp_testkit::Run;
use fsrvp_tests::fail;
use fsrvp_tests::operator::Step;
use libtest_mimic::Failed;
use std::fs;
use std::path::Path;

const TABLE: &str = "/var/lib/fsrvpd/table.redb";
const SAVED: &str = "/run/room/table.redb";

/// A volume moves, its sets have ended; kept snapshots travel with it.
pub(crate) fn volume(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    fs::write("/srv/vm/notes.txt", "old")?;
    let backup = house.backup(&["vm"], Step::Recover)?;
    let snapshot = house.kept(&backup)?;
    let set = backup.set.to_string();
    drop(backup);
    session.run(&["delete", &set])?;
    session.run(&["sets"])?;
    session.run(&["status"])?;
    house.pack()?;
    house.unpack(None)?;
    session.run(&["sets"])?;
    session.run(&["doctor"])?;
    session.run(&["snapshots"])?;
    fs::write("/srv/vm/notes.txt", "new")?;
    session.run(&["restore", "vm", "notes.txt", "--snapshot", &snapshot])?;
    if fs::read_to_string("/srv/vm/notes.txt")? != "old" {
        return fail("the snapshot did not travel");
    }
    // A server of another name has nothing to do with them; they stay for its administrator.
    house.stop()?;
    let other = CONFIG.replace("[[server]]\n", "[[server]]\nname = \"OTHER\"\n");
    fs::write("/etc/fsrvpd.toml", other)?;
    house.start()?;
    let looked = session.run(&["snapshots"]);
    house.stop()?;
    fs::write("/etc/fsrvpd.toml", CONFIG)?;
    house.start()?;
    looked?;
    session.run(&["delete", "--snapshot", "vm", &snapshot])
}

/// A server moves with its volumes and its table: sets, copies and exposed shares come back.
pub(crate) fn server(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    let recovered = house.backup(&["vm"], Step::Recover)?;
    house.kept(&recovered)?;
    next_second();
    let exposed = house.backup(&["sql", "vms"], Step::Expose)?;
    let names = [recovered.exposed(0), exposed.exposed(0), exposed.exposed(1)];
    let set = exposed.set.to_string();
    drop((recovered, exposed));
    house.pack()?;
    fs::copy(TABLE, SAVED)?;
    house.unpack(Some(Path::new(SAVED)))?;
    session.run(&["sets"])?;
    session.run(&["doctor"])?;
    let offered = Run::new("net").args(["conf", "listshares"]).check()?.stdout;
    for name in &names {
        if !offered.contains(name.as_str()) {
            return fail(format!("{name} is not offered: {offered}"));
        }
    }
    session.run(&["seal", &set])?;
    session.run(&["space"])?;
    session.run(&["delete", &set])
}

/// The table is put back from its backup: what it has is there, what came later goes.
pub(crate) fn backup(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    let before = house.backup(&["sql"], Step::Recover)?.exposed(0);
    house.stop()?;
    fs::copy(TABLE, SAVED)?;
    house.start()?;
    next_second();
    let after = house.backup(&["sql"], Step::Recover)?.exposed(0);
    session.run(&["sets"])?;
    house.stop()?;
    fs::remove_file(TABLE)?;
    let refused = house.start();
    let told = refused
        .err()
        .map(|failed| failed.message().unwrap_or_default().to_owned());
    let told = told.ok_or("fsrvpd starts without its table")?;
    if !told.contains("--begin-anew") {
        return fail(told);
    }
    house.stop()?;
    fs::copy(SAVED, TABLE)?;
    house.start()?;
    session.run(&["sets"])?;
    let offered = Run::new("net").args(["conf", "listshares"]).check()?.stdout;
    if !offered.contains(&before) || offered.contains(&after) {
        return fail(format!(
            "{before} and not {after} is to be offered: {offered}"
        ));
    }
    Ok(())
}
