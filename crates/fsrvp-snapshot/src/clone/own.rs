//! The data of a file that shares no blocks with its source: read and written, holes left out.

use crate::backend::{BackendError, Deadline};
use crate::error::failed;
use rustix::fs::{SeekFrom, ftruncate, seek};
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// After so many bytes the deadline is looked at.
const STRETCH: u64 = 8 << 20;
/// What is read at a time.
const BUFFER: usize = 1 << 20;

/// Makes `target` hold what `source`, of `size` bytes, holds. Read and written, never by
/// copy_file_range(2), which shares blocks where it can: this is for those who want none shared.
///
/// No moment of the file while somebody writes to it.
pub(super) fn copy(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    size: u64,
    path: &dyn Fn() -> PathBuf,
    deadline: &Deadline,
) -> Result<(), BackendError> {
    let cannot = |errno| failed("copy", &path())(errno);
    // All of it a hole, whatever an earlier attempt has left.
    ftruncate(target, 0).map_err(cannot)?;
    ftruncate(target, size).map_err(cannot)?;
    let mut buffer = vec![0; BUFFER.min(usize::try_from(size).unwrap_or(BUFFER))];
    let mut at = 0;
    let mut check_at = 0;
    while let Some((begin, end)) = piece(source, at, size).map_err(cannot)? {
        at = begin;
        while at < end {
            if at >= check_at {
                deadline.check()?;
                check_at = at.saturating_add(STRETCH);
            }
            let most = usize::try_from(end.saturating_sub(at)).unwrap_or(BUFFER);
            let part = buffer.get_mut(..most.min(BUFFER)).unwrap_or_default();
            let length = match pread(source, part, at) {
                // Cut off since: what is missing is a hole, and the file is copied again.
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(cannot(errno)),
            };
            write(target, part_of(&buffer, length), at).map_err(cannot)?;
            at = at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
    }
    Ok(())
}

fn part_of(buffer: &[u8], length: usize) -> &[u8] {
    buffer.get(..length).unwrap_or_default()
}

/// The next piece of data from `at` on, up to `size`.
fn piece(source: BorrowedFd<'_>, at: u64, size: u64) -> rustix::io::Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    let begin = match seek(source, SeekFrom::Data(at)) {
        Ok(begin) if begin < size => begin,
        // Nothing but a hole is left.
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let end = match seek(source, SeekFrom::Hole(begin)) {
        Ok(end) => end.min(size),
        Err(Errno::NXIO) => size,
        Err(errno) => return Err(errno),
    };
    Ok(Some((begin, end)))
}

fn write(target: BorrowedFd<'_>, mut data: &[u8], mut at: u64) -> rustix::io::Result<()> {
    while !data.is_empty() {
        match pwrite(target, data, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => {
                data = data.get(length..).unwrap_or_default();
                at = at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::sync::atomic::Ordering;

    fn files() -> (File, File) {
        let file = || tempfile::tempfile().unwrap();
        (file(), file())
    }

    fn run(source: &File, target: &File, deadline: &Deadline) -> Result<(), BackendError> {
        let size = source.metadata().unwrap().len();
        copy(
            source.as_fd(),
            target.as_fd(),
            size,
            &PathBuf::new,
            deadline,
        )
    }

    #[test]
    fn data_and_holes() {
        let (source, target) = files();
        let pieces = [(0, 10_000_u64), (64 << 20, 3 << 20), (200 << 20, 1)];
        for (at, length) in pieces {
            let data: Vec<u8> = (0..length).map(|n| (n % 251) as u8 + 1).collect();
            source.write_all_at(&data, at).unwrap();
        }
        source.set_len((300 << 20) + 7).unwrap();
        // What an earlier attempt has left, longer than the file.
        target.write_all_at(&[9; 5_000], 100 << 20).unwrap();
        target.write_all_at(&[9; 5_000], 400 << 20).unwrap();
        run(&source, &target, &Deadline::default()).unwrap();
        let [from, to] = [&source, &target].map(|file| file.metadata().unwrap());
        assert_eq!(from.len(), to.len());
        assert!(
            to.blocks() <= from.blocks() + 64,
            "{} {}",
            to.blocks(),
            from.blocks()
        );
        let mut theirs = vec![0; 4 << 20];
        let mut ours = theirs.clone();
        for at in [0, 60 << 20, 64 << 20, 100 << 20, 200 << 20, 296 << 20] {
            source.read_exact_at(&mut theirs, at).unwrap();
            target.read_exact_at(&mut ours, at).unwrap();
            assert!(theirs == ours, "at {at}");
        }
    }

    #[test]
    fn an_empty_file_and_one_of_holes() {
        let (source, target) = files();
        run(&source, &target, &Deadline::default()).unwrap();
        source.set_len(1 << 30).unwrap();
        run(&source, &target, &Deadline::default()).unwrap();
        assert_eq!(target.metadata().unwrap().len(), 1 << 30);
        assert!(target.metadata().unwrap().blocks() < 64);
    }

    #[test]
    fn the_deadline_is_looked_at_between_stretches() {
        let (source, target) = files();
        source.write_all_at(&vec![1; 20 << 20], 0).unwrap();
        let deadline = Deadline::default();
        deadline.cancelled.store(true, Ordering::Relaxed);
        let error = run(&source, &target, &deadline).unwrap_err();
        assert!(matches!(error, BackendError::Cancelled), "{error}");
        assert_eq!(target.metadata().unwrap().blocks(), 0);
    }
}
