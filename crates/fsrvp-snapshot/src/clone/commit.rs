//! Commit: the data, and what has changed since Prepare.

use super::TreeClone;
use super::area::{Area, Form};
use super::cut;
use super::prepare::{Plan, moved};
use super::volume::VolumeKey;
use crate::backend::{BackendError, Deadline};
use crate::error::failed;
use crate::location::Identity;
use crate::lock;
use fsrvp_proto::job::CopySource;
use fsrvp_sys::crash;
use rustix::io::Errno;
use std::time::Instant;

impl TreeClone {
    pub(super) fn commit_all(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let done = self.cut_all(copies, writable, deadline);
        if done.is_err() {
            self.forget(copies.iter().map(|source| source.copy));
            self.leftovers.undo_all(copies, |source| self.undo(source));
        }
        done
    }

    fn cut_all(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        deadline.check()?;
        let mut plans = Vec::with_capacity(copies.len());
        for source in copies {
            self.leftovers.retry(source, |source| self.undo(source))?;
            if self.is_complete(source)? {
                continue;
            }
            let prepared = lock(&self.prepared).remove(&source.copy);
            let plan = match prepared {
                Some(plan) => plan,
                None => self.plan(source, deadline)?,
            };
            self.look_again(&plan, source)?;
            plans.push(plan);
        }
        crash::point("clone.commit.before_data");
        let began = Instant::now();
        cut::all(&plans, deadline)?;
        crash::point("clone.commit.after_data");
        for plan in &plans {
            if !writable {
                plan.copy.mark_sealed()?;
            }
            plan.area.complete(plan.id)?;
            crash::point("clone.commit.after_name");
        }
        for (index, plan) in plans.iter().enumerate() {
            let same = |other: &Plan| other.file_system.id == plan.file_system.id;
            if plans.iter().position(same) == Some(index) {
                plan.file_system.commit(plan.area.as_fd())?;
            }
        }
        crash::point("clone.commit.after_all");
        for plan in &plans {
            self.reaper.empty(&plan.area.trash);
            tracing::debug!(
                copy = %plan.id,
                files = plan.sums.files,
                extents = plan.sums.extents,
                milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                "cloned"
            );
        }
        deadline.check()
    }

    /// Whether a copy was made by an earlier call.
    ///
    /// # Errors
    /// `Conflict` if what is there is no copy of its volume.
    pub(super) fn is_complete(&self, source: &CopySource) -> Result<bool, BackendError> {
        let volume = VolumeKey::parse(&source.volume)?;
        if self.leftovers.holds(source.copy) {
            return Ok(false);
        }
        // A copy that is made is on a file system that we have mounted or can find; a share that
        // is gone has no say in it.
        match self.area(volume) {
            Ok(Some((_, area))) => Ok(area.find(source.copy, Form::Whole, volume)?.is_some()),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What may have changed since the plan was made, in a few microseconds if nothing did: the
    /// share's path leads elsewhere, something is mounted below it.
    fn look_again(&self, plan: &Plan, source: &CopySource) -> Result<(), BackendError> {
        for (share, identity) in &plan.shares {
            match Identity::at(&share.path) {
                Ok(now) if now == *identity => {}
                Ok(_) => return Err(moved(share)),
                Err(Errno::NOENT) => return Err(BackendError::NotFound(share.path.clone())),
                Err(errno) => return Err(failed("statx", &share.path)(errno)),
            }
        }
        if plan.mounts.changed() {
            self.check_shares(source, plan.volume)?;
        }
        Ok(())
    }

    pub(super) fn undo(&self, source: &CopySource) -> Result<(), BackendError> {
        let volume = VolumeKey::parse(&source.volume)?;
        self.discard_copy(source.copy, volume)?;
        Ok(())
    }

    /// Puts every form of a copy out of sight, durably, and has it removed.
    pub(super) fn discard_copy(
        &self,
        copy: fsrvp_idl::ShadowCopyId,
        volume: VolumeKey,
    ) -> Result<(), BackendError> {
        let Some((file_system, area)) = self.area(volume)? else {
            return Ok(());
        };
        area.discard(copy, &Form::ALL, volume)?;
        crash::point("clone.delete.after_all");
        // Also if nothing was there: an earlier call may have ended between renaming and this.
        file_system.commit(area.as_fd())?;
        self.reaper.empty(&area.trash);
        Ok(())
    }

    /// The server's area on a volume's file system, if there is one.
    pub(super) fn area(
        &self,
        volume: VolumeKey,
    ) -> Result<Option<(std::sync::Arc<super::file_system::FileSystem>, Area)>, BackendError> {
        let file_system = self.file_system(volume.file_system, None)?;
        let area = Area::open(&file_system, &self.folder)?;
        Ok(area.map(|area| (file_system, area)))
    }
}
