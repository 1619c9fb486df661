//! One copy: the snapshot, the clone that shows it, and the clone's mount.

use super::dataset::{DataSet, Volume, is_zfs};
use super::tool::{Complaint, Tool, ToolError, not_understood};
use super::{CLONE, CLONED, OWNER, SEALED, SERVER, WRITABLE, Zfs};
use crate::backend::{BackendError, Deadline};
use crate::error::failed;
use crate::folder::Folder;
use crate::location::{mount_table, open_directory};
use crate::names::copy_id;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::CopyRef;
use fsrvp_sys::crash;
use rustix::fs::syncfs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the names of our snapshots and clones begin with.
const PREFIX: &str = "fsrvp-";
/// A data set is busy for a while after its last user has gone, and takes the next attempt.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
];
/// Properties that decide how a clone's files can be used. A clone inherits from the data set that
/// it is put in, not from the one that it is made of.
const KEPT: [&str; 5] = ["aclinherit", "aclmode", "acltype", "xattr", "exec"];

/// What is recorded with a snapshot.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) is_ours: bool,
    writable: bool,
    /// A clone was made: if there is none any more, it was destroyed.
    cloned: bool,
}

impl Facts {
    /// Of a snapshot, if it exists.
    pub(super) fn get(tool: &Tool, snapshot: &str) -> Result<Option<Self>, BackendError> {
        let wanted = [SERVER, WRITABLE, CLONED].join(",");
        let found = DataSet::get(tool, snapshot, &wanted)?;
        Ok(found.map(|found| Self {
            is_ours: found.property(SERVER).is_some(),
            writable: found.is(WRITABLE, "on"),
            cloned: found.is(CLONED, "on"),
        }))
    }
}

/// A copy that exists.
#[derive(Debug)]
pub(super) struct Found {
    copy: ShadowCopyId,
    data_set: DataSet,
    snapshot: String,
    clone: String,
    facts: Facts,
}

pub(super) fn snapshot_name(data_set: &str, copy: ShadowCopyId) -> String {
    format!("{data_set}@{PREFIX}{copy}")
}

fn clone_name(pool: &str, copy: ShadowCopyId) -> String {
    format!("{pool}/{PREFIX}{copy}")
}

/// Data set and copy of a snapshot's name, if it has the form of ours.
pub(super) fn parse_snapshot(name: &str) -> Option<(&str, ShadowCopyId)> {
    let (data_set, label) = name.split_once('@')?;
    Some((data_set, copy_id(label.strip_prefix(PREFIX)?)?))
}

pub(super) fn is_clone_of_ours(data_set: &DataSet) -> bool {
    let label = data_set.name.rsplit('/').next().unwrap_or_default();
    let copy = label.strip_prefix(PREFIX).and_then(copy_id);
    copy.is_some_and(|copy| data_set.is(CLONE, &copy.to_string()))
}

impl Zfs {
    /// The copy, if it exists.
    ///
    /// # Errors
    /// `Conflict` if the name is another volume's; `Tool` if it cannot be said, because the pool is
    /// not imported.
    pub(super) fn find(&self, copy: &CopyRef) -> Result<Option<Found>, BackendError> {
        let volume = Volume::parse(&copy.volume)?;
        let id = copy.copy;
        let Some(data_set) = DataSet::find(&self.tool, &volume)? else {
            self.refuse_elsewhere(id, None)?;
            return match DataSet::get(&self.tool, volume.pool(), "type")? {
                Some(_) => Ok(None),
                None => Err(BackendError::Tool {
                    program: "zfs".into(),
                    detail: format!("pool {} of {} is not imported", volume.pool(), copy.volume),
                }),
            };
        };
        let snapshot = snapshot_name(&data_set.name, id);
        let Some(facts) = Facts::get(&self.tool, &snapshot)? else {
            self.refuse_elsewhere(id, Some(&data_set.name))?;
            return Ok(None);
        };
        if !facts.is_ours {
            return Err(BackendError::Conflict(snapshot.into()));
        }
        Ok(Some(Found {
            copy: id,
            clone: clone_name(volume.pool(), id),
            data_set,
            snapshot,
            facts,
        }))
    }

    pub(super) fn existing(&self, copy: &CopyRef) -> Result<Found, BackendError> {
        self.find(copy)?
            .ok_or_else(|| BackendError::NotFound(self.place(copy.copy)))
    }

    /// A snapshot of this name of another data set is not the copy that is meant.
    fn refuse_elsewhere(
        &self,
        copy: ShadowCopyId,
        expected: Option<&str>,
    ) -> Result<(), BackendError> {
        for name in self.snapshots()? {
            match parse_snapshot(&name) {
                Some((data_set, found)) if found == copy && Some(data_set) != expected => {
                    return Err(BackendError::Conflict(name.into()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn snapshots(&self) -> Result<Vec<String>, BackendError> {
        let rows = self
            .tool
            .rows(
                ["list", "-H", "-o", "name", "-t", "snapshot"],
                &Deadline::default(),
            )
            .map_err(ToolError::of("list", "of all snapshots"))?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// All snapshots of this server's.
    pub(super) fn ours(&self) -> Result<Vec<(String, ShadowCopyId)>, BackendError> {
        let columns = format!("name,{SERVER},{OWNER}");
        let arguments = ["list", "-H", "-o", &columns, "-t", "snapshot"];
        let rows = self
            .tool
            .rows(arguments, &Deadline::default())
            .map_err(ToolError::of("list", "of all snapshots"))?;
        let mut ours = Vec::new();
        for row in rows {
            let [name, server, owner] = row.as_slice() else {
                return Err(not_understood(&row));
            };
            if *server == self.folder && *owner == self.owner {
                let parsed = parse_snapshot(name);
                ours.extend(parsed.map(|(data_set, copy)| (data_set.to_owned(), copy)));
            }
        }
        Ok(ours)
    }

    /// Where a copy's clone is mounted.
    pub(super) fn place(&self, copy: ShadowCopyId) -> PathBuf {
        self.base.join(copy.to_string())
    }

    /// Makes the clone if there is none, and mounts it if it is not mounted.
    pub(super) fn show(&self, found: &Found) -> Result<PathBuf, BackendError> {
        Folder::make(&self.base)?;
        let point = self.place(found.copy);
        let clone = match self.clone_of(found)? {
            Some(clone) => clone,
            None if found.facts.cloned => {
                tracing::error!(
                    data_set = found.clone,
                    "somebody has destroyed the clone of a shadow copy"
                );
                return Err(BackendError::NotFound(point));
            }
            None => self.make_clone(found, &point)?,
        };
        crash::point("zfs.show.after_clone");
        if !found.facts.cloned {
            self.set(&found.snapshot, CLONED, "on")?;
            crash::point("zfs.show.after_mark");
        }
        if clone.property("mountpoint").map(Path::new) != Some(&*point) {
            self.set_path(&found.clone, "mountpoint", &point)?;
        }
        self.mount(&found.clone, &point)?;
        crash::point("zfs.show.after_mount");
        Ok(point)
    }

    fn clone_of(&self, found: &Found) -> Result<Option<DataSet>, BackendError> {
        match DataSet::look(&self.tool, &found.clone)? {
            Some(clone) if is_clone_of_ours(&clone) && clone.is("origin", &found.snapshot) => {
                Ok(Some(clone))
            }
            Some(clone) => Err(BackendError::Conflict(clone.name.into())),
            None => Ok(None),
        }
    }

    fn make_clone(&self, found: &Found, point: &Path) -> Result<DataSet, BackendError> {
        let sealed = if found.facts.writable { "off" } else { "on" };
        let mut properties = vec![
            format!("{CLONE}={}", found.copy),
            format!("{SEALED}={sealed}"),
            format!("readonly={sealed}"),
            "canmount=noauto".to_owned(),
            "devices=off".to_owned(),
            "setuid=off".to_owned(),
            "atime=off".to_owned(),
            "snapdir=hidden".to_owned(),
            // It is exported by nobody but us, and not snapshotted by those who snapshot everything.
            "sharenfs=off".to_owned(),
            "sharesmb=off".to_owned(),
            "com.sun:auto-snapshot=false".to_owned(),
        ];
        let kept = KEPT.iter().filter_map(|name| {
            let value = found.data_set.property(name)?;
            Some(format!("{name}={value}"))
        });
        properties.extend(kept);
        properties.push(format!("mountpoint={}", text(point)?));
        let options = properties
            .into_iter()
            .flat_map(|set| ["-o".to_owned(), set]);
        let arguments = ["clone".to_owned()]
            .into_iter()
            .chain(options)
            .chain([found.snapshot.clone(), found.clone.clone()]);
        self.tool
            .ask(arguments, &Deadline::default())
            .map_err(ToolError::of("clone", &found.snapshot))?;
        self.clone_of(found)?
            .ok_or_else(|| BackendError::NotFound(point.to_owned()))
    }

    /// Where a data set is mounted.
    fn mounted_at(name: &str) -> Result<Vec<PathBuf>, BackendError> {
        let mounts = mount_table()?;
        let of_it = mounts
            .0
            .iter()
            .filter(|mount| is_zfs(mount) && mount.source == name);
        Ok(of_it.map(|mount| mount.point.clone()).collect())
    }

    fn mount(&self, clone: &str, point: &Path) -> Result<(), BackendError> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let at = Self::mounted_at(clone)?;
        if at.contains(&real(point)) {
            return Ok(());
        }
        if !at.is_empty() {
            self.unmount(clone)?;
        }
        self.patiently(&["mount", clone])
            .map_err(ToolError::of("mount", clone))?;
        if Self::mounted_at(clone)?.contains(&real(point)) {
            return Ok(());
        }
        Err(BackendError::Tool {
            program: format!("zfs mount {clone}"),
            detail: format!("succeeded, and nothing is mounted at {}", point.display()),
        })
    }

    fn unmount(&self, clone: &str) -> Result<(), BackendError> {
        if Self::mounted_at(clone)?.is_empty() {
            return Ok(());
        }
        self.patiently(&["umount", clone])
            .map_err(ToolError::of("umount", clone))
    }

    /// Makes the clone read-only. The property does not reach who has the mount already, so the
    /// clone is mounted anew: refused while anything is open there.
    pub(super) fn seal_copy(&self, found: &Found) -> Result<(), BackendError> {
        let point = self.show(found)?;
        let clone = self
            .clone_of(found)?
            .ok_or_else(|| BackendError::NotFound(point.clone()))?;
        if clone.is(SEALED, "on") {
            return Ok(());
        }
        let root = open_directory(&point).map_err(failed("open", &point))?;
        syncfs(&root).map_err(failed("syncfs", &point))?;
        drop(root);
        self.unmount(&found.clone)?;
        crash::point("zfs.seal.after_unmount");
        self.set(&found.clone, "readonly", "on")?;
        crash::point("zfs.seal.after_read_only");
        self.mount(&found.clone, &point)?;
        crash::point("zfs.seal.after_mount");
        // Last: what is marked is sealed.
        self.set(&found.clone, SEALED, "on")?;
        crash::point("zfs.seal.after_mark");
        Ok(())
    }

    /// Destroys clone and snapshot, if they are there.
    pub(super) fn remove(&self, copy: &CopyRef) -> Result<(), BackendError> {
        let Some(found) = self.find(copy)? else {
            return Ok(());
        };
        if self.clone_of(&found)?.is_some() {
            self.unmount(&found.clone)?;
            crash::point("zfs.delete.after_unmount");
            self.destroy(&found.clone)?;
            crash::point("zfs.delete.after_clone");
        }
        match std::fs::remove_dir(self.place(found.copy)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(copy = %found.copy, %error, "a mount point stays");
            }
            _ => {}
        }
        self.destroy(&found.snapshot)?;
        crash::point("zfs.delete.after_snapshot");
        Ok(())
    }

    /// Never with what depends on it: that may be a user's.
    fn destroy(&self, name: &str) -> Result<(), BackendError> {
        match self.patiently(&["destroy", name]) {
            Err(error) if error.complaint() != Some(Complaint::Missing) => {
                Err(ToolError::of("destroy", name)(error))
            }
            _ => Ok(()),
        }
    }

    /// Asks again while the data set is busy.
    fn patiently(&self, arguments: &[&str]) -> Result<(), ToolError> {
        let ask = || self.tool.ask(arguments, &Deadline::default()).map(drop);
        for pause in PAUSES {
            match ask() {
                Err(error) if error.complaint() == Some(Complaint::Busy) => {
                    std::thread::sleep(pause);
                }
                other => return other,
            }
        }
        ask()
    }

    fn set(&self, name: &str, property: &str, value: &str) -> Result<(), BackendError> {
        let set = format!("{property}={value}");
        self.tool
            .ask(["set", &set, name], &Deadline::default())
            .map(drop)
            .map_err(ToolError::of("set", name))
    }

    fn set_path(&self, name: &str, property: &str, path: &Path) -> Result<(), BackendError> {
        self.set(name, property, text(path)?)
    }
}

fn text(path: &Path) -> Result<&str, BackendError> {
    path.to_str().ok_or_else(|| {
        crate::error::unsupported(path, "is no UTF-8 text, which zfs needs for a mount point")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_copies() {
        let id = "0f0e0d0c-0b0a-0908-0706-050403020100";
        let copy = ShadowCopyId(id.parse().unwrap());
        let name = snapshot_name("tank/vm", copy);
        assert_eq!(name, format!("tank/vm@fsrvp-{id}"));
        assert_eq!(parse_snapshot(&name), Some(("tank/vm", copy)));
        assert_eq!(clone_name("tank", copy), format!("tank/fsrvp-{id}"));
        for foreign in ["tank/vm", "tank/vm@daily", "tank/vm@fsrvp-1", "tank/vm@"] {
            assert_eq!(parse_snapshot(foreign), None, "{foreign}");
        }
    }
}
