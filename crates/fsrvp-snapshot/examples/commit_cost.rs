//! What the btrfs backend adds to the bare ioctl: `commit_cost DIRECTORY [ROUNDS [VOLUMES]]`, as
//! root, with a directory on btrfs. Both sides take turns in one run, each after a write to every
//! volume and a flush; several bare ioctls are issued from as many threads as volumes, at most 32.
#![allow(clippy::print_stdout, reason = "this program prints a table")]

use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopyRef, CopySource, Exposure, SourceShare};
use fsrvp_snapshot::{Btrfs, BtrfsConfig, Deadline, SnapshotBackend};
use fsrvp_sys::btrfs::{self, SnapshotMode};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
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
    let volumes: usize = arguments.next().map_or(Ok(1), |volumes| volumes.parse())?;
    let parent = File::open(&directory)?;
    let names: Vec<_> = (0..volumes).map(|n| format!("commit-cost-{n}")).collect();
    for name in &names {
        btrfs::subvolume_create(parent.as_fd(), name)?;
    }
    let backend = Btrfs::new(BtrfsConfig {
        server: "commit-cost".into(),
        run_dir: std::env::temp_dir().join(format!("commit-cost-{}", std::process::id())),
        known: vec![directory.clone()],
    });
    let shares: Vec<_> = names.iter().map(|name| directory.join(name)).collect();
    let mut times = Times::default();
    for round in 0..rounds {
        for ours in [round % 2 == 0, round % 2 != 0] {
            for share in &shares {
                fs::write(share.join("file"), round.to_string().repeat(1_000))?;
            }
            if ours {
                cycle(&backend, &shares, &mut times)?;
            } else {
                bare(&parent, &shares, &mut times)?;
            }
        }
    }
    backend.unmount_all()?;
    for name in &names {
        btrfs::subvolume_destroy(parent.as_fd(), name)?;
    }
    for name in times.0.keys() {
        println!(
            "{name:<24} {:9.1} us",
            times.median(name).as_secs_f64() * 1e6
        );
    }
    let ratio = times.median("commit").as_secs_f64() / times.median("bare ioctl").as_secs_f64();
    println!("commit / bare ioctl      {ratio:9.3}    ({rounds} rounds, {volumes} volumes)");
    Ok(())
}

fn bare(parent: &File, shares: &[PathBuf], times: &mut Times) -> Outcome<()> {
    let sources = shares
        .iter()
        .map(File::open)
        .collect::<Result<Vec<_>, _>>()?;
    rustix::fs::syncfs(parent)?;
    let names: Vec<_> = (0..sources.len())
        .map(|n| format!("commit-cost-bare-{n}"))
        .collect();
    let jobs: Vec<_> = sources.iter().zip(&names).collect();
    let cut = |jobs: &[(&File, &String)]| {
        jobs.iter().try_for_each(|(source, name)| {
            btrfs::snapshot_create(source.as_fd(), parent.as_fd(), name, SnapshotMode::Writable)
        })
    };
    times.take("bare ioctl", || {
        let share = jobs.len().div_ceil(32);
        let mut parts = jobs.chunks(share);
        let own = parts.next().unwrap_or_default();
        std::thread::scope(|scope| {
            let others: Vec<_> = parts.map(|part| scope.spawn(|| cut(part))).collect();
            cut(own)?;
            for other in others {
                other.join().map_err(|_| rustix::io::Errno::IO)??;
            }
            Ok::<_, rustix::io::Errno>(())
        })
    })?;
    times.take("bare delete + sync", || {
        for name in &names {
            btrfs::subvolume_destroy(parent.as_fd(), name)?;
        }
        btrfs::commit_transaction(parent.as_fd())
    })?;
    Ok(())
}

fn cycle(backend: &Btrfs, shares: &[PathBuf], times: &mut Times) -> Outcome<()> {
    let mut sources = Vec::new();
    for share in shares {
        let probe = times.take("probe", || backend.probe(share))?;
        sources.push(CopySource {
            copy: ShadowCopyId(uuid::Uuid::new_v4()),
            backend: backend.name(),
            volume: probe.volume,
            shares: vec![SourceShare {
                share: ShareName::new(share.to_string_lossy()),
                path: share.clone(),
                inner: probe.inner,
            }],
        });
    }
    times.take("prepare", || {
        backend.prepare(&sources, &Deadline::default())
    })?;
    times.take("commit", || {
        backend.commit(&sources, true, &Deadline::default())
    })?;
    for source in &sources {
        let copy = CopyRef {
            copy: source.copy,
            backend: source.backend.clone(),
            volume: source.volume.clone(),
        };
        for share in &source.shares {
            let exposure = Exposure {
                copy: copy.clone(),
                base: share.share.clone(),
                name: String::new(),
                inner: share.inner.clone(),
                writable: true,
                created: FileTime::from_unix(Duration::from_secs(1_700_000_000)),
            };
            let path = times.take("expose", || backend.expose(&exposure))?;
            fs::write(path.join("recovered"), b"data")?;
            times.take("seal", || backend.seal(&copy))?;
            times.take("verify", || backend.verify_sealed(&copy, &path))?;
        }
        times.take("delete", || backend.delete(&copy))?;
    }
    Ok(())
}
