//! The hash of a directory tree: names, kinds, modes, owners, contents.

use md5::{Digest, Md5};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Hash of all that lies below a directory.
pub(crate) fn hash(root: &Path) -> io::Result<String> {
    let mut digest = Md5::new();
    add(root, &mut digest)?;
    Ok(digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn add(directory: &Path, digest: &mut Md5) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let meta = entry.path().symlink_metadata()?;
        digest.update(entry.file_name().as_bytes());
        digest.update([0]);
        digest.update(meta.mode().to_le_bytes());
        digest.update(meta.uid().to_le_bytes());
        if meta.is_dir() {
            add(&entry.path(), digest)?;
            digest.update([1]);
        } else if meta.is_symlink() {
            digest.update(fs::read_link(entry.path())?.as_os_str().as_bytes());
        } else {
            digest.update(meta.len().to_le_bytes());
            digest.update(fs::read(entry.path())?);
        }
    }
    Ok(())
}
