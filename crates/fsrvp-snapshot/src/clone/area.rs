//! The directory in the root of a file system that holds a server's copies, and the forms of one.

use super::file_system::FileSystem;
use super::volume::VolumeKey;
use crate::backend::BackendError;
use crate::error::failed;
use crate::folder::{PASS_THROUGH, make_directory, open_directory};
use crate::names::copy_id;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::VolumeId;
use fsrvp_sys::crash;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, XattrFlags, fgetxattr, fsetxattr, fsync, mkdirat, openat,
    renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// The directory of all servers' areas in the root of a file system.
pub(super) const OUTER: &str = ".fsrvpd";
/// The directory of clones in a server's area.
pub(crate) const NAME: &str = "clone";
/// Only root walks here: users come to a copy through its mount.
const OWN: Mode = Mode::from_raw_mode(0o700);
/// What is being removed.
const TRASH: &str = "trash";
/// A copy that is not complete.
const PART: &str = ".part";
/// The copied tree in the directory of a copy.
pub(super) const TREE: &str = "tree";

/// Holds the run directory of the area's server, as text.
const OWNER_XATTR: &str = "trusted.fsrvpd.run_dir";
/// Holds the volume of a copy, as text.
const VOLUME_XATTR: &str = "trusted.fsrvpd.volume";
/// Is there, and says so, once a copy may not be written any more.
const SEALED_XATTR: &str = "trusted.fsrvpd.sealed";

/// A server's area on a file system.
#[derive(Debug)]
pub(super) struct Area {
    fd: OwnedFd,
    pub(super) trash: Arc<OwnedFd>,
    pub(super) path: PathBuf,
}

/// The states of a copy that have a name of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `<id>.part`: from the first Prepare until the end of Commit.
    Part,
    /// `<id>`: complete.
    Whole,
}

impl Form {
    pub(super) const ALL: [Self; 2] = [Self::Part, Self::Whole];

    fn name(self, copy: ShadowCopyId) -> String {
        match self {
            Self::Part => format!("{copy}{PART}"),
            Self::Whole => copy.to_string(),
        }
    }
}

/// The directory of a copy: the copied tree, and what is said of it.
#[derive(Debug)]
pub(super) struct Copy {
    fd: OwnedFd,
    pub(super) path: PathBuf,
}

impl Area {
    /// The area `folder` below the root `top` of a file system, if it exists.
    pub(super) fn open_at(
        top: BorrowedFd<'_>,
        point: &Path,
        folder: &str,
    ) -> Result<Option<Self>, BackendError> {
        let path = path(point, folder);
        let mut at = None;
        for name in [OUTER, folder, NAME] {
            let parent = at.as_ref().map_or(top, AsFd::as_fd);
            match open_directory(parent, name, &path)? {
                Some(next) => at = Some(next),
                None => return Ok(None),
            }
        }
        let Some(fd) = at else { return Ok(None) };
        let Some(trash) = open_directory(fd.as_fd(), TRASH, &path.join(TRASH))? else {
            return Ok(None);
        };
        let trash = Arc::new(trash);
        Ok(Some(Self { fd, trash, path }))
    }

    /// The area of a file system, if it exists.
    pub(super) fn open(
        file_system: &FileSystem,
        folder: &str,
    ) -> Result<Option<Self>, BackendError> {
        Self::open_at(file_system.top.as_fd(), &file_system.point, folder)
    }

    /// The area, made if it is missing and marked as belonging to `run_dir`; not durable.
    pub(super) fn make(
        file_system: &FileSystem,
        folder: &str,
        run_dir: &Path,
    ) -> Result<Self, BackendError> {
        let path = path(&file_system.point, folder);
        let top = file_system.top.as_fd();
        let outer = make_directory(top, OUTER, PASS_THROUGH, &path)?;
        crash::point("clone.area.after_mkdir");
        let server = make_directory(outer.as_fd(), folder, PASS_THROUGH, &path)?;
        let fd = make_directory(server.as_fd(), NAME, OWN, &path)?;
        let trash = make_directory(fd.as_fd(), TRASH, OWN, &path.join(TRASH))?;
        let area = Self {
            fd,
            trash: Arc::new(trash),
            path,
        };
        if !area.belongs_to(run_dir)? {
            set(&area.fd, OWNER_XATTR, run_dir.as_os_str().as_bytes())
                .map_err(failed("setxattr", &area.path))?;
        }
        Ok(area)
    }

    /// Whether the area was last used by the process that mounts below `run_dir`. A second fsrvpd
    /// may run with the same server name, in a laboratory or a container.
    pub(super) fn belongs_to(&self, run_dir: &Path) -> Result<bool, BackendError> {
        let mark = get(&self.fd, OWNER_XATTR).map_err(failed("getxattr", &self.path))?;
        Ok(mark.as_deref() == Some(run_dir.as_os_str().as_bytes()))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Begins a copy: its directory, with an empty tree in it. Not while [`Area::sweep`] is under
    /// way.
    pub(super) fn begin(
        &self,
        copy: ShadowCopyId,
        volume: VolumeKey,
    ) -> Result<Copy, BackendError> {
        let name = Form::Part.name(copy);
        let path = self.path.join(&name);
        match mkdirat(&self.fd, &name, OWN) {
            // Of a process that ended before the mark.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("mkdir", &path)(errno)),
        }
        crash::point("clone.prepare.before_mark");
        let fd = match self.look(&name)? {
            Some((fd, None)) => fd,
            _ => return Err(BackendError::Conflict(path)),
        };
        set(&fd, VOLUME_XATTR, VolumeId::from(volume).0.as_bytes())
            .map_err(failed("setxattr", &path))?;
        crash::point("clone.prepare.after_mark");
        mkdirat(&fd, TREE, OWN).map_err(failed("mkdir", &path))?;
        Ok(Copy { fd, path })
    }

    /// Opens a form of a copy, if it exists.
    ///
    /// # Errors
    /// `Conflict` if it is no copy of `volume`.
    pub(super) fn find(
        &self,
        copy: ShadowCopyId,
        form: Form,
        volume: VolumeKey,
    ) -> Result<Option<Copy>, BackendError> {
        let name = form.name(copy);
        let path = self.path.join(&name);
        match self.look(&name)? {
            None => Ok(None),
            Some((fd, Some(found))) if found == volume => Ok(Some(Copy { fd, path })),
            // Just begun: there is nothing in it.
            Some((_, None)) if form == Form::Part => Ok(None),
            Some(_) => Err(BackendError::Conflict(path)),
        }
    }

    /// The complete copy, which must exist.
    pub(super) fn whole(
        &self,
        copy: ShadowCopyId,
        volume: VolumeKey,
    ) -> Result<Copy, BackendError> {
        self.find(copy, Form::Whole, volume)?
            .ok_or_else(|| BackendError::NotFound(self.path.join(copy.to_string())))
    }

    /// What a name in the area is: a directory, and the volume that it says it is a copy of.
    fn look(&self, name: &str) -> Result<Option<(OwnedFd, Option<VolumeKey>)>, BackendError> {
        let path = self.path.join(name);
        let fd = match open(self.fd.as_fd(), name) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(BackendError::Conflict(path)),
            Err(errno) => return Err(failed("open", &path)(errno)),
        };
        let mark = get(&fd, VOLUME_XATTR).map_err(failed("getxattr", &path))?;
        let volume = mark
            .and_then(|mark| String::from_utf8(mark).ok())
            .and_then(|text| VolumeKey::parse_text(&text));
        Ok(Some((fd, volume)))
    }

    /// The copy that an entry of the area is a form of; nothing if it is none.
    pub(super) fn copy_of(
        &self,
        name: &str,
    ) -> Result<Option<(ShadowCopyId, VolumeKey)>, BackendError> {
        let Some(copy) = copy_id(name.strip_suffix(PART).unwrap_or(name)) else {
            return Ok(None);
        };
        match self.look(name) {
            Ok(Some((_, Some(volume)))) => Ok(Some((copy, volume))),
            Ok(_) | Err(BackendError::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a complete copy its name; not durable.
    pub(super) fn complete(&self, copy: ShadowCopyId) -> Result<(), BackendError> {
        let (part, whole) = (Form::Part.name(copy), Form::Whole.name(copy));
        renameat_with(&self.fd, &part, &self.fd, &whole, RenameFlags::NOREPLACE)
            .map_err(failed("rename", &self.path.join(whole)))
    }

    /// Puts forms of a copy into the trash; whether there was one. Not durable.
    pub(super) fn discard(
        &self,
        copy: ShadowCopyId,
        forms: &[Form],
        volume: VolumeKey,
    ) -> Result<bool, BackendError> {
        let mut found = false;
        for &form in forms {
            let name = form.name(copy);
            if self.find(copy, form, volume)?.is_none() {
                self.sweep(&name);
                continue;
            }
            let fresh = Uuid::new_v4().to_string();
            match renameat(&self.fd, &name, &*self.trash, fresh) {
                Ok(()) => found = true,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed("rename", &self.path.join(name))(errno)),
            }
            crash::point("clone.delete.after_one");
        }
        Ok(found)
    }
}

impl Area {
    /// Removes a directory that a process left which ended before it marked it: it is empty.
    /// Whether it was one.
    pub(super) fn sweep(&self, name: &str) -> bool {
        name.ends_with(PART)
            && matches!(self.look(name), Ok(Some((_, None))))
            && unlinkat(&self.fd, name, AtFlags::REMOVEDIR).is_ok()
    }
}

impl Copy {
    /// Opens the copied tree.
    pub(super) fn tree(&self) -> Result<OwnedFd, BackendError> {
        open(self.fd.as_fd(), TREE).map_err(failed("open", &self.path.join(TREE)))
    }

    pub(super) fn is_sealed(&self) -> Result<bool, BackendError> {
        get(&self.fd, SEALED_XATTR)
            .map(|mark| mark.is_some())
            .map_err(failed("getxattr", &self.path))
    }

    /// Notes that the copy may not be written any more; not durable.
    pub(super) fn mark_sealed(&self) -> Result<(), BackendError> {
        set(&self.fd, SEALED_XATTR, b"1").map_err(failed("setxattr", &self.path))
    }

    /// Makes durable what is noted of the copy.
    pub(super) fn sync(&self) -> Result<(), BackendError> {
        fsync(&self.fd).map_err(failed("fsync", &self.path))
    }
}

fn path(point: &Path, folder: &str) -> PathBuf {
    point.join(OUTER).join(folder).join(NAME)
}

fn open(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn set(fd: &OwnedFd, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    fsetxattr(fd, name, value, XattrFlags::empty())
}

fn get(fd: &OwnedFd, name: &str) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 4096];
    match fgetxattr(fd, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether a name in an area is one of ours that is no copy.
pub(super) fn is_furniture(name: &str) -> bool {
    name == TRASH
}
