//! `fsrvpctl restore`
//!
//! What comes back is copied beside its place under a name of its own, by reflink where the file
//! system can, made durable, and then changes places with what is there in one step. Whoever is
//! killed on the way leaves the share as it was, or as it should be; the next run removes what lies
//! beside it.

use super::show::acted;
use crate::screen::Screen;
use crate::{AdminClient, Exit, Failure};
use rustix::fs::{
    CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, open, renameat_with, syncfs,
};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Begins the names of what is being copied; the name of the target follows.
const STAGING: &str = ".fsrvp-restore.";
/// Pause between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(200);

/// What the command line says.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Restore {
    /// The share
    share: String,
    /// The file or directory, below the share's own directory
    path: PathBuf,
    /// From this kept snapshot
    #[arg(long, group = "source", value_name = "NAME")]
    snapshot: Option<String>,
    /// From this exposed copy, by the name of its share: "vm@{...}"
    #[arg(long, group = "source", value_name = "SHARE")]
    copy: Option<String>,
    /// Put it under this name beside the original, which stays
    #[arg(long, value_name = "NAME")]
    to: Option<PathBuf>,
    /// Although SMB clients have files of it open
    #[arg(long)]
    while_open: bool,
}

impl Restore {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let share = self.share_path(client)?;
        let source = self.source_path(client)?;
        let inner = inside(&self.path)?;
        let source = source.join(&inner);
        let place = match &self.to {
            Some(name) => inner.with_file_name(one_name(name)?),
            None => inner,
        };
        let target = share.join(&place);
        if !self.while_open
            && let Some((process, file)) = open_over_smb(&target)
        {
            let text = format!(
                "smbd process {process} has {} open: let its client close it, or say --while-open",
                file.display()
            );
            return Err(Failure::new(Exit::BadState, text));
        }
        if self.to.is_some() && target.symlink_metadata().is_ok() {
            let text = format!("{} exists already", target.display());
            return Err(Failure::new(Exit::BadState, text));
        }
        let files = bring_back(&source, &target)?;
        let answer = json!({ "source": source, "target": target, "files": files });
        let text = format!("{} is restored: {files} files", target.display());
        acted(screen, &answer, text);
        Ok(())
    }

    fn share_path(&self, client: &AdminClient) -> Result<PathBuf, Failure> {
        let shares: Value = client.get("/v1/shares")?;
        let found = find(&shares, "shares", |share| {
            text(share, "name").eq_ignore_ascii_case(&self.share)
        });
        let path = found.map(|share| text(share, "path").to_owned());
        path.filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| {
                Failure::new(Exit::NotFound, format!("there is no share {}", self.share))
            })
    }

    fn source_path(&self, client: &AdminClient) -> Result<PathBuf, Failure> {
        let (list, what) = match (&self.snapshot, &self.copy) {
            (Some(name), _) => {
                let all: Value = client.get("/v1/snapshots")?;
                let found = find(&all, "snapshots", |kept| {
                    text(kept, "share").eq_ignore_ascii_case(&self.share)
                        && text(kept, "name") == name
                });
                (found.cloned(), format!("snapshot {name} of {}", self.share))
            }
            (None, Some(copy)) => {
                let all: Value = client.get("/v1/space")?;
                let found = find(&all, "items", |item| {
                    text(item, "kind") == "copy" && text(item, "name").eq_ignore_ascii_case(copy)
                });
                (found.cloned(), format!("exposed copy {copy}"))
            }
            (None, None) => (None, "source".to_owned()),
        };
        let path = list.map(|found| PathBuf::from(text(&found, "path")));
        path.ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no {what}")))
    }
}

fn find<'a>(all: &'a Value, list: &str, is_it: impl Fn(&Value) -> bool) -> Option<&'a Value> {
    all.get(list)?.as_array()?.iter().find(|item| is_it(item))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The path if it stays below the share and names something in it.
fn inside(path: &Path) -> Result<PathBuf, Failure> {
    let parts = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir));
    let plain: PathBuf = parts.clone().collect();
    if plain.as_os_str().is_empty() {
        let text = "the root of a share is no place that can change in one step: restore its \
                    entries one by one";
        return Err(Failure::new(Exit::Usage, text));
    }
    if !parts
        .into_iter()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        let text = format!("{} is no path below a share", path.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(plain)
}

fn one_name(name: &Path) -> Result<PathBuf, Failure> {
    let inner = inside(name)?;
    if inner.components().count() == 1 {
        return Ok(inner);
    }
    let text = format!("{} is more than one name", name.display());
    Err(Failure::new(Exit::Usage, text))
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let text = format!("cannot {what} {}", path.display());
    move |error| Failure::new(Exit::Failed, format!("{text}: {error}"))
}

/// Puts a copy of `source` where `target` is, in one step. Gives how many files came back.
fn bring_back(source: &Path, target: &Path) -> Result<u64, Failure> {
    if source.symlink_metadata().is_err() {
        let text = format!("there is no {}", source.display());
        return Err(Failure::new(Exit::NotFound, text));
    }
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(Failure::new(Exit::Usage, "no place to restore to"));
    };
    // A link on the way could lead out of the share.
    let real = parent.canonicalize().map_err(failed("find", parent))?;
    if real != parent {
        let text = format!("{} leads over a symbolic link", parent.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut staging = OsString::from(STAGING);
    staging.push(name);
    let staging = parent.join(staging);
    let _alone = lock(parent)?;
    // What somebody left who was killed.
    remove(&staging)?;
    let copied = copy(source, &staging).and_then(|files| {
        swap(&staging, target)?;
        Ok(files)
    });
    // After success this is what was there before; after a failure it is what came of the copy.
    let removed = remove(&staging);
    let files = copied?;
    removed?;
    Ok(files)
}

/// One restore in a directory at a time.
fn lock(directory: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(directory, flags, Mode::empty());
    let fd = opened.map_err(|errno| failed("open", directory)(errno.into()))?;
    flock(&fd, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let text = format!("another restore works in {}", directory.display());
        Failure::new(Exit::BadState, text)
    })?;
    Ok(fd)
}

/// Copies with everything that belongs to the files: owners, modes, times, ACLs, attributes.
fn copy(source: &Path, staging: &Path) -> Result<u64, Failure> {
    // A cp whose owner was killed must not go on beside the next one.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "cp"])
        .args(["-a", "-v", "--reflink=auto", "--no-target-directory", "--"])
        .arg(source)
        .arg(staging)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed("run cp for", source))?;
    let mut files = 0_u64;
    let mut shown = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let mut stdout = child.stdout.take().map(BufReader::new);
    let mut line = Vec::new();
    while let Some(lines) = &mut stdout {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => files = files.saturating_add(1),
        }
        if terminal && shown.elapsed() >= PROGRESS {
            let _ = write!(std::io::stderr(), "\r{files} files copied");
            shown = Instant::now();
        }
    }
    if terminal {
        let _ = write!(std::io::stderr(), "\r\u{1b}[K");
    }
    let output = child.wait_with_output().map_err(failed("copy", source))?;
    if output.status.success() {
        return Ok(files);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("cp failed").to_owned();
    Err(Failure::new(Exit::Failed, said))
}

/// The copy is durable before it is seen, and its place after it has changed.
fn swap(staging: &Path, target: &Path) -> Result<(), Failure> {
    let parent = target.parent().unwrap_or(target);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(parent, flags, Mode::empty());
    let directory = opened.map_err(|errno| failed("open", parent)(errno.into()))?;
    let sync = || syncfs(&directory).map_err(|errno| failed("sync", parent)(errno.into()));
    sync()?;
    let flags = match target.symlink_metadata() {
        Ok(_) => RenameFlags::EXCHANGE,
        Err(_) => RenameFlags::NOREPLACE,
    };
    renameat_with(CWD, staging, CWD, target, flags)
        .map_err(|errno| failed("put into its place", target)(errno.into()))?;
    sync()
}

fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(stat) if stat.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.map_err(failed("remove", path))
}

/// A file at or below `target` that an smbd has open.
fn open_over_smb(target: &Path) -> Option<(u32, PathBuf)> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if !name.starts_with("smbd") {
            continue;
        }
        let open = std::fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let found = open
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .find(|file| file.starts_with(target));
        if let Some(file) = found {
            return Some((pid, file));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_path_stays_below_the_share() {
        assert_eq!(inside(Path::new("./a/b")).unwrap(), Path::new("a/b"));
        for bad in ["", ".", "/etc", "../x", "a/../../x"] {
            assert!(inside(Path::new(bad)).is_err(), "{bad}");
        }
        assert!(one_name(Path::new("a/b")).is_err());
    }

    #[test]
    fn a_tree_and_a_file_come_back_and_nothing_lies_beside_them() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let (source, share) = (place.join("copy"), place.join("share"));
        fs::create_dir_all(source.join("dir/deep")).unwrap();
        fs::create_dir_all(share.join("dir")).unwrap();
        fs::write(source.join("dir/deep/file"), "old").unwrap();
        fs::write(source.join("file"), "old").unwrap();
        fs::write(share.join("dir/new"), "new").unwrap();
        assert_eq!(
            bring_back(&source.join("dir"), &share.join("dir")).unwrap(),
            3
        );
        assert_eq!(
            fs::read_to_string(share.join("dir/deep/file")).unwrap(),
            "old"
        );
        assert!(!share.join("dir/new").exists());
        // A file that is not there any more.
        bring_back(&source.join("file"), &share.join("file")).unwrap();
        assert_eq!(fs::read_to_string(share.join("file")).unwrap(), "old");
        // What a killed run left is removed by the next one.
        fs::create_dir(share.join(".fsrvp-restore.file")).unwrap();
        bring_back(&source.join("file"), &share.join("file")).unwrap();
        let missing = bring_back(&source.join("none"), &share.join("file")).unwrap_err();
        assert_eq!(missing.exit, Exit::NotFound);
        assert_eq!(fs::read_to_string(share.join("file")).unwrap(), "old");
        let mut left: Vec<_> = fs::read_dir(&share)
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["dir", "file"]);
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        fs::create_dir_all(place.join("outside")).unwrap();
        fs::create_dir_all(place.join("share")).unwrap();
        fs::write(place.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("../outside", place.join("share/link")).unwrap();
        let refused = bring_back(&place.join("file"), &place.join("share/link/file"));
        assert_eq!(refused.unwrap_err().exit, Exit::Usage);
        assert!(!place.join("outside/file").exists());
    }
}
