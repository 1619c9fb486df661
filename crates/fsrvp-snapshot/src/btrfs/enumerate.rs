//! Which copies exist, on all mounted file systems.

use super::Btrfs;
use super::area;
use super::copy;
use super::file_system::{distinct, id_of, open_root};
use super::place::file_system_id;
use super::volume::VolumeKey;
use crate::backend::{BackendError, SnapshotBackend as _};
use crate::error::failed;
use crate::location::open_directory;
use crate::lock;
use crate::previous;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::CopyRef;
use fsrvp_sys::mount::{self, Access};
use fsrvp_sys::mountinfo::{Mount, MountTable};
use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use uuid::Uuid;

/// All copies in this server's areas, each once whatever its forms: of the known file systems, and
/// of all others where the area bears our mark. Changes nothing: a file system that we have not
/// mounted is looked at through a read-only mount without a place.
///
/// A copy of `recorded` that has a directory of its name on its file system is not opened: that
/// would read several blocks of each from the disk.
pub(super) fn copies(
    backend: &Btrfs,
    mounts: &MountTable,
    recorded: &[CopyRef],
) -> Result<BTreeMap<ShadowCopyId, VolumeKey>, BackendError> {
    let name = backend.name();
    let recorded: HashMap<_, _> = recorded
        .iter()
        .filter(|copy| copy.backend == name)
        .filter_map(|copy| Some((copy.copy, VolumeKey::parse(&copy.volume).ok()?)))
        .collect();
    let read = |id, area: &OwnedFd, path: &Path| copies_in(id, area, path, &recorded);
    let found = each_area(backend, mounts, &backend.folder, read)?;
    Ok(found.into_iter().collect())
}

/// What `read` finds in the areas `folder` of all file systems that are mounted.
pub(super) fn each_area<T>(
    backend: &Btrfs,
    mounts: &MountTable,
    folder: &str,
    read: impl Fn(Uuid, &OwnedFd, &Path) -> Result<Vec<T>, BackendError>,
) -> Result<Vec<T>, BackendError> {
    let known: HashSet<Uuid> = backend
        .config
        .known
        .iter()
        .filter_map(|path| file_system_id(open_directory(path).ok()?.as_fd()).ok())
        .collect();
    let mut found = Vec::new();
    for mount in distinct(mounts) {
        let Some(id) = id_of(mounts, mount) else {
            tracing::warn!(path = %mount.point.display(), "cannot look for copies here");
            continue;
        };
        let is_known = known.contains(&id);
        let area = open(backend, id, mount, is_known, folder);
        let path = area::path(&backend.mount_point(id), folder);
        match area.and_then(|area| area.map_or(Ok(Vec::new()), |area| read(id, &area, &path))) {
            Ok(entries) => found.extend(entries),
            Err(error) if is_known => return Err(error),
            Err(error) => tracing::warn!(
                path = %mount.point.display(),
                error = &error as &dyn std::error::Error,
                "cannot look for copies here"
            ),
        }
    }
    Ok(found)
}

/// The area `folder` of a file system, if there is one and it is this server's.
fn open(
    backend: &Btrfs,
    id: Uuid,
    mount: &Mount,
    is_known: bool,
    folder: &str,
) -> Result<Option<OwnedFd>, BackendError> {
    let path = area::path(&backend.mount_point(id), folder);
    let mounted = lock(&backend.file_systems).get(&id).cloned();
    let area = match mounted {
        Some(file_system) => area::open_at(file_system.top.as_fd(), &path, folder)?,
        None => {
            let device = Path::new(&mount.source);
            let detached = mount::btrfs_top_level(&mount.source, Access::ReadOnly)
                .map_err(failed("mount", device))?;
            let top = open_root(detached.as_fd()).map_err(failed("open", device))?;
            area::open_at(top.as_fd(), &path, folder)?
        }
    };
    let Some(area) = area else {
        return Ok(None);
    };
    let ours = area::belongs_to(area.as_fd(), &backend.config.run_dir);
    if is_known || ours.map_err(failed("getxattr", &path))? {
        return Ok(Some(area));
    }
    Ok(None)
}

fn copies_in(
    file_system: Uuid,
    area: &OwnedFd,
    path: &Path,
    recorded: &HashMap<ShadowCopyId, VolumeKey>,
) -> Result<Vec<(ShadowCopyId, VolumeKey)>, BackendError> {
    let mut found = Vec::new();
    for (name, is_directory) in typed_entries(area.as_fd(), path)? {
        let path = path.join(&name);
        let Some(copy) = copy::parse_name(&name) else {
            if ![previous::NAME, crate::clone::FOLDER].contains(&&*name) {
                tracing::warn!(path = %path.display(), "is not ours, and left alone");
            }
            continue;
        };
        if is_directory
            && let Some(volume) = recorded.get(&copy)
            && volume.file_system == file_system
        {
            found.push((copy, *volume));
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let volume = openat(area, name.as_str(), flags, Mode::empty())
            .and_then(|root| copy::volume_of(root.as_fd(), copy));
        match volume {
            Ok(Some(volume)) => found.push((copy, volume)),
            // Deleted since it was listed.
            Err(Errno::NOENT) => {}
            Ok(None) | Err(Errno::NOTDIR | Errno::LOOP) => {
                tracing::warn!(path = %path.display(), "is no copy, and left alone");
            }
            Err(errno) => return Err(failed("open", &path)(errno)),
        }
    }
    Ok(found)
}

/// The names in an area that are text, and whether they are of directories.
pub(super) fn typed_entries(
    area: BorrowedFd<'_>,
    path: &Path,
) -> Result<Vec<(String, bool)>, BackendError> {
    let mut found = Vec::new();
    for entry in Dir::read_from(area).map_err(failed("read", path))? {
        let entry = entry.map_err(failed("read", path))?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => found.push((name.to_owned(), entry.file_type() == FileType::Directory)),
        }
    }
    Ok(found)
}
