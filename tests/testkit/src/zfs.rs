//! zfs-fuse: ZFS in user space, with pools in files.
//!
//! Its socket, lock and list of pools are in places of the whole machine, so it only runs inside
//! [`Isolation::Zfs`](crate::Isolation).

use crate::process::{self, MARK};
use crate::volume::directory;
use crate::{Error, Run, comes_true};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

const SOCKET: &str = "/run/zfs/zfs_socket";
const PATIENCE: Duration = Duration::from_secs(30);

/// Why zfs-fuse cannot run here, if it cannot.
#[must_use]
pub fn unfit() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("zfs-fuse needs root".to_owned());
    }
    if fs::File::open("/dev/fuse").is_err() {
        return Some("this machine offers no /dev/fuse".to_owned());
    }
    let missing = crate::packages::missing_programs(crate::packages::ZFS);
    (!missing.is_empty())
        .then(|| format!("these programs are not installed: {}", missing.join(", ")))
}

/// A running zfs-fuse. Dropping it ends it, by its process id.
#[derive(Debug)]
pub struct ZfsFuse {
    pid: u32,
}

impl ZfsFuse {
    /// Starts the daemon with its log in `dir`, and waits until it answers. It belongs to the laboratory
    /// in `laboratory`, if there is one there.
    ///
    /// # Errors
    /// [`Error::NotReady`] with its words.
    pub fn start(dir: &Path, laboratory: &Path) -> Result<Self, Error> {
        let log = dir.join("zfs-fuse.log");
        let file = fs::File::create(&log).map_err(Error::file(&log))?;
        let errors = file.try_clone().map_err(Error::file(&log))?;
        // Without caches of names: what one mount changes, the other has to see. Samba needs
        // extended attributes.
        let run = Run::new("zfs-fuse")
            .args(["--no-daemon", "--no-kstat-mount", "--enable-xattr"])
            .args(["--fuse-attr-timeout", "0", "--fuse-entry-timeout", "0"]);
        let mut child = run
            .command()
            .env(MARK, laboratory)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Start {
                command: run.line(),
                source,
            })?;
        let daemon = Self { pid: child.id() };
        let serves = || Path::new(SOCKET).exists() && Run::new("zpool").arg("list").check().is_ok();
        let mut has_ended = || child.try_wait().ok().flatten().is_some();
        if !comes_true(PATIENCE, || serves() || has_ended()) || has_ended() {
            return Err(Error::NotReady {
                server: "zfs-fuse",
                limit: PATIENCE,
                last: fs::read_to_string(&log).unwrap_or_default(),
            });
        }
        // Collects the process when it ends.
        thread::spawn(move || child.wait());
        Ok(daemon)
    }

    /// Leaves it running when this value goes.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for ZfsFuse {
    fn drop(&mut self) {
        process::stop([self.pid], Duration::from_secs(10));
    }
}

/// Makes a pool in the file `image` and mounts its root data set.
///
/// # Errors
/// What `zpool` said.
pub fn create_pool(name: &str, image: &Path, size: u64, point: &Path) -> Result<(), Error> {
    if let Some(parent) = image.parent() {
        directory(parent)?;
    }
    fs::File::create(image)
        .and_then(|file| file.set_len(size))
        .map_err(Error::file(image))?;
    directory(point)?;
    Run::new("zpool")
        .args(["create", "-m"])
        .arg(point)
        .arg(name)
        .arg(image)
        .check()
        .map(drop)
}
