//! Processes that change Samba's registry for us and may outlive us: when this process is killed,
//! a tool that it has started goes on to its end. The next start waits for that, or it would look
//! at a registry that is about to change.
//!
//! All of them share one open file, and with it its lock, which is free when the last has ended.

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the processes of an earlier run may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long those that were killed then may take.
const ENDING: Duration = Duration::from_secs(25);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The open file that is handed to every process which changes the registry.
#[derive(Debug, Clone)]
pub(crate) struct Children {
    file: Arc<File>,
}

impl Children {
    /// Waits until no process lives that was handed the file at `path` before, and kills those that
    /// take too long. One that cannot even be killed is reported, and not waited for any longer.
    pub(crate) fn alone_with(path: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        // Children cannot write to it, whatever they take it for.
        let file = File::open(path)?;
        let children = Self {
            file: Arc::new(file),
        };
        if children.is_alone_within(PATIENCE)? {
            return Ok(children);
        }
        for process in children.holders()? {
            tracing::warn!(
                pid = process,
                "a program that an earlier fsrvpd has started does not end, and is killed"
            );
            let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if !children.is_alone_within(ENDING)? {
            let left = children.holders()?;
            tracing::error!(
                ?left,
                "programs that an earlier fsrvpd has started cannot be ended"
            );
        }
        Ok(children)
    }

    /// What a child gets as one of its standard streams, so that it holds the file.
    pub(crate) fn stream(&self) -> io::Result<Stdio> {
        self.file.try_clone().map(Stdio::from)
    }

    fn is_alone_within(&self, limit: Duration) -> io::Result<bool> {
        let began = Instant::now();
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(true),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
            if began.elapsed() >= limit {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Other processes that have the file open.
    fn holders(&self) -> io::Result<Vec<u32>> {
        let own = self.file.metadata()?;
        let has_it = |process: &u32| {
            let table = std::fs::read_dir(format!("/proc/{process}/fd"));
            table.into_iter().flatten().flatten().any(|entry| {
                std::fs::metadata(entry.path())
                    .is_ok_and(|file| (file.dev(), file.ino()) == (own.dev(), own.ino()))
            })
        };
        let processes = std::fs::read_dir("/proc")?.flatten();
        Ok(processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|process| *process != std::process::id())
            .filter(has_it)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_that_outlives_its_parent_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("children");
        let first = Children::alone_with(&path).unwrap();
        let mut child = Command::new("sleep")
            .arg("0.2")
            .stdin(first.stream().unwrap())
            .spawn()
            .unwrap();
        drop(first);
        let began = Instant::now();
        let second = Children::alone_with(&path).unwrap();
        assert!(began.elapsed() < PATIENCE, "it has ended by itself");
        // What another test starts meanwhile has our files too until it has become its program.
        assert!(!second.holders().unwrap().contains(&child.id()));
        child.wait().unwrap();
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("children");
        let first = Children::alone_with(&path).unwrap();
        let mut child = Command::new("sleep")
            .arg("600")
            .stdin(first.stream().unwrap())
            .spawn()
            .unwrap();
        assert!(first.holders().unwrap().contains(&child.id()));
        drop(first);
        Children::alone_with(&path).unwrap();
        assert!(child.wait().unwrap().code().is_none(), "by a signal");
    }
}
