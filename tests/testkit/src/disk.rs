//! One disk that holds all of a laboratory's state, and that loses power.
//!
//! The disk is a file on XFS, whose clone is the disk as it was at one moment: everything that a
//! device without a volatile cache had then.

use crate::volume::{directory, mounts_directory};
use crate::{Error, Run, comes_true, mounts, process};
use rustix::fs::ioctl_ficlone;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the kernel may hold a file system that is mounted nowhere here any more. A test beside
/// us that has made a mount namespace of its own meanwhile has our mounts in it, until it ends.
const HELD: Duration = Duration::from_secs(300);

/// Regions of the disk: name, how it is made, begin and length in MiB.
const REGIONS: [(&str, &str, u64, u64); 3] = [
    ("root", "mkfs.ext4", 0, 512),
    ("btrfs1", "mkfs.btrfs", 512, 3072),
    ("btrfs2", "mkfs.btrfs", 3584, 2048),
];
/// Whole disk, in MiB.
const SIZE: u64 = 5632;
/// Directories of the laboratory that lie on the root region.
const ON_ROOT: [&str; 2] = ["samba", "agent"];

fn host(dir: &Path) -> PathBuf {
    dir.join("host")
}

fn disk(dir: &Path) -> PathBuf {
    host(dir).join("disk")
}

fn picture(dir: &Path) -> PathBuf {
    host(dir).join("disk.cut")
}

fn mount_point(dir: &Path, region: &str) -> PathBuf {
    match region {
        "root" => dir.join("root"),
        volume => mounts_directory(dir).join(volume),
    }
}

/// Makes the disk with its file systems, and mounts it.
pub(crate) fn create(dir: &Path) -> Result<(), Error> {
    let image = dir.join("images/host");
    directory(&dir.join("images"))?;
    directory(&host(dir))?;
    sparse(&image, SIZE.saturating_mul(3))?;
    Run::new("mkfs.xfs")
        .args(["-q", "-m", "reflink=1"])
        .arg(&image)
        .check()?;
    Run::new("mount")
        .args(["-o", "loop"])
        .arg(&image)
        .arg(host(dir))
        .check()?;
    sparse(&disk(dir), SIZE)?;
    // mkfs takes a device for mounted when another one of the same file is.
    let mut devices = Vec::new();
    for (region, make, begin, length) in REGIONS {
        let device = attach(dir, begin, length)?;
        Run::new(make).arg("-q").arg(&device).check()?;
        devices.push((region, device));
    }
    for (region, device) in devices {
        mount(&device, &mount_point(dir, region))?;
    }
    bind_directories(dir)
}

/// Takes the disk as it is at this moment.
pub(crate) fn photograph(dir: &Path) -> Result<(), Error> {
    let path = picture(dir);
    let cloned = || -> std::io::Result<()> {
        let from = fs::File::open(disk(dir))?;
        let to = fs::File::create(&path)?;
        Ok(ioctl_ficlone(&to, &from)?)
    };
    cloned().map_err(Error::file(&path))
}

/// Ends every process, and puts the picture in the place of the disk.
pub(crate) fn fall(dir: &Path) -> Result<(), Error> {
    let pids = process::of_laboratory(dir);
    pids.iter()
        .for_each(|pid| process::signal(*pid, Signal::KILL));
    for pid in pids {
        if !process::wait_gone(pid, Duration::from_secs(20)) {
            return Err(Error::LeftOver(format!("process {pid}")));
        }
    }
    let devices = mounts::loop_devices_below(&disk(dir));
    let points = ON_ROOT.map(|name| dir.join(name));
    for point in points
        .iter()
        .chain(REGIONS.map(|(region, ..)| mount_point(dir, region)).iter())
    {
        mounts::remove_below(point)?;
    }
    for device in devices {
        wait_let_go(&device)?;
        Run::new("losetup").arg("--detach").arg(&device).check()?;
        // The kernel would take the picture, which is older, for an old member of this device.
        Run::new("btrfs")
            .args(["device", "scan", "--forget"])
            .arg(&device)
            .output()?;
    }
    fs::rename(picture(dir), disk(dir)).map_err(Error::file(disk(dir)))
}

/// Waits until no btrfs is mounted from a device. A machine that starts has no file system of
/// before; while one with the same id is mounted anywhere, the kernel gives the next one another id.
fn wait_let_go(device: &Path) -> Result<(), Error> {
    let name = device.file_name().unwrap_or_default();
    if comes_true(HELD, || !is_held(name)) {
        return Ok(());
    }
    let device = device.display();
    Err(Error::LeftOver(format!(
        "the btrfs of {device}, in a mount namespace of another process"
    )))
}

fn is_held(device: &std::ffi::OsStr) -> bool {
    let mounted = fs::read_dir("/sys/fs/btrfs");
    let mut mounted = mounted.into_iter().flatten().flatten();
    mounted.any(|entry| entry.path().join("devices").join(device).exists())
}

/// Mounts the disk as a machine does that starts.
pub(crate) fn boot(dir: &Path) -> Result<(), Error> {
    for (region, _, begin, length) in REGIONS {
        let device = attach(dir, begin, length)?;
        mount(&device, &mount_point(dir, region))?;
    }
    bind_directories(dir)?;
    // Files that a machine keeps in memory.
    for name in ["samba/pid", "samba/lock", "agent/run"] {
        let path = dir.join(name);
        let _ = fs::remove_dir_all(&path);
        directory(&path)?;
    }
    Ok(())
}

fn bind_directories(dir: &Path) -> Result<(), Error> {
    for name in ON_ROOT {
        let (from, to) = (dir.join("root").join(name), dir.join(name));
        directory(&from)?;
        directory(&to)?;
        Run::new("mount").arg("--bind").arg(from).arg(to).check()?;
    }
    Ok(())
}

fn attach(dir: &Path, begin: u64, length: u64) -> Result<PathBuf, Error> {
    let bytes = |mebibytes: u64| (mebibytes << 20).to_string();
    let found = Run::new("losetup")
        .args([
            "--find",
            "--show",
            "--offset",
            &bytes(begin),
            "--sizelimit",
            &bytes(length),
        ])
        .arg(disk(dir))
        .check()?;
    Ok(PathBuf::from(found.stdout.trim()))
}

fn mount(device: &Path, point: &Path) -> Result<(), Error> {
    directory(point)?;
    Run::new("mount").arg(device).arg(point).check().map(drop)
}

fn sparse(path: &Path, mebibytes: u64) -> Result<(), Error> {
    fs::File::create(path)
        .and_then(|file| file.set_len(mebibytes << 20))
        .map_err(Error::file(path))
}
