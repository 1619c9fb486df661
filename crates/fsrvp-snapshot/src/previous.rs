//! Previous versions: `<area>/previous/<share>/@GMT-…`, symlinks to the share's directory in the
//! copy `<area>/<id>`.

use crate::backend::BackendError;
use crate::error::failed;
use crate::folder::{Folder, PASS_THROUGH, entries, make_directory, open_directory};
use crate::names::{copy_id, gmt_labels, share_folder};
use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_sys::crash;
use rustix::fs::{AtFlags, Mode, readlinkat, symlinkat, unlinkat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Every point on the way to a previous version, and away from it, at which [`fsrvp_sys::crash`] can
/// end the process: of every backend.
pub const CRASH_POINTS: &[&str] = &["previous.after_link", "previous.after_unlink"];

pub(crate) const NAME: &str = "previous";
/// Clients list this folder as themselves.
const LISTED: Mode = Mode::from_raw_mode(0o755);

/// The folder of a share in an area.
pub(crate) fn folder(area: &Path, share: &ShareName) -> PathBuf {
    area.join(NAME).join(share_folder(share))
}

/// Which links lead to which copy: read once from the area, which has no other writer, so that a
/// deletion need not look at the links of all copies.
#[derive(Debug, Default)]
pub(crate) struct Links(Option<HashMap<ShadowCopyId, Vec<Link>>>);

/// Folder and label.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    folder: String,
    label: String,
}

impl Links {
    /// Links a copy's directory `inner` under the first free second from `created` on, if no link
    /// leads there yet. Not durable: exposing again mends it.
    pub(crate) fn link(
        &mut self,
        area: &Folder,
        share: &ShareName,
        copy: ShadowCopyId,
        inner: &Path,
        created: FileTime,
    ) -> Result<(), BackendError> {
        let path = folder(&area.path, share);
        let name = share_folder(share);
        let outer = make_directory(area.fd.as_fd(), NAME, PASS_THROUGH, &area.path.join(NAME))?;
        let directory = make_directory(outer.as_fd(), &name, LISTED, &path)?;
        let target = target(copy, inner);
        let leads_there = |label: &str| {
            readlinkat(&directory, label, Vec::new())
                .is_ok_and(|found| found.as_bytes() == target.as_os_str().as_bytes())
        };
        let links = self.loaded(area)?.entry(copy).or_default();
        links.retain(|link| link.folder != name || leads_there(&link.label));
        if links.iter().any(|link| link.folder == name) {
            return Ok(());
        }
        for label in gmt_labels(created) {
            match symlinkat(&target, &directory, &label) {
                Ok(()) => {
                    crash::point("previous.after_link");
                    links.push(Link {
                        folder: name,
                        label,
                    });
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("symlink", &path.join(label))(errno)),
            }
        }
        // Without a label the copy is no previous version, and all the rest works.
        tracing::warn!(%copy, path = %path.display(), "no free second for a previous version");
        Ok(())
    }

    /// Whether a link of the share leads to the copy.
    pub(crate) fn has(
        &mut self,
        area: &Folder,
        share: &ShareName,
        copy: ShadowCopyId,
    ) -> Result<bool, BackendError> {
        let links = self.loaded(area)?.get(&copy);
        let name = share_folder(share);
        Ok(links.is_some_and(|links| links.iter().any(|link| link.folder == name)))
    }

    /// Removes all links to a copy.
    pub(crate) fn unlink(&mut self, area: &Folder, copy: ShadowCopyId) -> Result<(), BackendError> {
        let links = self.loaded(area)?;
        let path = area.path.join(NAME);
        let Some(of_copy) = links.get(&copy) else {
            return Ok(());
        };
        let outer = open_directory(area.fd.as_fd(), NAME, &path)?;
        for link in of_copy {
            let path = path.join(&link.folder);
            let directory = match &outer {
                Some(outer) => open_directory(outer.as_fd(), &link.folder, &path)?,
                None => None,
            };
            if let Some(directory) = directory {
                remove(&directory, &link.label, copy, &path)?;
                crash::point("previous.after_unlink");
            }
        }
        links.remove(&copy);
        Ok(())
    }

    fn loaded(
        &mut self,
        area: &Folder,
    ) -> Result<&mut HashMap<ShadowCopyId, Vec<Link>>, BackendError> {
        let links = match self.0.take() {
            Some(links) => links,
            None => read_all(area)?,
        };
        Ok(self.0.insert(links))
    }
}

fn target(copy: ShadowCopyId, inner: &Path) -> PathBuf {
    Path::new("../..").join(copy.to_string()).join(inner)
}

/// The copy that a link leads to, if it is one of ours.
fn copy_of(target: &[u8]) -> Option<ShadowCopyId> {
    let below = Path::new(OsStr::from_bytes(target))
        .strip_prefix("../..")
        .ok()?;
    copy_id(below.components().next()?.as_os_str().to_str()?)
}

/// Removes a link, if it still leads to the copy.
fn remove(
    directory: &OwnedFd,
    label: &str,
    copy: ShadowCopyId,
    path: &Path,
) -> Result<(), BackendError> {
    let path = path.join(label);
    match readlinkat(directory, label, Vec::new()) {
        Ok(target) if copy_of(target.as_bytes()) == Some(copy) => {}
        Ok(_) | Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
        Err(errno) => return Err(failed("readlink", &path)(errno)),
    }
    match unlinkat(directory, label, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("unlink", &path)(errno)),
    }
}

fn read_all(area: &Folder) -> Result<HashMap<ShadowCopyId, Vec<Link>>, BackendError> {
    let mut links: HashMap<ShadowCopyId, Vec<Link>> = HashMap::new();
    let path = area.path.join(NAME);
    let Some(outer) = open_directory(area.fd.as_fd(), NAME, &path)? else {
        return Ok(links);
    };
    for folder in entries(outer.as_fd(), &path)? {
        let path = path.join(&folder);
        let directory = match open_directory(outer.as_fd(), &folder, &path) {
            Ok(Some(directory)) => directory,
            Ok(None) | Err(BackendError::Conflict(_)) => continue,
            Err(error) => return Err(error),
        };
        for label in entries(directory.as_fd(), &path)? {
            let target = readlinkat(&directory, label.as_str(), Vec::new());
            let copy = target.ok().and_then(|target| copy_of(target.as_bytes()));
            if let Some(copy) = copy {
                let folder = folder.clone();
                links.entry(copy).or_default().push(Link { folder, label });
            }
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_leads_back_to_its_copy() {
        let copy = ShadowCopyId("0f0e0d0c-0b0a-0908-0706-050403020100".parse().unwrap());
        for inner in ["", "a/b"] {
            let target = target(copy, Path::new(inner));
            assert_eq!(copy_of(target.as_os_str().as_bytes()), Some(copy));
        }
        for foreign in [
            "/etc",
            "../../etc",
            "../..",
            "0f0e0d0c-0b0a-0908-0706-050403020100",
        ] {
            assert_eq!(copy_of(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
