//! Where tests make laboratories, and how every trace of one goes.

use super::RECORD;
use crate::{Error, mounts, place, process};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// First part of the names of laboratories that tests make, followed by the owner's process id.
const TEST_PREFIX: &str = "fsrvp-lab.";

/// What of the record decides whether the directory itself goes.
#[derive(Debug, Deserialize)]
struct Before {
    #[serde(default)]
    existed: bool,
}

/// A fresh directory of this process among the temporary files; it is not made.
pub(crate) fn test_directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("{TEST_PREFIX}{}.{number}", std::process::id()))
}

/// Marks a directory as one that [`down`] may remove.
pub(crate) fn mark(dir: &Path) -> Result<(), Error> {
    let path = dir.join(RECORD);
    fs::write(&path, "{}").map_err(Error::file(&path))
}

/// Removes every trace of the laboratory in `dir`: processes, mounts, loop devices, files. It looks
/// for them instead of remembering, so that it works on a laboratory that is half made or crashed.
/// What else is in the directory stays; a directory without a laboratory is fine.
///
/// # Errors
/// What could not be removed.
pub fn down(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let dir = fs::canonicalize(dir).map_err(Error::file(dir))?;
    let record = dir.join(RECORD);
    if !record.exists() {
        return Ok(());
    }
    let existed = fs::read_to_string(&record)
        .ok()
        .and_then(|text| serde_json::from_str::<Before>(&text).ok())
        .is_none_or(|before| before.existed);
    // A server may start a helper while others are being ended: look until there is none.
    for _ in 0..5 {
        let pids = process::of_laboratory(&dir);
        if pids.is_empty() {
            break;
        }
        process::stop(pids, Duration::from_secs(10));
    }
    let left = process::of_laboratory(&dir);
    if !left.is_empty() {
        return Err(Error::LeftOver(format!("processes {left:?}")));
    }
    let devices = mounts::release_below(&dir)?;
    let elsewhere = place::elsewhere(&dir);
    for place in [&elsewhere, &dir] {
        mounts::remove_below(place)?;
    }
    place::remove(&elsewhere)?;
    // The record goes last: until then, the rest can be removed by trying again.
    for name in place::OWN_NAMES
        .iter()
        .filter(|name| **name != RECORD)
        .chain([&RECORD])
    {
        place::remove(&dir.join(name))?;
    }
    if !existed {
        place::remove(&dir)?;
    }
    // An image that is still attached shows as deleted now.
    mounts::wait_released(&devices)
}

/// Takes down the laboratories of tests whose process has gone without doing so.
///
/// # Errors
/// What could not be removed.
pub fn sweep() -> Result<(), Error> {
    let temporary = std::env::temp_dir();
    for entry in fs::read_dir(&temporary)
        .map_err(Error::file(&temporary))?
        .flatten()
    {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(TEST_PREFIX));
        let owner = owner.and_then(|rest| rest.split('.').next()?.parse().ok());
        if owner.is_some_and(|pid: u32| !process::alive(pid)) {
            down(&entry.path())?;
        }
    }
    Ok(())
}
