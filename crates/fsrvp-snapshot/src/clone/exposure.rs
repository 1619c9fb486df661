//! How the SMB server reaches a copy: a mount of its own at `<run_dir>/clone/<id>`, which is
//! read-only once the copy is sealed.

use super::TreeClone;
use super::area::Copy;
use super::file_system::{FileSystem, is_mounted_at, make_run_directory};
use crate::backend::BackendError;
use crate::error::failed;
use crate::folder::{Folder, PASS_THROUGH, make_directory};
use crate::location::open_directory;
use crate::lock;
use fsrvp_idl::ShadowCopyId;
use fsrvp_sys::crash;
use fsrvp_sys::mount::{self, Access};
use rustix::fs::{StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// More mounts on one place than anybody makes.
const MOST_MOUNTS: usize = 16;

impl TreeClone {
    /// The folder of the mounts, where previous versions are too.
    pub(super) fn mounts_path(&self) -> PathBuf {
        self.config.run_dir.join(self.config.data.name())
    }

    pub(super) fn mounts_folder(&self) -> Result<Folder, BackendError> {
        let run_dir = make_run_directory(&self.config.run_dir)?;
        let path = self.mounts_path();
        let fd = make_directory(
            run_dir.as_fd(),
            self.config.data.name(),
            PASS_THROUGH,
            &path,
        )?;
        Ok(Folder { fd, path })
    }

    /// Where a copy is mounted.
    pub(super) fn mount_point(&self, copy: ShadowCopyId) -> PathBuf {
        self.mounts_path().join(copy.to_string())
    }

    /// Mounts a copy, read-only if it is sealed, unless it is mounted so already.
    pub(super) fn mount_copy(
        &self,
        id: ShadowCopyId,
        copy: &Copy,
    ) -> Result<(PathBuf, OwnedFd), BackendError> {
        let _one_at_a_time = lock(&self.mounting);
        let point = self.mount_point(id);
        let tree = copy.tree()?;
        let sealed = copy.is_sealed()?;
        if let Some(mounted) = mounted(&point, &tree)? {
            if sealed {
                shut(&mounted, &point)?;
            }
            return Ok((point, mounted));
        }
        let folder = self.mounts_folder()?;
        make_directory(folder.fd.as_fd(), &id.to_string(), PASS_THROUGH, &point)?;
        let access = if sealed {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let mounted = mount::bind(tree.as_fd(), access).map_err(failed("bind", &point))?;
        crash::point("clone.expose.before_attach");
        mount::attach(mounted.as_fd(), &point).map_err(failed("mount", &point))?;
        crash::point("clone.expose.after_attach");
        let directory = open_directory(&point).map_err(failed("open", &point))?;
        Ok((point, directory))
    }

    /// Makes a copy read-only for good.
    ///
    /// Nobody who came through the mount can write any more once it is read-only, and only root
    /// comes another way; so what is flushed after that is all that was ever written.
    pub(super) fn seal_copy(
        &self,
        id: ShadowCopyId,
        copy: &Copy,
        file_system: &FileSystem,
    ) -> Result<(), BackendError> {
        let _one_at_a_time = lock(&self.mounting);
        let point = self.mount_point(id);
        let mounted = mounted(&point, &copy.tree()?)?;
        if copy.is_sealed()? {
            return mounted.map_or(Ok(()), |mounted| shut(&mounted, &point));
        }
        // Most of it while writers may still be there, so that they are shut out for a short time.
        file_system.flush()?;
        if let Some(mounted) = &mounted {
            shut(mounted, &point)?;
        }
        crash::point("clone.seal.after_shut");
        file_system.flush()?;
        copy.mark_sealed()?;
        crash::point("clone.seal.after_mark");
        copy.sync()
    }

    /// Unmounts a copy, whoever uses it, and removes the place. Absent is success.
    pub(super) fn unmount_copy(&self, id: ShadowCopyId) -> Result<(), BackendError> {
        let _one_at_a_time = lock(&self.mounting);
        let point = self.mount_point(id);
        for _ in 0..MOST_MOUNTS {
            match mount::detach_lazily(&point) {
                Ok(()) => crash::point("clone.delete.after_unmount"),
                // No mount, or nothing there at all.
                Err(Errno::INVAL | Errno::NOENT) => break,
                Err(errno) => return Err(failed("umount", &point)(errno)),
            }
        }
        match std::fs::remove_dir(&point) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(crate::error::failed_io("rmdir", &point)(error))
            }
            _ => Ok(()),
        }
    }
}

/// The root of the copy's mount at `point`, if it is there.
///
/// # Errors
/// `Conflict` if something else is mounted there.
fn mounted(point: &Path, tree: &OwnedFd) -> Result<Option<OwnedFd>, BackendError> {
    let directory = match open_directory(point) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed("open", point)(errno)),
    };
    if is_mounted_at(point, tree.as_fd())? {
        return Ok(Some(directory));
    }
    let parent = point.parent().unwrap_or(point);
    let of = |path: &Path| crate::location::mount_id_at(path).map_err(failed("statx", path));
    if of(parent)? == of(point)? {
        return Ok(None);
    }
    Err(BackendError::Conflict(point.to_owned()))
}

/// Makes the mount read-only, if it is not.
///
/// # Errors
/// `Busy` while something that was opened through it can write.
fn shut(mounted: &OwnedFd, point: &Path) -> Result<(), BackendError> {
    let flags = fstatvfs(mounted).map_err(failed("statvfs", point))?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    mount::make_read_only(mounted.as_fd()).map_err(failed("make read-only", point))
}
