//! Prepare and Commit.

use super::copy::{Facts, snapshot_name};
use super::dataset::{DataSet, Volume, pool_of};
use super::tool::{Complaint, ToolError};
use super::{OWNER, SERVER, WRITABLE, Zfs};
use crate::backend::{BackendError, Deadline};
use crate::error::failed;
use crate::location::open_directory;
use crate::lock;
use fsrvp_proto::job::CopySource;
use fsrvp_sys::crash;
use rustix::fs::syncfs;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

/// A snapshot takes little; writers that go on need more at once.
const LEAST_FREE: u64 = 16 << 20;

impl Zfs {
    pub(super) fn prepare_all(
        &self,
        copies: &[CopySource],
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        for source in copies {
            deadline.check()?;
            self.guards.set(source, |path| self.located(path))?;
            for share in &source.shares {
                let found = self.locate(&share.path)?;
                let path = &share.path;
                syncfs(&found.location.directory).map_err(failed("syncfs", path))?;
                let free = found.data_set.available();
                if free.is_some_and(|free| free < LEAST_FREE) {
                    return Err(BackendError::NoSpace(format!(
                        "{}: data set {} has less than {} MiB left, or its quota has",
                        path.display(),
                        found.data_set.name,
                        LEAST_FREE >> 20
                    )));
                }
                lock(&self.names).insert(source.volume.clone(), found.data_set.name);
            }
        }
        deadline.check()
    }

    pub(super) fn cut_all(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let mut by_pool: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for source in copies {
            deadline.check()?;
            self.guards.check(source, |path| self.located(path))?;
            self.leftovers.retry(source, |source| self.undo(source))?;
            // A snapshot takes what ZFS knows of: what was written through mappings since Prepare is
            // only in the kernel's pages.
            // All shares of a copy are on its data set.
            if let Some(share) = source.shares.first() {
                let path = &share.path;
                let directory = open_directory(path).map_err(failed("open", path))?;
                syncfs(&directory).map_err(failed("syncfs", path))?;
            }
            let name = self.data_set_name(source)?;
            let pool = by_pool.entry(pool_of(&name).to_owned()).or_default();
            pool.push(snapshot_name(&name, source.copy));
        }
        crash::point("zfs.commit.before_cut");
        for snapshots in by_pool.into_values() {
            deadline.check()?;
            self.cut_of_one_pool(snapshots, writable, deadline)?;
        }
        crash::point("zfs.commit.after_all");
        deadline.check()
    }

    /// The data set of a copy's volume. What was found in Prepare is checked by the guards: the same
    /// directory on the same mount.
    fn data_set_name(&self, source: &CopySource) -> Result<String, BackendError> {
        if let Some(name) = lock(&self.names).get(&source.volume) {
            return Ok(name.clone());
        }
        let volume = Volume::parse(&source.volume)?;
        match DataSet::find(&self.tool, &volume)? {
            Some(found) => Ok(found.name),
            None => Err(BackendError::NotFound(source.volume.0.clone().into())),
        }
    }

    /// All snapshots in one call, which OpenZFS makes in one transaction; zfs-fuse takes only one
    /// name.
    fn cut_of_one_pool(
        &self,
        mut snapshots: Vec<String>,
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        if self.takes_many.load(Ordering::Relaxed) {
            match self.snapshot(&snapshots, writable, deadline) {
                Ok(()) => return Ok(()),
                Err(error) => match error.complaint() {
                    Some(Complaint::Usage) if snapshots.len() > 1 => {
                        tracing::info!(
                            "this zfs takes one snapshot a call: the data sets of a set are not \
                             cut at one moment"
                        );
                        self.takes_many.store(false, Ordering::Relaxed);
                    }
                    // Some of them may be an earlier call's, which is as good.
                    Some(Complaint::Exists) => {
                        let mut missing = Vec::new();
                        for name in snapshots {
                            if Facts::get(&self.tool, &name)?.is_none() {
                                missing.push(name);
                            }
                        }
                        snapshots = missing;
                    }
                    _ => return Err(named(&snapshots)(error)),
                },
            }
        }
        if self.takes_many.load(Ordering::Relaxed) {
            if snapshots.is_empty() {
                return Ok(());
            }
            let made = self.snapshot(&snapshots, writable, deadline);
            return made.map_err(named(&snapshots));
        }
        for name in snapshots {
            deadline.check()?;
            match self.snapshot(std::slice::from_ref(&name), writable, deadline) {
                Ok(()) => {}
                Err(error) if error.complaint() == Some(Complaint::Exists) => {}
                Err(error) => return Err(ToolError::of("snapshot", &name)(error)),
            }
        }
        Ok(())
    }

    fn snapshot(
        &self,
        names: &[String],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), ToolError> {
        let on = if writable { "on" } else { "off" };
        let properties = [
            (SERVER, &*self.folder),
            (OWNER, &*self.owner),
            (WRITABLE, on),
        ];
        let mut arguments = vec!["snapshot".to_owned()];
        for (name, value) in properties {
            arguments.extend(["-o".to_owned(), format!("{name}={value}")]);
        }
        arguments.extend_from_slice(names);
        self.tool.ask(arguments, deadline)?;
        crash::point("zfs.commit.after_call");
        Ok(())
    }

    pub(super) fn undo_all(&self, copies: &[CopySource]) {
        for source in copies {
            self.guards.forget(source.copy);
        }
        self.leftovers.undo_all(copies, |source| self.undo(source));
    }

    fn undo(&self, source: &CopySource) -> Result<(), BackendError> {
        self.remove(&source.reference())
    }

    fn located(
        &self,
        path: &Path,
    ) -> Result<(crate::location::Location, crate::backend::Probe), BackendError> {
        let source = self.locate(path)?;
        Ok((source.location, source.probe))
    }
}

fn named(snapshots: &[String]) -> impl FnOnce(ToolError) -> BackendError {
    ToolError::of("snapshot", snapshots.first().map_or("", String::as_str))
}
