//! A file mapped for writing, for tests of what a snapshot does with dirty pages of a mapping.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// A shared, writable mapping of the beginning of a file.
#[derive(Debug)]
pub struct SharedMapping {
    start: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone and is only written through `&mut self`.
unsafe impl Send for SharedMapping {}

impl SharedMapping {
    /// Maps the first `length` bytes of a file that is at least as long and never made shorter.
    ///
    /// # Errors
    /// The file is shorter, or mmap(2) fails.
    pub fn new(file: &File, length: usize) -> Result<Self> {
        if file.metadata()?.len() < length as u64 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: a new mapping at an address that the kernel chooses, of a valid descriptor.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => Ok(Self { start, length }),
            _ => Err(Error::last_os_error()),
        }
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// They do not fit.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let offset = usize::try_from(offset).map_err(Error::other)?;
        match offset.checked_add(bytes.len()) {
            Some(end) if end <= self.length => {}
            _ => return Err(ErrorKind::UnexpectedEof.into()),
        }
        // SAFETY: source and target are valid for the length and do not overlap; the file is not
        // made shorter, as `new` demands.
        unsafe {
            let target = self.start.as_ptr().cast::<u8>().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(())
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing refers to it any more.
        unsafe {
            libc::munmap(self.start.as_ptr(), self.length);
        }
    }
}
