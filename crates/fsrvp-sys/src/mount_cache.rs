//! The mount table as it was last read, as long as the kernel says that it has not changed.
//!
//! Reading the table costs some microseconds a mount, and a shadow copy looks at it several times.

use crate::mountinfo::{MountTable, MountWatch};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a table is believed. The kernel tells of a mount that comes, goes, moves or is
/// remounted, but not of a directory above a mount point that gets another name.
const MOST_AGE: Duration = Duration::from_secs(1);

/// A cache of the mount table.
#[derive(Debug, Default)]
pub struct MountCache(Mutex<Option<Seen>>);

#[derive(Debug)]
struct Seen {
    table: Arc<MountTable>,
    read: Instant,
    /// Started before the table was read.
    watch: MountWatch,
}

impl MountCache {
    /// An empty cache.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The table as it is `now`. One system call if nothing was mounted since the last call.
    ///
    /// # Errors
    /// As [`MountTable::read`].
    pub fn table(&self, now: Instant) -> io::Result<Arc<MountTable>> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = &*seen
            && now.saturating_duration_since(seen.read) < MOST_AGE
            && !seen.watch.changed()
        {
            return Ok(Arc::clone(&seen.table));
        }
        *seen = None;
        let watch = MountWatch::start()?;
        let table = Arc::new(MountTable::read()?);
        *seen = Some(Seen {
            table: Arc::clone(&table),
            read: now,
            watch,
        });
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount;
    use crate::mount::Access;
    use rustix::fs::{Mode, OFlags, open};
    use std::fs;
    use std::os::fd::AsFd;

    #[test]
    fn a_table_is_read_again_only_when_it_is_old_or_changed() {
        let cache = MountCache::new();
        let now = Instant::now();
        let first = cache.table(now).unwrap();
        // Other tests of this process mount nothing, but the machine may.
        let again = (0..100).any(|_| {
            let one = cache.table(now).unwrap();
            Arc::ptr_eq(&one, &cache.table(now).unwrap())
        });
        assert!(again, "an unchanged table is read every time");
        let old = cache.table(now + MOST_AGE).unwrap();
        assert!(!Arc::ptr_eq(&first, &old));
    }

    #[test]
    fn what_is_mounted_is_seen_at_once() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let place = std::env::temp_dir().join(format!("fsrvp-mount-cache.{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        let cache = MountCache::new();
        let now = Instant::now();
        let is_seen = || {
            let table = cache.table(now).unwrap();
            table.0.iter().any(|mount| mount.point == place)
        };
        let before = is_seen();
        let directory = open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let bound = mount::bind(directory.as_fd(), Access::ReadOnly)
            .and_then(|bound| mount::attach(bound.as_fd(), &place));
        let mounted = is_seen();
        let _ = mount::detach(&place);
        let after = is_seen();
        fs::remove_dir(&place).unwrap();
        if let Err(error) = bound {
            assert!(std::env::var_os("FSRVP_REQUIRE_LAB").is_none(), "{error}");
            eprintln!("skipped: cannot mount here: {error}");
            return;
        }
        assert_eq!((before, mounted, after), (false, true, false));
    }
}
