//! `/proc/self/mountinfo`: what is mounted where, as this process sees it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const TABLE: &str = "/proc/self/mountinfo";

/// One mount (proc(5), `/proc/pid/mountinfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Mount id, as `STATX_MNT_ID` gives it.
    pub id: u64,
    /// Id of the mount that it is mounted on.
    pub parent: u64,
    /// `major:minor` of the file system (not of a btrfs subvolume).
    pub device: String,
    /// Path, from the root of the file system, of the directory that is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Type of the file system.
    pub fs_type: String,
    /// What was mounted: a device.
    pub source: OsString,
    /// Whether the file system itself is read-only.
    pub read_only: bool,
}

/// All mounts of this process's mount namespace, in the order of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountTable(pub Vec<Mount>);

impl MountTable {
    /// Reads the table as it is now.
    ///
    /// # Errors
    /// As reading `/proc/self/mountinfo`; `InvalidData` for a line that is not as documented.
    pub fn read() -> io::Result<Self> {
        // The kernel gives a page a read; a buffer that grows from nothing makes it begin anew.
        let mut text = Vec::with_capacity(64 << 10);
        File::open(TABLE)?.read_to_end(&mut text)?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> io::Result<Self> {
        text.split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                parse_line(line).ok_or_else(|| {
                    let line = String::from_utf8_lossy(line).into_owned();
                    io::Error::new(io::ErrorKind::InvalidData, format!("{TABLE}: {line}"))
                })
            })
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// The mount with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// The mounts strictly below `directory`, a path without symlinks on the mount `id`. A mount
    /// that `id` itself hides does not count.
    pub fn below<'a>(&'a self, id: u64, directory: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().filter(move |mount| {
            mount.point != directory
                && mount.point.starts_with(directory)
                && self.descends(mount, id)
        })
    }

    fn descends(&self, mount: &Mount, ancestor: u64) -> bool {
        let mut parent = mount.parent;
        // The bound guards against a table that changed while it was read.
        for _ in 0..=self.0.len() {
            if parent == ancestor {
                return true;
            }
            match self.get(parent) {
                Some(next) if next.parent != parent => parent = next.parent,
                _ => return false,
            }
        }
        false
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = text(fields.next()?);
    let root = path(fields.next()?);
    let point = path(fields.next()?);
    let _mount_options = fields.next()?;
    // Optional fields end with a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let fs_type = text(fields.next()?);
    let source = unescape(fields.next()?);
    let read_only = fields
        .next()?
        .split(|&byte| byte == b',')
        .any(|option| option == b"ro");
    Some(Mount {
        id,
        parent,
        device,
        root,
        point,
        fs_type,
        source,
        read_only,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Whoever may mount with FUSE chooses bytes of the type's name, which is no reason to lose sight of
/// all other mounts.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(unescape(field))
}

/// Undoes the kernel's `\ooo` for space, tab, newline, `#` and backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let octal = tail
            .first_chunk::<3>()
            .filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => out.push(byte),
        }
    }
    OsString::from_vec(out)
}

/// Tells cheaply whether any mount of the namespace has come, gone or changed.
#[derive(Debug)]
pub struct MountWatch(File);

impl MountWatch {
    /// Starts to watch; read the table after this.
    ///
    /// # Errors
    /// As opening `/proc/self/mountinfo`.
    pub fn start() -> io::Result<Self> {
        File::open(TABLE).map(Self)
    }

    /// Whether the table has changed since the start or the last call that said so. One system
    /// call; an error counts as a change.
    #[must_use]
    pub fn changed(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::PRI)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(0) => false,
            Ok(_) | Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as in proc(5), with an escaped name and without optional fields.
    const TEXT: &[u8] = b"22 1 0:21 / / rw,relatime - ext4 /dev/root rw\n\
        36 22 98:0 /mnt1 /srv/a\\040b rw,noatime master:1 shared:2 - btrfs /dev/loop0 ro,subvol=/x\n\
        37 36 98:0 / /srv/a\\040b/c\\134d rw - tmpfs none rw\n\
        38 22 98:0 / /srv/a\\040b/hidden rw - tmpfs none rw\n";

    #[test]
    fn lines_of_the_manual_page() {
        let table = MountTable::parse(TEXT).unwrap();
        let mount = table.get(36).unwrap();
        assert_eq!(mount.root, Path::new("/mnt1"));
        assert_eq!(mount.point, Path::new("/srv/a b"));
        assert_eq!(mount.fs_type, "btrfs");
        assert_eq!(mount.source, "/dev/loop0");
        assert!(mount.read_only);
        assert!(!table.get(22).unwrap().read_only);
    }

    #[test]
    fn below_follows_the_mounts_and_not_only_the_names() {
        let table = MountTable::parse(TEXT).unwrap();
        let below: Vec<_> = table
            .below(36, Path::new("/srv/a b"))
            .map(|mount| mount.point.clone())
            .collect();
        // The mount 38 is on the root file system, under the mount 36.
        assert_eq!(below, [Path::new("/srv/a b/c\\d")]);
        assert_eq!(table.below(36, Path::new("/srv/a")).count(), 0);
    }

    #[test]
    fn a_type_that_is_no_text() {
        let line = b"40 22 0:50 / /home/u/m rw - fuse.\xff m rw\n";
        let table = MountTable::parse(&[TEXT, line].concat()).unwrap();
        assert_eq!(table.get(40).unwrap().fs_type, "fuse.\u{fffd}");
        assert!(table.get(36).is_some());
    }

    #[test]
    fn a_line_that_is_no_mount() {
        let error = MountTable::parse(b"22 1 0:21 / / rw\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_real_table_has_a_root_and_a_watch_is_quiet_or_not() {
        let table = MountTable::read().unwrap();
        assert!(table.0.iter().any(|mount| mount.point == Path::new("/")));
        let watch = MountWatch::start().unwrap();
        let _ = watch.changed();
    }
}
