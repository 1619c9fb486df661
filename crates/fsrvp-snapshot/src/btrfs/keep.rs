//! Kept snapshots: `.fsrvpd/<server>+kept/<share+name>`, beside the area of the server's copies,
//! where neither `enumerate` nor recovery looks.
//!
//! Each is a read-only snapshot of a sealed copy that bears in `trusted.fsrvpd.kept` what it is.
//! The mark has to be written before it is read-only, so it is made under a name of its own and
//! takes its real one when it is complete.

use super::area::{self, Area};
use super::file_system::FileSystem;
use super::volume::VolumeKey;
use super::{Btrfs, copy, enumerate, plain_relative};
use crate::backend::{BackendError, Kept, SnapshotBackend};
use crate::error::failed;
use crate::folder::entries;
use crate::location::mount_table;
use crate::names;
use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::job::KeepSource;
use fsrvp_sys::btrfs::{self, SnapshotMode};
use fsrvp_sys::crash;
use rustix::fs::{
    Mode, OFlags, RenameFlags, XattrFlags, fgetxattr, fsetxattr, openat, renameat_with,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Makes the folder's name another than that of any server's area.
const FOLDER_SUFFIX: &str = "+kept";
/// What one is called until it is complete; no complete one is called so, for `=` is followed by
/// two digits in every name that [`names::component`] makes.
const UNFINISHED: &str = "=new";
/// Says what the snapshot is: see [`Mark`].
const XATTR: &str = "trusted.fsrvpd.kept";
/// Longest mark: a path and a few short texts.
const MAX_MARK: usize = 8_192;

/// What a kept snapshot bears: fields that hold no NUL, with NULs between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    share: ShareName,
    name: String,
    copy: ShadowCopyId,
    created: FileTime,
    /// The subvolume of the copy's volume.
    subvolume: Uuid,
    inner: PathBuf,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let Self {
            share,
            name,
            copy,
            created,
            subvolume,
            inner,
        } = self;
        let created = created.0;
        let mut mark = format!("{share}\0{name}\0{copy}\0{created}\0{subvolume}\0").into_bytes();
        mark.extend(inner.as_os_str().as_bytes());
        mark
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.split(|byte| *byte == 0);
        let mut text = || std::str::from_utf8(fields.next()?).ok();
        let share = ShareName::new(text()?);
        let name = text()?.to_owned();
        let copy = ShadowCopyId(text()?.parse().ok()?);
        let created = FileTime(text()?.parse().ok()?);
        let subvolume = text()?.parse().ok()?;
        let inner = PathBuf::from(OsStr::from_bytes(fields.next()?));
        plain_relative(&inner).ok()?;
        Some(Self {
            share,
            name,
            copy,
            created,
            subvolume,
            inner,
        })
    }
}

impl Btrfs {
    fn kept_folder(&self) -> String {
        format!("{}{FOLDER_SUFFIX}", self.folder)
    }

    pub(super) fn keep_copy(&self, source: &KeepSource, name: &str) -> Result<(), BackendError> {
        let (file_system, area, volume) = self.area_of(&source.copy)?;
        let id = source.copy.copy;
        let path = area.path.join(id.to_string());
        let root = copy::open(&area, &id.to_string(), volume)?
            .ok_or_else(|| BackendError::NotFound(path.clone()))?;
        copy::open_inner(&root, plain_relative(&source.inner)?, &path)?;
        let info = btrfs::subvolume_info(root.as_fd()).map_err(failed("GET_SUBVOL_INFO", &path))?;
        if !info.read_only {
            return Err(BackendError::NotSealed(path));
        }
        let mark = Mark {
            share: source.share.clone(),
            name: name.to_owned(),
            copy: id,
            created: source.created,
            subvolume: volume.subvolume,
            inner: source.inner.clone(),
        };
        let kept = area::make(&file_system, &self.kept_folder(), &self.config.run_dir)?;
        make(&kept, &root, &mark)
    }

    pub(super) fn all_kept(&self) -> Result<Vec<Kept>, BackendError> {
        let folder = self.kept_folder();
        let mounts = mount_table()?;
        let found = enumerate::each_area(self, &mounts, &folder, |_, area, path| {
            let mut found = Vec::new();
            for entry in entries(area.as_fd(), path)? {
                let path = path.join(&entry);
                if !entry.ends_with(UNFINISHED)
                    && let Some((file_system, mark)) = read(area.as_fd(), &entry, &path)?
                {
                    found.push((file_system, entry, mark));
                }
            }
            Ok(found)
        })?;
        found
            .into_iter()
            .map(|(file_system, entry, mark)| self.describe(file_system, &entry, mark))
            .collect()
    }

    /// With our mount in place: what is listed can be read.
    fn describe(&self, id: Uuid, entry: &str, mark: Mark) -> Result<Kept, BackendError> {
        let file_system = self.file_system(id, None)?;
        let volume = VolumeKey {
            file_system: id,
            subvolume: mark.subvolume,
        };
        let folder = area::path(&file_system.point, &self.kept_folder());
        Ok(Kept {
            backend: self.name(),
            volume: volume.into(),
            path: names::below(folder.join(entry), &mark.inner),
            share: mark.share,
            name: mark.name,
            created: mark.created,
            copy: mark.copy,
        })
    }

    pub(super) fn remove_kept(&self, kept: &Kept) -> Result<(), BackendError> {
        let volume = VolumeKey::parse(&kept.volume)?;
        let file_system: Arc<FileSystem> = self.file_system(volume.file_system, None)?;
        let Some(area) = area::open(&file_system, &self.kept_folder())? else {
            return Ok(());
        };
        let entry = entry(&kept.share, &kept.name);
        let path = area.path.join(&entry);
        match read(area.fd.as_fd(), &entry, &path)? {
            Some((_, mark)) if mark.copy == kept.copy => destroy(&area, &entry)?,
            Some(_) => return Err(BackendError::Conflict(path)),
            None => {}
        }
        copy::make_durable(&area)
    }
}

fn entry(share: &ShareName, name: &str) -> String {
    names::component(&format!("{}+{name}", share.folded()))
}

fn make(area: &Area, source: &OwnedFd, mark: &Mark) -> Result<(), BackendError> {
    let entry = entry(&mark.share, &mark.name);
    let path = area.path.join(&entry);
    match read(area.fd.as_fd(), &entry, &path)? {
        Some((_, known)) if known == *mark => return Ok(()),
        Some(_) => return Err(BackendError::Conflict(path)),
        None => {}
    }
    // One name for all: what a crash left is in nobody's way for longer than to the next.
    destroy(area, UNFINISHED)?;
    let done = make_as(area, source, mark, &entry);
    if done.is_err()
        && let Err(error) = destroy(area, UNFINISHED)
    {
        tracing::error!(
            path = %area.path.display(),
            error = &error as &dyn std::error::Error,
            "an unfinished snapshot is left until the next one is kept"
        );
    }
    done
}

fn make_as(area: &Area, source: &OwnedFd, mark: &Mark, entry: &str) -> Result<(), BackendError> {
    let unfinished = UNFINISHED;
    let (path, unfinished_path) = (area.path.join(entry), area.path.join(unfinished));
    btrfs::snapshot_create(
        source.as_fd(),
        area.fd.as_fd(),
        unfinished,
        SnapshotMode::Writable,
    )
    .map_err(failed("snapshot", &unfinished_path))?;
    crash::point("btrfs.keep.after_snapshot");
    let root = open_root(area.fd.as_fd(), unfinished)
        .and_then(|root| root.ok_or(Errno::NOENT))
        .map_err(failed("open", &unfinished_path))?;
    fsetxattr(&root, XATTR, &mark.encode(), XattrFlags::empty())
        .map_err(failed("setxattr", &unfinished_path))?;
    btrfs::set_mode(root.as_fd(), SnapshotMode::ReadOnly)
        .map_err(failed("SUBVOL_SETFLAGS", &unfinished_path))?;
    crash::point("btrfs.keep.after_mark");
    let flags = RenameFlags::NOREPLACE;
    renameat_with(&area.fd, unfinished, &area.fd, entry, flags).map_err(|errno| match errno {
        Errno::EXIST => BackendError::Conflict(path.clone()),
        errno => failed("rename", &path)(errno),
    })?;
    crash::point("btrfs.keep.after_rename");
    btrfs::commit_transaction(area.fd.as_fd()).map_err(failed("sync", &path))
}

fn open_root(area: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(area, name, flags, Mode::empty()) {
        Ok(root) => Ok(Some(root)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The file system and the mark of a kept snapshot, if it is one.
fn read(
    area: BorrowedFd<'_>,
    name: &str,
    path: &Path,
) -> Result<Option<(Uuid, Mark)>, BackendError> {
    let root = match open_root(area, name) {
        Ok(Some(root)) => root,
        Ok(None) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(BackendError::Conflict(path.to_owned())),
        Err(errno) => return Err(failed("open", path)(errno)),
    };
    let mut bytes = [0; MAX_MARK];
    let mark = match fgetxattr(&root, XATTR, &mut bytes[..]) {
        Ok(length) => bytes.get(..length).and_then(Mark::decode),
        Err(Errno::NODATA) => None,
        Err(errno) => return Err(failed("getxattr", path)(errno)),
    };
    let is_subvolume = btrfs::is_subvolume_root(root.as_fd()).map_err(failed("stat", path))?;
    let Some(mark) = mark.filter(|_| is_subvolume) else {
        tracing::warn!(path = %path.display(), "is no kept snapshot, and left alone");
        return Ok(None);
    };
    let id = super::place::file_system_id(root.as_fd()).map_err(failed("FS_INFO", path))?;
    Ok(Some((id, mark)))
}

fn destroy(area: &Area, name: &str) -> Result<(), BackendError> {
    let path = area.path.join(name);
    match btrfs::subvolume_destroy(area.fd.as_fd(), name) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::PERM | Errno::BUSY) => Err(BackendError::Busy(path.display().to_string())),
        Err(errno) => Err(failed("delete", &path)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark {
            share: ShareName::new("Data$"),
            name: "nightly-1".to_owned(),
            copy: ShadowCopyId(Uuid::from_u128(7)),
            created: FileTime(133_500_000_000_000_000),
            subvolume: Uuid::from_u128(8),
            inner: PathBuf::from(OsStr::from_bytes(b"a/\xff\xfe")),
        };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark.clone()));
        let escape = Mark {
            inner: "../../etc".into(),
            ..mark.clone()
        };
        assert_eq!(Mark::decode(&escape.encode()), None);
        let bytes = mark.encode();
        for length in 0..bytes.len() {
            let part = bytes.get(..length).and_then(Mark::decode);
            assert_ne!(part, Some(mark.clone()), "{length}");
        }
    }

    #[test]
    fn no_share_and_name_are_called_like_an_unfinished_one() {
        for (share, name) in [("", ""), ("a", "=new"), ("=new", "")] {
            assert_ne!(entry(&ShareName::new(share), name), UNFINISHED);
        }
        let folders = [names::component("fs+kept"), names::component("fs")];
        assert!(!folders.contains(&"fs+kept".to_owned()));
    }
}
