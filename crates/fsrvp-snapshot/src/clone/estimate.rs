//! What a copy will need: refused in Prepare rather than in Commit.

use super::TreeClone;
use super::build::Sums;
use super::config::Data;
use super::file_system::FileSystem;
use crate::backend::BackendError;
use crate::error::unsupported;
use crate::lock;
use std::path::Path;
use std::time::Duration;

/// The least that was measured for a file and for an extent, on one processor: what takes longer
/// than the limit even so is refused, what may or may not is tried.
const LEAST_PER_FILE: Duration = Duration::from_micros(8);
const LEAST_PER_EXTENT: Duration = Duration::from_micros(5);
/// What a machine that is not the fastest takes.
const USUAL_PER_FILE: Duration = Duration::from_micros(25);
const USUAL_PER_EXTENT: Duration = Duration::from_micros(25);
/// Metadata of a file, an extent: inode, name, attributes; mapping and reference count.
const SPACE_PER_FILE: u64 = 2_048;
const SPACE_PER_EXTENT: u64 = 128;
/// A file system with less free space than this is in trouble anyway.
const LEAST_FREE: u64 = 16 << 20;

impl Sums {
    /// Both, of trees that are copied in one Commit.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            directories: self.directories.saturating_add(other.directories),
            bytes: self.bytes.saturating_add(other.bytes),
            extents: self.extents.saturating_add(other.extents),
        }
    }

    fn time(&self, per_file: Duration, per_extent: Duration) -> Duration {
        let times = |each: Duration, count: u64| {
            let nanos = each.as_nanos().saturating_mul(count.into());
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let files = self.files.saturating_add(self.directories);
        times(per_file, files).saturating_add(times(per_extent, self.extents))
    }

    /// What a Commit takes at least.
    pub(super) fn least_time(&self) -> Duration {
        self.time(LEAST_PER_FILE, LEAST_PER_EXTENT)
    }

    /// What a Commit usually takes.
    pub(super) fn usual_time(&self) -> Duration {
        self.time(USUAL_PER_FILE, USUAL_PER_EXTENT)
    }

    /// Space that has to be free, with `percent` of what the files take on top of what the copy
    /// itself needs.
    pub(super) fn space(&self, percent: u32) -> u64 {
        let names = self.files.saturating_add(self.directories);
        let own = names
            .saturating_mul(SPACE_PER_FILE)
            .saturating_add(self.extents.saturating_mul(SPACE_PER_EXTENT));
        let reserve = (self.bytes / 100).saturating_mul(percent.into());
        own.saturating_add(reserve).max(LEAST_FREE)
    }
}

impl TreeClone {
    /// Refuses a Commit that cannot end in time.
    pub(super) fn check_time(&self, share: &Path, sums: Sums) -> Result<(), BackendError> {
        let Some(limit) = self.config.commit_limit.filter(|_| !self.has_own_data()) else {
            return Ok(());
        };
        let Sums { files, extents, .. } = sums;
        let (least, usual) = (sums.least_time(), sums.usual_time());
        if least > limit {
            return Err(unsupported(
                share,
                format!(
                    "has {files} files in {extents} extents, which take at least {least:.1?} to \
                     clone, and commit_limit is {limit:?}; name the files that are needed \
                     (targets), defragment them, or allow more time"
                ),
            ));
        }
        if usual > limit {
            tracing::warn!(
                path = %share.display(),
                files,
                extents,
                milliseconds = u64::try_from(usual.as_millis()).unwrap_or(u64::MAX),
                "the copy may take longer than commit_limit"
            );
        }
        Ok(())
    }

    fn has_own_data(&self) -> bool {
        self.config.data != Data::Shared
    }

    /// Refuses a share that takes longer to copy than a freeze may last: only its size is known.
    pub(super) fn check_size(&self, share: &Path, sums: Sums) -> Result<(), BackendError> {
        match self.config.data {
            Data::Own { max_bytes } if sums.bytes > max_bytes => Err(unsupported(
                share,
                format!(
                    "has {} bytes of data, and max_bytes of [server.copy] is {max_bytes}; a plain \
                     copy is for small shares",
                    sums.bytes
                ),
            )),
            Data::Own { .. } | Data::Shared => Ok(()),
        }
    }

    /// Refuses a copy for which there is no space: that of deleted copies is waited for first.
    pub(super) fn check_space(
        &self,
        file_system: &FileSystem,
        share: &Path,
        sums: Sums,
    ) -> Result<(), BackendError> {
        let data = if self.has_own_data() { sums.bytes } else { 0 };
        let needed = sums.space(self.config.reserve_percent).saturating_add(data);
        if file_system.free()? < needed {
            self.reaper.settle();
            file_system.flush()?;
        }
        let free = file_system.free()?;
        if free >= needed {
            return Ok(());
        }
        let mebibytes = |bytes: u64| bytes >> 20;
        Err(BackendError::NoSpace(format!(
            "{} (it needs {} MiB, of which {} percent of its files' size as room for what is \
             written while it exists; {} MiB are free)",
            share.display(),
            mebibytes(needed),
            self.config.reserve_percent,
            mebibytes(free),
        )))
    }

    /// Forgets what was prepared for copies.
    pub(super) fn forget(&self, copies: impl Iterator<Item = fsrvp_idl::ShadowCopyId>) {
        let mut prepared = lock(&self.prepared);
        for copy in copies {
            prepared.remove(&copy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(files: u64, extents: u64, bytes: u64) -> Sums {
        Sums {
            files,
            directories: 0,
            bytes,
            extents,
        }
    }

    #[test]
    fn time_grows_with_files_and_with_extents() {
        let least = |files, extents| sums(files, extents, 0).least_time();
        assert_eq!(least(0, 0), Duration::ZERO);
        assert_eq!(least(1_000_000, 0), Duration::from_secs(8));
        assert_eq!(least(0, 1_000_000), Duration::from_secs(5));
        assert!(least(u64::MAX, u64::MAX) > Duration::from_secs(1 << 34));
        assert!(sums(1, 1, 0).usual_time() > least(1, 1));
    }

    #[test]
    fn space_is_metadata_and_the_reserve() {
        assert_eq!(sums(1, 1, 1 << 20).space(0), LEAST_FREE);
        let (files, bytes) = (1 << 20, 100 << 30);
        let own = sums(files, files, bytes).space(0);
        assert_eq!(own, files * (SPACE_PER_FILE + SPACE_PER_EXTENT));
        assert_eq!(sums(files, files, bytes).space(100), own + bytes);
    }
}
