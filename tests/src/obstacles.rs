//! What no copy would hold, put into a share: the share is refused, and everybody who asks is told
//! which path is in the way.

use crate::walk::Walk;
use crate::{CaseResult, fail};
use fsrvp_testkit::{Lab, Run, ShareKey, programs, unix_http_get};
use libtest_mimic::Failed;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A thing in the way of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A directory below the usual limit of depth.
    TooDeep,
    /// A file system that is mounted below the share.
    Mount,
    /// A btrfs subvolume below the share.
    Subvolume,
}

impl Obstacle {
    /// Puts it into a directory; returns the path that has to be named.
    fn put(self, share: &Path) -> Result<PathBuf, Failed> {
        // `fsrvpctl` breaks lines at spaces.
        let below = share.join("in-the-way");
        let offender = match self {
            Self::TooDeep => below.join("2/3/4/5/6"),
            Self::Link | Self::Pipe | Self::Mount | Self::Subvolume => below.join("this-one"),
        };
        fs::create_dir(&below)?;
        match self {
            Self::Link => symlink("/etc", &offender)?,
            Self::Pipe => drop(Run::new("mkfifo").arg(&offender).check()?),
            Self::TooDeep => fs::create_dir_all(&offender)?,
            Self::Mount => {
                fs::create_dir(&offender)?;
                let mount = Run::new("mount").args(["-t", "tmpfs", "none"]);
                mount.arg(&offender).check()?;
            }
            Self::Subvolume => {
                let create = Run::new("btrfs").args(["subvolume", "create"]);
                create.arg(&offender).check()?;
            }
        }
        Ok(offender)
    }

    fn remove(self, share: &Path, offender: &Path) -> CaseResult {
        match self {
            Self::Mount => drop(Run::new("umount").arg(offender).check()?),
            Self::Subvolume => {
                let delete = Run::new("btrfs").args(["subvolume", "delete"]);
                delete.arg(offender).check()?;
            }
            Self::Link | Self::Pipe | Self::TooDeep => {}
        }
        Ok(fs::remove_dir_all(share.join("in-the-way"))?)
    }
}

/// Puts each of them into a share: IsPathSupported is refused; the log, `/v1/shares`, `fsrvpctl shares` and
/// the doctor name the path. Without any of them the share is served again.
///
/// # Errors
/// Who does not refuse it, or does not name it.
pub fn are_named(lab: &Lab, key: ShareKey, obstacles: &[Obstacle]) -> CaseResult {
    let share = lab.share(key);
    for obstacle in obstacles {
        let offender = obstacle.put(&share.path)?;
        let verdict = is_named(lab, share.name, &offender);
        obstacle.remove(&share.path, &offender)?;
        verdict?;
    }
    Walk::of(lab).succeeds(&format!("fss_is_path_sup {}", share.name))?;
    let shares = fsrvpctl(lab, &["shares"])?;
    match shares.contains("in-the-way") {
        true => fail(format!("named after it has gone: {shares}")),
        false => Ok(()),
    }
}

/// A share is refused, and everybody names the path, the doctor too.
///
/// # Errors
/// Who does not.
pub fn is_named(lab: &Lab, share: &str, offender: &Path) -> CaseResult {
    is_named_by_the_daemon(lab, share, offender)?;
    let config = lab.dir().join("agent/fsrvpd.toml");
    let config = config.display().to_string();
    let told = fsrvpctl(lab, &["doctor", "--config", &config])?;
    names_both(("fsrvpctl doctor", &told), share, offender)
}

fn names_both((who, text): (&str, &str), share: &str, offender: &Path) -> CaseResult {
    let offender = offender.display().to_string();
    if text.contains(&offender) && text.contains(share) {
        return Ok(());
    }
    fail(format!(
        "{who} does not name {offender} of {share}:\n{text}"
    ))
}

/// A share is refused; the daemon's log and whoever asks the daemon name the path.
///
/// # Errors
/// Who does not.
pub fn is_named_by_the_daemon(lab: &Lab, share: &str, offender: &Path) -> CaseResult {
    let before = fs::read(lab.agent_log())?.len();
    let output = lab
        .rpcclient(lab.backup(), &format!("fss_is_path_sup {share}"))
        .output()?;
    if !output.says("0x8004230c") {
        return fail(format!("{}: {}", offender.display(), output.text()));
    }
    let log = fs::read(lab.agent_log())?;
    let log = String::from_utf8_lossy(log.get(before..).unwrap_or_default()).into_owned();
    let told = unix_http_get(&lab.admin_socket(), "/v1/shares")?.body;
    names_both(("the log", &log), share, offender)?;
    names_both(("/v1/shares", &told), share, offender)?;
    let told = fsrvpctl(lab, &["shares"])?;
    names_both(("fsrvpctl shares", &told), share, offender)
}

/// What `fsrvpctl` prints, whatever its exit status: the doctor's says that something is wrong.
///
/// # Errors
/// When it cannot be run.
pub fn fsrvpctl(lab: &Lab, arguments: &[&str]) -> Result<String, Failed> {
    let run = Run::new(programs::program("fsrvpctl")?)
        .arg("--socket")
        .arg(lab.admin_socket())
        .args(arguments);
    Ok(run.output()?.text())
}
