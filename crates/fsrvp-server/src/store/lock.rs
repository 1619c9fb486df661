//! One process at a time works with a state directory.

use super::StoreError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time that a killed process is waited for.
const ENDING_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at it.
const ENDING_PAUSE: Duration = Duration::from_millis(20);
/// SIGKILL in the signal masks of /proc.
const SIGKILL: u64 = 1 << 8;

/// A state directory that no other process works with.
#[derive(Debug)]
pub(super) struct Lock {
    /// The process that worked with it before, if its number is known.
    pub(super) previous: Option<u32>,
    _file: File,
}

/// The lock outlives this process under no circumstances: the kernel drops it. A killed process
/// may still hang in a system call and hold it: that one is waited for, one that lives is not.
pub(super) fn lock(state_dir: &Path) -> Result<Lock, StoreError> {
    let path = state_dir.join("lock");
    let unusable = |source| StoreError::Directory {
        path: state_dir.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(unusable(error.into())),
        }
        let holder = named_in(&mut file);
        if !is_ending(&holder) || begun.elapsed() > ENDING_LIMIT {
            return Err(StoreError::InUse { path, holder });
        }
        std::thread::sleep(ENDING_PAUSE);
    }
    let previous = named_in(&mut file).parse().ok();
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(unusable)?;
    Ok(Lock {
        previous,
        _file: file,
    })
}

/// The process that the file names.
fn named_in(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.rewind();
    let _ = Read::by_ref(file).take(16).read_to_string(&mut holder);
    holder.trim().to_owned()
}

/// Whether the process is gone, a zombie whose threads have not all ended, or killed but still in
/// a system call.
fn is_ending(process: &str) -> bool {
    if process.is_empty() || !process.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else {
        return true;
    };
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default()
    };
    let is_killed =
        |mask: &str| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & SIGKILL != 0);
    field("State:").starts_with(['Z', 'X'])
        || is_killed(field("SigPnd:"))
        || is_killed(field("ShdPnd:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let _first = lock(dir.path()).unwrap();
        let refused = lock(dir.path()).unwrap_err();
        let StoreError::InUse { holder, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!(holder, std::process::id().to_string());
    }

    #[test]
    fn a_killed_process_that_still_holds_the_lock_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        // A number that no process has: the holder has gone, its lock has not.
        std::fs::write(dir.path().join("lock"), "4194305\n").unwrap();
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| lock(dir.path()));
            drop(first);
            second.join().unwrap().unwrap()
        });
        assert_eq!(second.previous, Some(4_194_305));
        assert!(!is_ending(&std::process::id().to_string()));
        assert!(is_ending("4194305"));
        assert!(!is_ending("") && !is_ending("../1"));
    }
}
