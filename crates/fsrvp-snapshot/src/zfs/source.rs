//! Which data set a share's directory is on.

use super::Zfs;
use super::copy;
use super::dataset::{DataSet, is_data_set_name, is_zfs};
use super::tool::{ToolError, not_understood};
use crate::backend::{BackendError, Deadline, Probe};
use crate::error::unsupported;
use crate::location::{Location, mount_table};
use fsrvp_sys::mountinfo::MountTable;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the tool is waited for about a share that is not on ZFS: one that hangs must not hold up
/// what is on other file systems.
const ELSEWHERE: Duration = Duration::from_secs(2);

/// A share's directory on a data set.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) location: Location,
    pub(super) data_set: DataSet,
    pub(super) probe: Probe,
}

impl Zfs {
    /// Identifies a share's directory: the data set is the one that is mounted there now, not the
    /// one that should be.
    pub(super) fn locate(&self, directory: &Path) -> Result<Source, BackendError> {
        let mounts = mount_table()?;
        let location = Location::find(directory, &mounts)?;
        let mount = &location.mount;
        if !is_zfs(mount) {
            if is_running(&mounts) {
                let soon = Deadline::within(Some(ELSEWHERE));
                match self.refuse_absent(&location, &mounts, &soon) {
                    // A tool that does not work is no reason to refuse what is on other file systems.
                    Err(error) if !matches!(error, BackendError::Absent { .. }) => tracing::warn!(
                        path = %directory.display(),
                        error = &error as &dyn std::error::Error,
                        "cannot say whether a data set belongs here"
                    ),
                    other => other?,
                }
            }
            let reason = format!("is on {}, not on ZFS", mount.fs_type);
            return Err(unsupported(directory, reason));
        }
        location.refuse_mounts_below(&mounts, &self.config.run_dir)?;
        let name = mount.source.to_str().unwrap_or_default();
        if name.contains('@') {
            return Err(unsupported(directory, "is in a snapshot"));
        }
        if !is_data_set_name(name) {
            let reason = format!("is on a mount of {name:?}, which is no name of a data set");
            return Err(unsupported(directory, reason));
        }
        let data_set = DataSet::look(&self.tool, name)?.ok_or_else(|| {
            let reason = format!("is on data set {name}, which does not exist any more");
            unsupported(directory, reason)
        })?;
        if copy::is_clone_of_ours(&data_set) {
            return Err(unsupported(directory, "is in a shadow copy"));
        }
        self.refuse_absent(&location, &mounts, &Deadline::default())?;
        let inner =
            inner(&location).ok_or_else(|| unsupported(directory, "is renamed at this moment"))?;
        let probe = Probe {
            volume: data_set.volume()?.into(),
            inner,
            compatibility: 0,
        };
        Ok(Source {
            location,
            data_set,
            probe,
        })
    }

    /// Refuses a directory that a data set should be mounted on, or that one should be mounted below,
    /// but is not: an empty directory would be copied in its place.
    fn refuse_absent(
        &self,
        location: &Location,
        mounts: &MountTable,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let columns = [
            "list",
            "-H",
            "-o",
            "name,mounted,canmount,mountpoint",
            "-t",
            "filesystem",
        ];
        let rows = self
            .tool
            .rows(columns, deadline)
            .map_err(ToolError::of("list", "of all data sets"))?;
        for row in &rows {
            let [name, mounted, can_mount, point] = row.as_slice() else {
                return Err(not_understood(row));
            };
            let point = Path::new(point);
            let concerns = point.is_absolute()
                && (location.real.starts_with(point) || point.starts_with(&location.real))
                // What is mounted over it hides it on purpose.
                && point.starts_with(&location.mount.point)
                && point != location.mount.point;
            let is_there = || mounts.0.iter().any(|mount| mount.point == point);
            if concerns && mounted == "no" && can_mount == "on" && !is_there() {
                return Err(BackendError::Absent {
                    path: point.to_owned(),
                    reason: format!(
                        "data set {name} belongs there and is not mounted; mount it (zfs mount \
                         {name})"
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Whether there may be data sets at all: the driver of OpenZFS or the daemon of zfs-fuse is there,
/// or something is mounted.
fn is_running(mounts: &MountTable) -> bool {
    let doors = ["/dev/zfs", "/run/zfs/zfs_socket"];
    doors.iter().any(|door| Path::new(door).exists()) || mounts.0.iter().any(is_zfs)
}

/// Path of the directory below the root of the data set, also through a bind mount of a part.
fn inner(location: &Location) -> Option<PathBuf> {
    let below = location.real.strip_prefix(&location.mount.point).ok()?;
    let root = location.mount.root.strip_prefix("/").ok()?;
    Some(root.join(below))
}
