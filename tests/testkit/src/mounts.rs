//! Mounts and loop devices below a directory, found by looking, not by remembering.

use crate::{Error, Run, comes_true, until};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long somebody who has just left may keep a mount busy; then it is detached all the same.
const PATIENT: Duration = Duration::from_secs(10);
/// How long unmounting is tried.
const UNMOUNTED: Duration = Duration::from_secs(20);
/// How long the kernel may hold a released loop device.
const RELEASED: Duration = Duration::from_secs(20);

/// Mount points at or below `dir`, the innermost and newest first.
fn below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    points(Path::new("/proc/self/mountinfo"), dir)
}

fn points(table: &Path, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let table = fs::read_to_string(table).map_err(Error::file(table))?;
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| point.starts_with(dir))
        .collect();
    // The table lists mounts in the order in which they were made.
    points.reverse();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(points)
}

/// Takes every mount at or below `dir` away, in the mount namespaces of other processes as well: one
/// that was made while the laboratory was up has copies of its mounts, which keep the devices busy.
pub(crate) fn remove_below(dir: &Path) -> Result<(), Error> {
    remove_here(dir)?;
    let own = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let mut seen = BTreeSet::from([own]);
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = process.path();
        let Ok(namespace) = fs::read_link(process.join("ns/mnt")) else {
            continue;
        };
        if !seen.insert(namespace) {
            continue;
        }
        // A process that has gone meanwhile has no table; its namespace went with it.
        for point in points(&process.join("mountinfo"), dir).unwrap_or_default() {
            let enter = format!("--mount={}", process.join("ns/mnt").display());
            Run::new("nsenter")
                .arg(enter)
                .args(["umount", "--lazy"])
                .arg(point)
                .output()?;
        }
    }
    Ok(())
}

fn remove_here(dir: &Path) -> Result<(), Error> {
    let began = Instant::now();
    let mut last = None;
    let empty = until(UNMOUNTED, || {
        for point in below(dir)? {
            let mut run = Run::new("umount");
            if began.elapsed() >= PATIENT {
                run = run.arg("--lazy");
            }
            last = run.arg(point).check().err().or(last.take());
        }
        Ok::<_, Error>(below(dir)?.is_empty().then_some(()))
    })?;
    match empty {
        Some(()) => Ok(()),
        None => {
            Err(last.unwrap_or_else(|| Error::LeftOver(format!("mounts in {}", dir.display()))))
        }
    }
}

/// Loop devices whose image is `dir` or lies below it.
pub(crate) fn loop_devices_below(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path().join("loop/backing_file"))
                .is_ok_and(|image| Path::new(image.trim_end()).starts_with(dir))
        })
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .collect()
}

/// Tells the kernel to detach every loop device whose image lies below `dir` as soon as nobody uses
/// it. To be said while the images can still be told by their paths, which is before the unmounting.
pub(crate) fn release_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let devices = loop_devices_below(dir);
    for device in &devices {
        Run::new("losetup").arg("--detach").arg(device).output()?;
    }
    Ok(devices)
}

/// Waits until released devices have no image any more.
pub(crate) fn wait_released(devices: &[PathBuf]) -> Result<(), Error> {
    let attached = |device: &&PathBuf| {
        let name = device.file_name().unwrap_or_default();
        let file = Path::new("/sys/block").join(name).join("loop/backing_file");
        // Somebody else may have the same device by now, with an image of his own.
        fs::read_to_string(file).is_ok_and(|image| image.trim_end().ends_with("(deleted)"))
    };
    if comes_true(RELEASED, || !devices.iter().any(|device| attached(&device))) {
        return Ok(());
    }
    let left = devices.iter().find(attached);
    let left = left.map(|device| device.display().to_string());
    Err(Error::LeftOver(format!(
        "loop device {}",
        left.unwrap_or_default()
    )))
}

/// Undoes the octal escapes of blank, tab, line feed and backslash.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match (
            first,
            octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()),
        ) {
            (b'\\', Some(value)) => {
                plain.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::unescape;
    use std::path::Path;

    #[test]
    fn escapes_of_mountinfo_are_undone() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(r"/plain"), Path::new("/plain"));
        assert_eq!(unescape(r"/end\04"), Path::new(r"/end\04"));
    }
}
