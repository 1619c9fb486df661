//! What the doctor finds in the kernel, in time and in the table.

use crate::doctor::{Doctor, OVERLAYS, absent, command, present};
use crate::order;
use fsrvp_testkit::{Lab, Run, ShareKey, programs};
use fsrvp_tests::walk::Walk;
use fsrvp_tests::{CaseResult, fail, faketime_library};
use redb::{Database, TableDefinition};
use std::fs;
use std::time::{Duration, Instant};

/// Where the kernel has no AppArmor, its answer about smbd is a file that is mounted over the kernel's, and the parser a
/// program that is content. The profile's own file, which the command writes, is a real one.
pub(crate) fn apparmor(lab: &Lab) -> CaseResult {
    let smbd = lab.smbd_pid().ok_or("smbd does not run")?;
    let machine = format!(
        "{OVERLAYS}
         mkdir -p /etc/apparmor.d/local
         : > /etc/apparmor.d/usr.sbin.smbd
         cp /bin/true /usr/sbin/apparmor_parser"
    );
    let enforced = format!(
        "echo 'smbd (enforce)' > $ROOM/profile
         mount --bind $ROOM/profile /proc/{smbd}/attr/current"
    );
    let what = ("apparmor", "does not let it into");
    let doctor = Doctor { lab };
    doctor.script_mended(what, &machine, &enforced).map(drop)
}

/// The doctor's own clock is another: a month later, and a day before.
pub(crate) fn clock(lab: &Lab) -> CaseResult {
    let doctor = Doctor { lab };
    let created = Walk::of(lab).create("rw", &[lab.share(ShareKey::B).name])?;
    Walk::of(lab).succeeds(&format!("fss_recovery_complete {}", created.set))?;
    let library = faketime_library()?;
    let library = library.display();
    let at = |offset: &str| {
        let script =
            format!("export LD_PRELOAD={library} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1");
        doctor.finds_after(&script, &[])
    };
    let (old, behind) = (
        ("old_copies", "older than 30 days"),
        ("clock", "behind the newest copy"),
    );
    for what in [old, behind] {
        absent(&doctor.finds()?, what)?;
    }
    // Setting the clock is no business of a test: that it is right is what mends it.
    let found = at("-1d")?;
    present(&found, behind)?;
    absent(&found, old)?;
    let found = at("+31d")?;
    absent(&found, behind)?;
    let found = present(&found, old)?;
    // "run: fsrvpctl delete SET; or let them go by themselves"
    let (mend, _) = command(&found.mend).split_once(';').ok_or("no command")?;
    let mut words = mend.split_whitespace();
    if words.next() != Some("fsrvpctl") {
        return fail(format!("old copies are mended by {mend}"));
    }
    let ctl = Run::new(programs::program("fsrvpctl")?).arg("--socket");
    ctl.arg(lab.admin_socket()).args(words).check()?;
    absent(&at("+31d")?, old)
}

/// A record that a newer version has written. What mends it is a backup of the table.
pub(crate) fn newer_table(lab: &Lab) -> CaseResult {
    const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
    let doctor = Doctor { lab };
    let table = lab.state_dir().join("table.redb");
    let kept = lab.dir().join("table.kept");
    lab.stop_agent(false)?;
    fs::copy(&table, &kept)?;
    let done = doctor.case(
        ("store", "version 99"),
        || {
            let database = Database::open(&table)?;
            let write = database.begin_write()?;
            let record = br#"{"version":99,"record":{}}"#;
            write
                .open_table(RECORDS)?
                .insert("context", record.as_slice())?;
            Ok(write.commit()?)
        },
        |mend| {
            fs::copy(&kept, &table)?;
            match mend.contains("from its backup") && mend.contains("that wrote it") {
                true => Ok(()),
                false => fail(format!("a newer table is mended by {mend}")),
            }
        },
    );
    fs::remove_file(&kept)?;
    lab.start_agent()?;
    done?;
    // It is the same table.
    order(lab, "POST", "/v1/prune", "").map(drop)
}

/// What the doctor asks may hang, which is why it was called.
pub(crate) fn hanging_tool(lab: &Lab) -> CaseResult {
    let doctor = Doctor { lab };
    let hang = "mount -t tmpfs none /mnt
        printf '#!/bin/sh\\nexec sleep 600\\n' > /mnt/hang
        chmod 755 /mnt/hang
        mount --bind /mnt/hang /usr/bin/python3";
    let begun = Instant::now();
    let found = doctor.finds_after(hang, &[])?;
    present(&found, ("helper", "cannot start"))?;
    match begun.elapsed() {
        took if took < Duration::from_secs(10) => fail(format!("python3 was given {took:?}")),
        took if took > Duration::from_secs(40) => fail(format!("the doctor took {took:?}")),
        _ => Ok(()),
    }
}
