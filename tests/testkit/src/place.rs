//! Where a laboratory is, and what of it smbd's users must be able to reach.

use crate::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The file that marks a directory as a laboratory and says how it was made.
pub(crate) const RECORD: &str = "lab.json";

/// Everything that a laboratory makes in its directory.
pub(crate) const OWN_NAMES: [&str; 11] = [
    RECORD, "env", "env.new", "agent", "demo", "host", "images", "mnt", "root", "samba", "system",
];

/// Parent of the mounts of laboratories whose own directory users cannot reach.
const ELSEWHERE: &str = "/run/fsrvp-lab";

/// Lets users pass through the laboratory's own directory, as far as that is in our hands.
pub(crate) fn open(dir: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(dir).map_err(Error::file(dir))?;
    let mode = metadata.permissions().mode();
    if mode & 0o001 == 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o011))
            .map_err(Error::file(dir))?;
    }
    Ok(())
}

/// Directory for what smbd's users have to reach: smbd walks to a share as the user, who must be able
/// to pass every directory on the way. It is the laboratory's own directory wherever that can be.
pub(crate) fn reachable(dir: &Path) -> PathBuf {
    let passable = |path: &Path| {
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    };
    // The directory itself is opened, and may not exist yet.
    if dir.ancestors().skip(1).all(passable) {
        dir.to_owned()
    } else {
        elsewhere(dir)
    }
}

/// The place that a laboratory uses when users cannot reach its directory.
pub(crate) fn elsewhere(dir: &Path) -> PathBuf {
    // `%` would be a substitution in smb.conf.
    let name = dir.to_string_lossy().replace('+', "++").replace('/', "+");
    Path::new(ELSEWHERE).join(name)
}

/// Removes a file or a directory with all that is in it; one that does not exist is fine.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(Error::file(path))?;
    if path.starts_with(ELSEWHERE) {
        // The last laboratory takes the parent with it.
        let _ = fs::remove_dir(ELSEWHERE);
    }
    Ok(())
}
