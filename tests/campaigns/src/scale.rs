//! A start with thousands of recorded copies, and the price of a commit of the table.

use crate::Outcome;
use crate::arguments::Scale;
use crate::client::{CallError, Client};
use crate::endurance::pss;
use crate::observed::{area, records};
use crate::plan::{Ending, Plan};
use crate::stage::Stage;
use crate::view::View;
use crate::walker::{Halt, Walker};
use fsrvp_sys::btrfs::{SnapshotMode, snapshot_create};
use fsrvp_testkit::{Random, Run, until};
use redb::{Database, TableDefinition};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longest time from the start of the process to an accepted SetContext.
const LIMIT: Duration = Duration::from_secs(2);
/// Most memory of the agent then, in KiB.
const MEMORY: u64 = 128 << 10;
/// How long a start is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Copies a share of the registry to many, as libsmbconf keeps them (registry.tdb, version 3): it
/// would look each of them up among all, which takes a quarter of an hour for 10,000.
const CLONE_SHARES: &str = r"
import os, struct, sys, tdb
KEY = b'HKLM\\SOFTWARE\\SAMBA\\SMBCONF'
model, names = sys.argv[2].upper().encode(), [line.split() for line in open(sys.argv[3])]
table = tdb.Tdb(sys.argv[1], 0, tdb.DEFAULT, os.O_RDWR)
assert struct.unpack('<I', table.get(b'INFO/version\0'))[0] == 3
values, subkeys = b'SAMBA_REGVAL\\' + KEY + b'\\', KEY + b'\\'
shared = table.get(values + model + b'\0')
below = table.get(subkeys + model + b'\0')
count, listed = struct.unpack_from('<I', table.get(KEY + b'\0'))[0], table.get(KEY + b'\0')[4:]
table.transaction_start()
for name, old, new in names:
    key = name.upper().encode() + b'\0'
    table.store(values + key, shared.replace(old.encode('utf-16-le'), new.encode('utf-16-le')))
    if below is not None:
        table.store(subkeys + key, below)
    listed += name.encode() + b'\0'
table.store(KEY + b'\0', struct.pack('<I', count + len(names)) + listed)
table.transaction_commit()
";

pub(crate) fn run(arguments: &Scale, fsrvpd: &Path) -> Outcome {
    println!("scale: {} copies", arguments.copies);
    let mut random = Random::new(1);
    let mut stage = Stage::set(fsrvpd, &mut random, |options| options.single_disk())?;
    stage.kill(true)?;
    stage.start()?;
    let mut walker = Walker::new(stage, random)?;
    let plan = Plan {
        context: 0x0040_0009,
        bases: vec![0],
        prepares: true,
        reconnects: false,
        ending: Ending::Recovered,
    };
    match walker.walk(&plan) {
        Ok(()) => {}
        Err(Halt::Died) => return Err("the agent died".into()),
        Err(Halt::Broken(error)) => return Err(error),
    }
    walker.client.hang_up();
    let mut stage = walker.stage;
    stage.settle()?;
    stage.kill(true)?;
    let made = Instant::now();
    multiply(&stage, arguments.copies)?;
    println!("made in {:.0?}", made.elapsed());

    // As a machine that has just started: nothing of the disk is in memory.
    stage.lab.photograph()?;
    stage.fall_and_boot()?;
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    let mut worst = Duration::ZERO;
    let mut memory = 0;
    for how in ["cold", "warm", "warm", "warm"] {
        let load = fs::read_to_string("/proc/loadavg")?;
        let (serving, kib) = start(&mut stage)?;
        println!(
            "{how}: serving after {:.0} ms, PSS {} MiB; load of the machine {}",
            serving.as_secs_f64() * 1e3,
            kib >> 10,
            load.split(' ').next().unwrap_or_default()
        );
        worst = worst.max(serving);
        memory = memory.max(kib);
        let view = View::ask(&stage.lab.admin_socket())?;
        if view.sets.len() != arguments.copies {
            return Err(format!("{} sets, not {}", view.sets.len(), arguments.copies).into());
        }
        if let Some(debt) = view.debts.first() {
            return Err(format!("{} debts, as {debt}", view.debts.len()).into());
        }
        stage.kill(true)?;
    }
    println!(
        "scale: {} copies: serving after {:.0} ms at most (limit {} ms), PSS {} MiB (limit {} MiB)",
        arguments.copies,
        worst.as_secs_f64() * 1e3,
        LIMIT.as_millis(),
        memory >> 10,
        MEMORY >> 10
    );
    stage.lab.down()?;
    if !arguments.only_measure && (worst > LIMIT || memory > MEMORY) {
        return Err("over the limit".into());
    }
    Ok(())
}

/// Starts the agent; time until a SetContext was accepted, and memory in KiB.
fn start(stage: &mut Stage) -> Outcome<(Duration, u64)> {
    let began = Instant::now();
    stage.spawn(&[], &[])?;
    let mut client = Client::new(&stage.lab.pipe())?;
    let accepted = || -> Outcome<_> {
        match client.call(async |client| client.set_context(0x0040_0009_u32).await) {
            Ok(()) => return Ok(Some(())),
            Err(CallError::Gone) => client.hang_up(),
            Err(CallError::Refused(why)) => return Err(why.into()),
        }
        match stage.ended()? {
            Some(status) => Err(format!("the agent ended: {status}").into()),
            None => Ok(None),
        }
    };
    until(PATIENCE, accepted)?.ok_or("the agent does not serve")?;
    let serving = began.elapsed();
    let pid = stage.pid().ok_or("no agent")?;
    Ok((serving, pss(pid)?))
}

/// Makes many copies of the only set: records, snapshots, shares and links, each with ids of its
/// own, as the agent itself would have made them in many hours.
fn multiply(stage: &Stage, copies: usize) -> Outcome {
    let model = records(&stage.lab)?;
    let (key, record) = model
        .iter()
        .find(|(key, _)| key.starts_with("set/"))
        .ok_or("no set is recorded")?;
    let set = key.trim_start_matches("set/");
    let copy = record
        .pointer("/record/copies/0/id")
        .and_then(|id| id.as_str())
        .ok_or("no copy is recorded")?;
    let text = record.to_string();
    let base = stage.bases.first().ok_or("no share")?;
    let area = area(&stage.lab, "btrfs1");
    let (source, folder) = (File::open(area.join(copy))?, File::open(&area)?);
    let links = area.join("previous").join(base.name);

    let mut names = String::new();
    let database = Database::open(stage.lab.state_dir().join("table.redb"))?;
    let write = database.begin_write()?;
    {
        const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
        let mut table = write.open_table(RECORDS)?;
        for number in 1..copies {
            let (new_set, new_copy) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
            let record = text.replace(set, &new_set).replace(copy, &new_copy);
            table.insert(format!("set/{new_set}").as_str(), record.as_bytes())?;
            snapshot_create(
                source.as_fd(),
                folder.as_fd(),
                &new_copy,
                SnapshotMode::ReadOnly,
            )?;
            let day = number / 86_400 + 1;
            let second = number % 86_400;
            let label = format!(
                "@GMT-2001.01.{day:02}-{:02}.{:02}.{:02}",
                second / 3600,
                second / 60 % 60,
                second % 60
            );
            symlink(format!("../../{new_copy}"), links.join(label))?;
            names.push_str(&format!("{}@{{{new_copy}}} {copy} {new_copy}\n", base.name));
        }
    }
    write.commit()?;
    let list = stage.lab.dir().join("names");
    fs::write(&list, names)?;
    Run::new("/usr/bin/python3")
        .args(["-c", CLONE_SHARES])
        .arg(stage.lab.samba_state_dir().join("registry.tdb"))
        .arg(format!("{}@{{{copy}}}", base.name))
        .arg(PathBuf::from(&list))
        .check()?;
    let shares = Run::new("net")
        .arg("-s")
        .arg(stage.lab.smb_conf())
        .args(["conf", "listshares"])
        .limit(Duration::from_secs(600))
        .check()?;
    let shown = shares.stdout.lines().filter(|line| line.contains("@{"));
    // The foreign share is one of them.
    if shown.count() != copies + 1 {
        return Err("Samba does not see all shares".into());
    }
    Run::new("sync").check()?;
    Ok(())
}
