//! Which copies exist, on all mounted file systems.

use super::Btrfs;
use super::area;
use super::copy;
use super::file_system::{distinct, id_of, open_root};
use super::place::file_system_id;
use super::volume::VolumeKey;
use crate::backend::BackendError;
use crate::error::failed;
use crate::folder::entries;
use crate::location::open_directory;
use crate::lock;
use crate::previous;
use fsrvp_idl::ShadowCopyId;
use fsrvp_sys::mount::{self, Access};
use fsrvp_sys::mountinfo::{Mount, MountTable};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use uuid::Uuid;

/// All copies in this server's areas, each once whatever its forms: of the known file systems, and
/// of all others where the area bears our mark. Changes nothing: a file system that we have not
/// mounted is looked at through a read-only mount without a place.
pub(super) fn copies(
    backend: &Btrfs,
    mounts: &MountTable,
) -> Result<BTreeMap<ShadowCopyId, VolumeKey>, BackendError> {
    let found = each_area(backend, mounts, &backend.folder, copies_in)?;
    Ok(found.into_iter().collect())
}

/// What `read` finds in the areas `folder` of all file systems that are mounted.
pub(super) fn each_area<T>(
    backend: &Btrfs,
    mounts: &MountTable,
    folder: &str,
    read: impl Fn(&OwnedFd, &Path) -> Result<Vec<T>, BackendError>,
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
        match area.and_then(|area| area.map_or(Ok(Vec::new()), |area| read(&area, &path))) {
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

fn copies_in(area: &OwnedFd, path: &Path) -> Result<Vec<(ShadowCopyId, VolumeKey)>, BackendError> {
    let mut found = Vec::new();
    for name in entries(area.as_fd(), path)? {
        let path = path.join(&name);
        let Some(copy) = copy::parse_name(&name) else {
            if ![previous::NAME, crate::clone::FOLDER].contains(&&*name) {
                tracing::warn!(path = %path.display(), "is not ours, and left alone");
            }
            continue;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let volume = openat(area, name.as_str(), flags, Mode::empty())
            .and_then(|root| copy::volume_of(root.as_fd()));
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
