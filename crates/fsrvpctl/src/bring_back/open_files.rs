//! What SMB clients have open, as the kernel knows it.

use std::path::{Path, PathBuf};

/// A file at or below `target` that an smbd has open, and the number of that process.
pub(crate) fn open_over_smb(target: &Path) -> Option<(u32, PathBuf)> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if !name.starts_with("smbd") {
            continue;
        }
        let open = std::fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let found = open
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .find(|file| file.starts_with(target));
        if let Some(file) = found {
            return Some((pid, file));
        }
    }
    None
}
