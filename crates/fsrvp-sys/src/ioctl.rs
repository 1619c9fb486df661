//! ioctl(2).

use rustix::io::{Errno, Result};
use rustix::ioctl::Opcode;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What an ioctl reads and writes.
///
/// # Safety
/// The type is an integer, or `repr(C)` and laid out as the kernel's headers say.
pub(crate) unsafe trait Argument {}

// SAFETY: an integer.
unsafe impl Argument for u64 {}

/// Calls ioctl(2). `code` has to be one for `T`.
pub(crate) fn call<T: Argument>(fd: BorrowedFd<'_>, code: Opcode, args: &mut T) -> Result<()> {
    // SAFETY: `code` encodes the size of `T`, whose layout `Argument` vouches for; the kernel reads
    // and writes no more than that.
    #[allow(
        clippy::unnecessary_cast,
        reason = "the C library decides the type of a request"
    )]
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), code as _, std::ptr::from_mut(args)) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}
