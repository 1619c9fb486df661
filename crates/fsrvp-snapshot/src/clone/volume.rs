//! The tree below a share's directory as the unit of a copy.

use crate::backend::BackendError;
use crate::error::{failed, unsupported};
use fsrvp_proto::job::VolumeId;
use fsrvp_sys::{btrfs, reflink};
use rustix::fs::fstat;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::Path;
use uuid::Uuid;

/// File system and root directory; as text `clone:<file system id>:<subvolume>:<inode>`, which is
/// the same after a reboot and after a rename. Off btrfs the subvolume is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct VolumeKey {
    pub(super) file_system: Uuid,
    pub(super) subvolume: u64,
    pub(super) inode: u64,
}

impl VolumeKey {
    /// Of an open directory; `path` is for messages.
    pub(super) fn of(directory: BorrowedFd<'_>, path: &Path) -> Result<Self, BackendError> {
        let subvolume = if btrfs::is_btrfs(directory).map_err(failed("statfs", path))? {
            btrfs::subvolume_info(directory)
                .map_err(failed("GET_SUBVOL_INFO", path))?
                .id
        } else {
            0
        };
        let stat = fstat(directory).map_err(failed("fstat", path))?;
        Ok(Self {
            file_system: file_system_id(directory, path)?,
            subvolume,
            inode: stat.st_ino,
        })
    }

    /// The volume of a text that [`From`] made.
    pub(super) fn parse(volume: &VolumeId) -> Result<Self, BackendError> {
        Self::parse_text(&volume.0).ok_or_else(|| {
            unsupported(
                Path::new(&volume.0),
                "is not the name of a tree that is cloned",
            )
        })
    }

    pub(super) fn parse_text(text: &str) -> Option<Self> {
        let (backend, rest) = text.split_once(':')?;
        if !["clone", "copy"].contains(&backend) {
            return None;
        }
        let mut parts = rest.split(':');
        let key = Self {
            file_system: parts.next()?.parse().ok()?,
            subvolume: parts.next()?.parse().ok()?,
            inode: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(key)
    }
}

/// The id of the file system that `fd` lies on; `path` is for messages.
///
/// # Errors
/// `Unsupported` where a file system has none that outlives a reboot.
pub(super) fn file_system_id(fd: BorrowedFd<'_>, path: &Path) -> Result<Uuid, BackendError> {
    match reflink::file_system_id(fd) {
        Ok(id) => Ok(Uuid::from_bytes(id)),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => Err(unsupported(
            path,
            "is on a file system without an id of its own, as local disks have",
        )),
        Err(errno) => Err(failed("GETFSUUID", path)(errno)),
    }
}

impl VolumeKey {
    /// As the volume of a backend.
    pub(super) fn named(self, backend: &str) -> VolumeId {
        let Self {
            file_system,
            subvolume,
            inode,
        } = self;
        VolumeId(format!("{backend}:{file_system}:{subvolume}:{inode}"))
    }
}

impl From<VolumeKey> for VolumeId {
    fn from(key: VolumeKey) -> Self {
        key.named("clone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::uuid;

    #[test]
    fn text() {
        let key = VolumeKey {
            file_system: uuid!("0f0e0d0c-0b0a-0908-0706-050403020100"),
            subvolume: 5,
            inode: 128,
        };
        let id = VolumeId::from(key);
        assert_eq!(id.0, "clone:0f0e0d0c-0b0a-0908-0706-050403020100:5:128");
        assert_eq!(VolumeKey::parse(&id).unwrap(), key);
        assert_eq!(VolumeKey::parse(&key.named("copy")).unwrap(), key);
    }

    #[test]
    fn not_ours() {
        for text in [
            "",
            "btrfs:x:y",
            "clone:",
            "clone:0f0e0d0c-0b0a-0908-0706-050403020100:5",
            "clone:0f0e0d0c-0b0a-0908-0706-050403020100:5:128:1",
            "clone:0f0e0d0c-0b0a-0908-0706-050403020100:5:-1",
        ] {
            let error = VolumeKey::parse(&VolumeId(text.into())).unwrap_err();
            assert!(matches!(error, BackendError::Unsupported { .. }), "{text}");
        }
    }
}
