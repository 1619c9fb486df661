//! What the btrfs backend adds to the bare ioctl: `commit_cost DIRECTORY [ROUNDS]`, as root, with
//! a directory on btrfs. Both sides take turns in one run, each after a write and a flush.
#![allow(clippy::print_stdout, reason = "this program prints a table")]

use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopyRef, CopySource, Exposure, SourceShare};
use fsrvp_snapshot::{Btrfs, BtrfsConfig, Deadline, SnapshotBackend};
use fsrvp_sys::btrfs::{self, SnapshotMode};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<Duration>>);

impl Times {
    fn take<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.0.entry(name).or_default().push(started.elapsed());
        result
    }

    fn median(&self, name: &str) -> Duration {
        let mut times = self.0.get(name).cloned().unwrap_or_default();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let rounds: usize = arguments.next().map_or(Ok(100), |rounds| rounds.parse())?;
    let parent = File::open(&directory)?;
    btrfs::subvolume_create(parent.as_fd(), "commit-cost")?;
    let share = directory.join("commit-cost");
    let backend = Btrfs::new(BtrfsConfig {
        server: "commit-cost".into(),
        run_dir: std::env::temp_dir().join(format!("commit-cost-{}", std::process::id())),
        known: vec![directory.clone()],
    });
    let mut times = Times::default();
    for round in 0..rounds {
        for ours in [round % 2 == 0, round % 2 != 0] {
            fs::write(share.join("file"), round.to_string().repeat(1_000))?;
            if ours {
                cycle(&backend, &share, &mut times)?;
            } else {
                bare(&parent, &share, &mut times)?;
            }
        }
    }
    backend.unmount_all()?;
    btrfs::subvolume_destroy(parent.as_fd(), "commit-cost")?;
    for name in times.0.keys() {
        println!(
            "{name:<24} {:8.1} us",
            times.median(name).as_secs_f64() * 1e6
        );
    }
    let ratio = times.median("commit").as_secs_f64() / times.median("bare ioctl").as_secs_f64();
    println!("commit / bare ioctl      {ratio:8.3}    ({rounds} rounds)");
    Ok(())
}

fn bare(parent: &File, share: &Path, times: &mut Times) -> Outcome<()> {
    let source = File::open(share)?;
    rustix::fs::syncfs(&source)?;
    let name = "commit-cost-bare";
    times.take("bare ioctl", || {
        btrfs::snapshot_create(source.as_fd(), parent.as_fd(), name, SnapshotMode::Writable)
    })?;
    times.take("bare delete + sync", || {
        btrfs::subvolume_destroy(parent.as_fd(), name)?;
        btrfs::commit_transaction(parent.as_fd())
    })?;
    Ok(())
}

fn cycle(backend: &Btrfs, share: &Path, times: &mut Times) -> Outcome<()> {
    let probe = times.take("probe", || backend.probe(share))?;
    let base = ShareName::new("share");
    let source = CopySource {
        copy: ShadowCopyId(uuid::Uuid::new_v4()),
        backend: backend.name(),
        volume: probe.volume,
        shares: vec![SourceShare {
            share: base.clone(),
            path: share.to_owned(),
            inner: probe.inner.clone(),
        }],
    };
    let copy = CopyRef {
        copy: source.copy,
        backend: source.backend.clone(),
        volume: source.volume.clone(),
    };
    let sources = [source];
    times.take("prepare", || {
        backend.prepare(&sources, &Deadline::default())
    })?;
    times.take("commit", || {
        backend.commit(&sources, true, &Deadline::default())
    })?;
    let exposure = Exposure {
        copy: copy.clone(),
        base,
        name: String::new(),
        inner: probe.inner,
        writable: true,
        created: FileTime::from_unix(Duration::from_secs(1_700_000_000)),
    };
    let path = times.take("expose", || backend.expose(&exposure))?;
    fs::write(path.join("recovered"), b"data")?;
    times.take("seal", || backend.seal(&copy))?;
    times.take("verify", || backend.verify_sealed(&copy, &path))?;
    times.take("delete", || backend.delete(&copy))?;
    Ok(())
}
