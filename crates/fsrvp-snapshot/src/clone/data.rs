//! The data of a file: blocks that source and copy share, or blocks of its own.

use super::config::Data;
use super::own;
use crate::backend::{BackendError, Deadline};
use crate::error::failed;
use fsrvp_sys::reflink;
use rustix::fs::{ftruncate, ioctl_ficlone};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// What is cloned at a time: a larger file is cloned in pieces, between which the deadline is
/// looked at, for nothing ends a system call of ours before its time.
const PIECE: u64 = 1 << 30;

/// Makes `target`, of `target_size` bytes, hold what `source`, of `size` bytes, holds.
pub(super) fn fill(
    data: Data,
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    size: u64,
    target_size: u64,
    path: &dyn Fn() -> PathBuf,
    deadline: &Deadline,
) -> Result<(), BackendError> {
    match data {
        Data::Shared => clone(source, target, size, target_size, path, deadline),
        Data::Own { .. } => own::copy(source, target, size, path, deadline),
    }
}

/// Makes `target`, of `target_size` bytes, hold what `source`, of `size` bytes, holds.
///
/// Up to [`PIECE`] this is one moment of the file, whoever writes to it; a larger file is of one
/// moment only while nobody writes, as is the case during a Commit.
fn clone(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    size: u64,
    target_size: u64,
    path: &dyn Fn() -> PathBuf,
    deadline: &Deadline,
) -> Result<(), BackendError> {
    if size < target_size {
        ftruncate(target, size).map_err(|errno| failed("truncate", &path())(errno))?;
    }
    if size == 0 {
        return Ok(());
    }
    let cannot = |errno| failed("clone", &path())(errno);
    if size <= PIECE {
        return ioctl_ficlone(target, source).map_err(cannot);
    }
    let mut offset = 0;
    loop {
        deadline.check()?;
        let rest = size.saturating_sub(offset);
        // The last piece goes to the end of the file, which need not be the end of a block.
        let length = if rest > PIECE { PIECE } else { 0 };
        reflink::clone_range(source, target, offset, length).map_err(cannot)?;
        if length == 0 {
            return Ok(());
        }
        offset = offset.saturating_add(length);
    }
}
