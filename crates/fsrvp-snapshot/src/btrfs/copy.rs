//! One copy in an area: open, seal, delete.

use super::area::Area;
use super::place::file_system_id;
use super::volume::VolumeKey;
use crate::backend::BackendError;
use crate::error::{failed, unsupported};
use crate::names;
use fsrvp_idl::ShadowCopyId;
use fsrvp_sys::btrfs::{self, SnapshotMode};
use fsrvp_sys::crash;
use rustix::fs::{
    Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags, fgetxattr, fsetxattr, openat, openat2,
    renameat_with,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use uuid::Uuid;

/// Holds the id of a copy that is sealed and the uuid of its source, as text. A subvolume that is
/// made from the copy, such as a share that is rolled back, inherits it, and so do the share's copies.
const SOURCE_XATTR: &str = "trusted.fsrvpd.source";
/// What the read-only form is called until it has changed places, and the discarded one after.
const SEAL_SUFFIX: &str = ".s";

/// The copy that a name in an area is a form of.
pub(super) fn parse_name(name: &str) -> Option<ShadowCopyId> {
    names::copy_id(name.strip_suffix(SEAL_SUFFIX).unwrap_or(name))
}

fn forms(copy: ShadowCopyId) -> [String; 2] {
    [copy.to_string(), format!("{copy}{SEAL_SUFFIX}")]
}

/// Opens the root of the form `name` of a copy of `volume`, if it exists.
///
/// # Errors
/// `Conflict` if it is no copy of `volume`.
pub(super) fn open(
    area: &Area,
    name: &str,
    volume: VolumeKey,
) -> Result<Option<OwnedFd>, BackendError> {
    let path = area.path.join(name);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match openat(&area.fd, name, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(BackendError::Conflict(path)),
        Err(errno) => return Err(failed("open", &path)(errno)),
    };
    let found = match parse_name(name) {
        Some(copy) => volume_of(root.as_fd(), copy),
        None => Ok(None),
    };
    match found.map_err(failed("GET_SUBVOL_INFO", &path))? {
        Some(found) if found == volume => Ok(Some(root)),
        _ => Err(BackendError::Conflict(path)),
    }
}

/// The volume that the subvolume `root`, with the name of `copy`, is a copy of; nothing if it is no
/// snapshot.
pub(super) fn volume_of(
    root: BorrowedFd<'_>,
    copy: ShadowCopyId,
) -> rustix::io::Result<Option<VolumeKey>> {
    if !btrfs::is_subvolume_root(root)? {
        return Ok(None);
    }
    let mut text = [0; MARK];
    let marked = match fgetxattr(root, SOURCE_XATTR, &mut text[..]) {
        Ok(length) => source_in(text.get(..length).unwrap_or_default(), copy),
        // Longer than any mark of ours.
        Err(Errno::NODATA | Errno::RANGE) => None,
        Err(errno) => return Err(errno),
    };
    let subvolume = match marked {
        Some(source) => source,
        None => Uuid::from_bytes(btrfs::subvolume_info(root)?.parent_uuid),
    };
    let file_system = file_system_id(root)?;
    Ok((!subvolume.is_nil()).then_some(VolumeKey {
        file_system,
        subvolume,
    }))
}

/// Length of a mark: two ids and a blank.
const MARK: usize = 2 * uuid::fmt::Hyphenated::LENGTH + 1;

/// The source that a mark names, if it is about `copy`.
fn source_in(mark: &[u8], copy: ShadowCopyId) -> Option<Uuid> {
    let (id, source) = std::str::from_utf8(mark).ok()?.split_once(' ')?;
    (names::copy_id(id) == Some(copy)).then(|| source.parse().ok())?
}

/// Checks that the share's directory is there in a copy.
pub(super) fn open_inner(
    root: &OwnedFd,
    inner: &Path,
    path: &Path,
) -> Result<OwnedFd, BackendError> {
    let inner = if inner.as_os_str().is_empty() {
        Path::new(".")
    } else {
        inner
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(root, inner, flags, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => BackendError::NotFound(path.to_owned()),
        other => failed("open", path)(other),
    })
}

/// Puts a read-only snapshot of a writable copy in its place and discards the writable one, so
/// that handles and mappings that are still open write into what nobody sees. (A copy whose
/// read-only flag is set goes on being written by them.)
///
/// The snapshot takes with it all that was written before, flushed or not. Exchange and removal
/// stand in one directory in this order, so one commit after both makes both durable;
/// a crash in between leaves a form that the next call finishes.
pub(super) fn seal(area: &Area, copy: ShadowCopyId, volume: VolumeKey) -> Result<(), BackendError> {
    let [name, other] = forms(copy);
    let path = area.path.join(&name);
    let root = open(area, &name, volume)?.ok_or_else(|| BackendError::NotFound(path.clone()))?;
    let info = btrfs::subvolume_info(root.as_fd()).map_err(failed("GET_SUBVOL_INFO", &path))?;
    // Either half of a seal that a crash cut short.
    let half_done = destroy(area, &other, volume)?;
    if !info.read_only {
        refuse_nested(root.as_fd(), &path)?;
        let mark = format!("{copy} {}", volume.subvolume);
        mark_source(&root, &mark).map_err(failed("setxattr", &path))?;
        exchange(area, &root, [&name, &other], volume, &path)?;
    } else if !half_done {
        return Ok(());
    }
    make_durable(area)
}

fn mark_source(root: &OwnedFd, mark: &str) -> rustix::io::Result<()> {
    fsetxattr(root, SOURCE_XATTR, mark.as_bytes(), XattrFlags::empty())
}

fn exchange(
    area: &Area,
    root: &OwnedFd,
    [name, other]: [&str; 2],
    volume: VolumeKey,
    path: &Path,
) -> Result<(), BackendError> {
    crash::point("btrfs.seal.after_mark");
    btrfs::snapshot_create(root.as_fd(), area.fd.as_fd(), other, SnapshotMode::ReadOnly)
        .map_err(failed("snapshot", path))?;
    crash::point("btrfs.seal.after_snapshot");
    renameat_with(&area.fd, name, &area.fd, other, RenameFlags::EXCHANGE)
        .map_err(failed("rename", path))?;
    crash::point("btrfs.seal.after_exchange");
    destroy(area, other, volume)?;
    crash::point("btrfs.seal.after_destroy");
    Ok(())
}

/// A subvolume that somebody made inside a writable copy would be lost by the seal.
fn refuse_nested(root: BorrowedFd<'_>, path: &Path) -> Result<(), BackendError> {
    match first_child(root) {
        Some(child) => Err(unsupported(
            &path.join(child),
            "is a subvolume of its own, made inside the copy; delete it",
        )),
        None => Ok(()),
    }
}

fn first_child(root: BorrowedFd<'_>) -> Option<std::path::PathBuf> {
    let children = btrfs::children(root).ok()?;
    children
        .into_iter()
        .find_map(|child| btrfs::child_path(root, child).ok())
}

/// Destroys every form of the copies, durably. Absent is success.
pub(super) fn delete(
    area: &Area,
    copies: &[ShadowCopyId],
    volume: VolumeKey,
) -> Result<(), BackendError> {
    destroy_all(area, copies, volume)?;
    make_durable(area)
}

/// Destroys every form of the copies; [`make_durable`] has to follow. Absent is success.
pub(super) fn destroy_all(
    area: &Area,
    copies: &[ShadowCopyId],
    volume: VolumeKey,
) -> Result<(), BackendError> {
    for &copy in copies {
        for name in forms(copy) {
            if destroy(area, &name, volume)? {
                crash::point("btrfs.delete.after_one");
            }
        }
    }
    crash::point("btrfs.delete.after_all");
    Ok(())
}

/// Makes what was removed and renamed in the area durable. Also needed if nothing was there: an
/// earlier call may have ended between removal and commit.
pub(super) fn make_durable(area: &Area) -> Result<(), BackendError> {
    btrfs::commit_transaction(area.fd.as_fd()).map_err(failed("sync", &area.path))
}

/// Destroys one form; not durable. Whether it was there.
fn destroy(area: &Area, name: &str, volume: VolumeKey) -> Result<bool, BackendError> {
    let Some(root) = open(area, name, volume)? else {
        return Ok(false);
    };
    let path = area.path.join(name);
    match btrfs::subvolume_destroy(area.fd.as_fd(), name) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        // Being sent, or made the default subvolume.
        Err(Errno::PERM | Errno::BUSY) => Err(BackendError::Busy(path.display().to_string())),
        Err(Errno::NOTEMPTY) => {
            refuse_nested(root.as_fd(), &path)?;
            Err(failed("delete", &path)(Errno::NOTEMPTY))
        }
        Err(errno) => Err(failed("delete", &path)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_one_copy() {
        let copy = ShadowCopyId(Uuid::from_u128(7));
        let mark = format!("{copy} {}", Uuid::from_u128(8));
        assert_eq!(mark.len(), MARK);
        assert_eq!(source_in(mark.as_bytes(), copy), Some(Uuid::from_u128(8)));
        let other = ShadowCopyId(Uuid::from_u128(9));
        assert_eq!(source_in(mark.as_bytes(), other), None);
        for foreign in ["", " ", "7 8", &copy.to_string()] {
            assert_eq!(source_in(foreign.as_bytes(), copy), None, "{foreign}");
        }
    }

    #[test]
    fn names_in_an_area() {
        let id = "0f0e0d0c-0b0a-0908-0706-050403020100";
        let copy = ShadowCopyId(id.parse().unwrap());
        assert_eq!(parse_name(id), Some(copy));
        assert_eq!(parse_name(&format!("{id}.s")), Some(copy));
        for foreign in [
            "",
            ".s",
            "previous",
            "0f0e0d0c-0b0a-0908-0706-050403020100.t",
            "0F0E0D0C-0b0a-0908-0706-050403020100",
            "{0f0e0d0c-0b0a-0908-0706-050403020100}",
            "0f0e0d0c0b0a09080706050403020100",
        ] {
            assert_eq!(parse_name(foreign), None, "{foreign}");
        }
    }
}
