//! What holds a file open for writing.

use fsrvp_sys::shared_mapping::SharedMapping;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Something through which the beginning of a file can be written.
pub trait Writer {
    /// Writes four bytes, and flushes nothing.
    ///
    /// # Errors
    /// As the file system.
    fn write(&mut self, bytes: &[u8; 4]) -> io::Result<()>;
}

impl Writer for File {
    fn write(&mut self, bytes: &[u8; 4]) -> io::Result<()> {
        self.write_all_at(bytes, 0)
    }
}

impl Writer for SharedMapping {
    fn write(&mut self, bytes: &[u8; 4]) -> io::Result<()> {
        self.write_at(0, bytes)
    }
}

/// A handle, and a mapping whose file is closed, of a file of the kernel's with four bytes.
///
/// # Panics
/// The file cannot be opened or mapped.
#[must_use]
pub fn writers(path: &Path) -> Vec<Box<dyn Writer>> {
    let open = || OpenOptions::new().read(true).write(true).open(path);
    let file = open().unwrap();
    let mapping = SharedMapping::new(&file, 4).unwrap();
    vec![Box::new(file), Box::new(mapping)]
}
