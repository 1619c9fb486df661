//! `fsrvpctl restore`.

use crate::house::House;
use crate::session::{Session, Who};
use fsrvp_testkit::comes_true;
use fsrvp_tests::fail;
use fsrvp_tests::operator::Step;
use libtest_mimic::Failed;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) fn restore(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    for file in [
        "/srv/vm/notes.txt",
        "/srv/vm/win11/disk.vhdx",
        "/srv/vms/vm1/disk.vhdx",
    ] {
        fs::write(file, "old")?;
    }
    for file in ["/srv/vm/notes.old", "/srv/vm/later.txt"] {
        let _ = fs::remove_file(file);
    }
    let backup = house.backup(&["vm"], Step::Recover)?;
    let snapshot = house.kept(&backup)?;
    let copy = format!("vm@{{{}}}", backup.copies[0]);
    for file in [
        "/srv/vm/notes.txt",
        "/srv/vm/win11/disk.vhdx",
        "/srv/vm/later.txt",
    ] {
        fs::write(file, "new")?;
    }
    let mut from = |arguments: &[&str]| session.run(&[&["restore", "vm"], arguments].concat());
    let kept = ["--snapshot", snapshot.as_str()];
    from(&[&["notes.txt", "--to", "notes.old"], kept.as_slice()].concat())?;
    from(&[&["notes.txt", "--to", "notes.old"], kept.as_slice()].concat())?;
    from(&[&["notes.txt", "--to", "old/notes"], kept.as_slice()].concat())?;
    from(&["win11", "--copy", &copy])?;
    from(&["notes.txt", "--copy", &copy, "--json"])?;
    from(&["later.txt", "--copy", &copy])?;
    from(&["gone/notes.txt", "--copy", &copy])?;
    from(&["etc/passwd", "--copy", &copy])?;
    from(&[".", "--copy", &copy])?;
    from(&[".", "--to", "all", "--copy", &copy])?;
    let is_back = fs::read_to_string("/srv/vm/win11/disk.vhdx")? == "old";
    if is_back != (session.who == Who::Root) {
        return fail(format!("{:?} restored: {is_back}", session.who));
    }
    let client = Client::opens("/srv/vm/notes.txt")?;
    let refused = session.run(&["restore", "vm", "notes.txt", "--copy", &copy]);
    drop(client);
    refused?;
    // A clone is a mount, and the share a plain directory.
    let cloned = house.backup(&["vms"], Step::Recover)?;
    let copy = format!("vms@{{{}}}", cloned.copies[0]);
    fs::write("/srv/vms/vm1/disk.vhdx", "new")?;
    session.run(&["restore", "vms", ".", "--copy", &copy])?;
    let is_back = fs::read_to_string("/srv/vms/vm1/disk.vhdx")? == "old";
    if is_back != (session.who == Who::Root) {
        return fail(format!(
            "{:?} restored the whole share: {is_back}",
            session.who
        ));
    }
    let exposed = house.backup(&["sql"], Step::Expose)?;
    let copy = format!("sql@{{{}}}", exposed.copies[0]);
    session.run(&["restore", "sql", "x", "--copy", &copy])?;
    session.run(&["restore", "vm", "x", "--copy", &copy])
}

/// A process by the name of smbd that has a file open.
struct Client(Child);

impl Client {
    fn opens(path: &str) -> Result<Self, Failed> {
        fs::copy("/usr/bin/tail", "/run/room/smbd")?;
        let mut command = Command::new("/run/room/smbd");
        command
            .args(["-f", path])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let client = Self(command.spawn()?);
        let files = format!("/proc/{}/fd", client.0.id());
        let has_it = || {
            let open = fs::read_dir(&files).into_iter().flatten().flatten();
            let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            open.any(|file| file.to_string_lossy() == path)
        };
        match comes_true(Duration::from_secs(10), has_it) {
            true => Ok(client),
            false => fail("the file is not opened"),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
