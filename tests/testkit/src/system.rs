//! Another system's root, entered by `chroot`, in which Samba and the agent run while the
//! laboratory's directory is seen at its own path on both sides.

use crate::volume::directory;
use crate::{Error, Run};
use std::path::{Path, PathBuf};

/// Where the other system is in a laboratory.
pub(crate) fn root(dir: &Path) -> PathBuf {
    dir.join("system")
}

/// Mounts the system and lets it see the laboratory, before any file system is mounted below `dir`.
pub(crate) fn enter(dir: &Path, system: &Path) -> Result<(), Error> {
    let root = root(dir);
    directory(&root)?;
    let mount = |options: &[&str], from: &Path, to: &Path| {
        Run::new("mount")
            .args(options)
            .arg(from)
            .arg(to)
            .check()
            .map(drop)
    };
    let mark = |mode: &str, path: &Path| Run::new("mount").arg(mode).arg(path).check().map(drop);
    // What either side mounts below the laboratory from now on appears on the other side.
    mount(&["--bind"], dir, dir)?;
    mark("--make-shared", dir)?;
    mount(&["--bind"], system, &root)?;
    // The system itself must not be copied into its own view of the laboratory.
    mark("--make-unbindable", &root)?;
    mount(&["-t", "proc"], Path::new("proc"), &root.join("proc"))?;
    mount(&["--rbind"], Path::new("/dev"), &root.join("dev"))?;
    mark("--make-rslave", &root.join("dev"))?;
    let first = dir.components().take(2).collect::<PathBuf>();
    mount(&["-t", "tmpfs"], Path::new("none"), &inside(&root, &first))?;
    let seen = inside(&root, dir);
    directory(&seen)?;
    mount(&["--rbind"], dir, &seen)
}

/// A path of this system as it lies in the other's root.
pub(crate) fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
