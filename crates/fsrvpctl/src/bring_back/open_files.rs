//! What SMB clients have open, as the kernel knows it.

use super::failed;
use crate::Failure;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file at or below `target` that an smbd has open, and the number of that process.
///
/// # Errors
/// It cannot be told: the kernel shows the files of an smbd to root alone.
pub(crate) fn open_over_smb(target: &Path) -> Result<Option<(u32, PathBuf)>, Failure> {
    open_in(Path::new("/proc"), target)
}

fn open_in(proc: &Path, target: &Path) -> Result<Option<(u32, PathBuf)>, Failure> {
    const LOOK: &str = "see what SMB clients have open: cannot read";
    let processes = std::fs::read_dir(proc).map_err(failed(LOOK, proc))?;
    for process in processes.flatten() {
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
        let files = process.path().join("fd");
        let open = match std::fs::read_dir(&files) {
            Ok(open) => open,
            // It has ended meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(LOOK, &files)(error)),
        };
        let found = open
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .find(|file| file.starts_with(target));
        if let Some(file) = found {
            return Ok(Some((pid, file)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_an_smbd_has_open_is_found_and_what_cannot_be_seen_is_told() {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("42");
        std::fs::create_dir_all(process.join("fd")).unwrap();
        std::fs::write(process.join("comm"), "smbd[10.0.0.1]\n").unwrap();
        symlink("/srv/vm/disk", process.join("fd/7")).unwrap();
        let open = |target: &str| open_in(proc.path(), Path::new(target)).unwrap();
        assert_eq!(open("/srv/vm"), Some((42, PathBuf::from("/srv/vm/disk"))));
        assert_eq!(open("/srv/sql"), None);
        // Nothing is not known to be open because nothing could be seen.
        std::fs::remove_dir_all(process.join("fd")).unwrap();
        std::fs::write(process.join("fd"), "").unwrap();
        let failure = open_in(proc.path(), Path::new("/srv/vm")).unwrap_err();
        assert!(failure.to_string().contains("/42/fd"), "{failure}");
        assert!(open_in(&process.join("none"), Path::new("/srv/vm")).is_err());
    }
}
