//! Processes by their ids: who is alive, who belongs to a laboratory, how to end them.

use crate::comes_true;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Set in the environment of everything that a laboratory starts: the laboratory's directory.
pub(crate) const MARK: &str = "FSRVP_LAB_DIR";

/// Programs that only ever belong to a laboratory when they hold files of one open. Samba's
/// processes rewrite their environment when they set their title, so the mark alone is not enough.
const SERVERS: &[&str] = &[
    "smbd",
    "samba-dcerpcd",
    "winbindd",
    "nmbd",
    "fsrvpd",
    "samba",
    "samba-bgqd",
];

/// True while the process exists and is not a zombie. One whose first thread has ended counts as
/// long as another thread still holds its files and locks.
#[must_use]
pub fn alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the program's name, which may itself contain parentheses.
    match stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next())
    {
        Some('Z' | 'X') => {
            fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
        }
        Some(_) => true,
        None => false,
    }
}

/// Sends a signal; a process that has gone is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends processes: asks first, insists after `patience`. Returns those that would not go.
pub fn stop(pids: impl IntoIterator<Item = u32>, patience: Duration) -> Vec<u32> {
    let mut left: Vec<u32> = pids.into_iter().filter(|pid| alive(*pid)).collect();
    for (order, wait) in [
        (Signal::TERM, patience),
        (Signal::KILL, Duration::from_secs(10)),
    ] {
        left.iter().for_each(|pid| signal(*pid, order));
        comes_true(wait, || {
            left.retain(|pid| alive(*pid));
            left.is_empty()
        });
    }
    left
}

/// Waits until a process has gone; false when it is still there after `limit`.
#[must_use]
pub fn wait_gone(pid: u32, limit: Duration) -> bool {
    comes_true(limit, || !alive(pid))
}

/// Whether every thread of the process has a tracer; false when there is no such process.
#[must_use]
pub fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    // A thread that ends meanwhile needs no tracer.
    threads.flatten().all(|thread| {
        fs::read_to_string(thread.path().join("status"))
            .map_or(true, |status| !status.contains("TracerPid:\t0\n"))
    })
}

/// Name of the program that a process runs, without a suffix for a replaced file.
#[must_use]
pub fn program_name(pid: u32) -> Option<String> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = exe.file_name()?.to_string_lossy().into_owned();
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

/// Every process that belongs to the laboratory in `dir`: marked by its environment, or a file
/// server's program that holds a file below `dir` open.
#[must_use]
pub fn of_laboratory(dir: &Path) -> BTreeSet<u32> {
    let mut mark = MARK.as_bytes().to_vec();
    mark.push(b'=');
    mark.extend_from_slice(dir.as_os_str().as_bytes());
    all()
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark))
                || (program_name(*pid).is_some_and(|name| is_server(&name))
                    && holds_open(*pid, dir))
        })
        .collect()
}

fn is_server(name: &str) -> bool {
    SERVERS.contains(&name) || name.starts_with("rpcd_")
}

fn holds_open(pid: u32, dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(dir)))
}

fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Process id from a file as daemons write it.
#[must_use]
pub fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
