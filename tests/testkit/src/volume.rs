//! The laboratory's file systems and what is shared from them.

use crate::zfs::{self, ZfsFuse};
use crate::{Error, Run, place};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the first and the second file system of a laboratory are. Whatever they are, their names stay
/// `btrfs1` and `btrfs2`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Storage {
    /// btrfs, with subvolumes.
    #[default]
    Btrfs,
    /// Pools of zfs-fuse, with data sets. Only inside [`Isolation::Zfs`](crate::Isolation).
    Zfs,
    /// XFS, every share a directory; what is called after btrfs is XFS then, too.
    Xfs,
    /// ext4, every share a directory.
    Ext4,
}

/// What a share is for. The name is the key in the laboratory's environment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareKey {
    /// A subvolume of btrfs file system 1.
    A,
    /// The same subvolume again.
    A2,
    /// A subvolume of btrfs file system 2.
    B,
    /// A share whose name ends with `$`.
    Hidden,
    /// A directory on XFS with reflinks.
    Xfs,
    /// A directory below a subvolume's root.
    Subdir,
    /// A subvolume with another file system mounted below it.
    Nested,
    /// A file system that no backend takes.
    Unsupported,
    /// The share whose name `smbtorture` insists on, with previous versions.
    Torture,
}

impl ShareKey {
    /// Every share of a laboratory.
    pub const ALL: [Self; 9] = [
        Self::A,
        Self::A2,
        Self::B,
        Self::Hidden,
        Self::Xfs,
        Self::Subdir,
        Self::Nested,
        Self::Unsupported,
        Self::Torture,
    ];

    /// Key in the environment file.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::A => "SHARE_A",
            Self::A2 => "SHARE_A2",
            Self::B => "SHARE_B",
            Self::Hidden => "SHARE_HIDDEN",
            Self::Xfs => "SHARE_XFS",
            Self::Subdir => "SHARE_SUBDIR",
            Self::Nested => "SHARE_NESTED",
            Self::Unsupported => "SHARE_UNSUPPORTED",
            Self::Torture => "TORTURE_SHARE",
        }
    }

    /// Bare name of the share.
    #[must_use]
    pub const fn share_name(self) -> &'static str {
        match self {
            Self::A => "vm",
            Self::A2 => "vm2",
            Self::B => "data",
            Self::Hidden => "hidden$",
            Self::Xfs => "reflink",
            Self::Subdir => "below",
            Self::Nested => "nested",
            Self::Unsupported => "nobackend",
            Self::Torture => "fsrvp_share",
        }
    }

    /// Directory below the mounts' directory.
    const fn path(self) -> &'static str {
        match self {
            Self::A | Self::A2 => "btrfs1/vm",
            Self::B => "btrfs2/data",
            Self::Hidden => "btrfs1/hidden",
            Self::Xfs => "xfs/reflink",
            Self::Subdir => "btrfs1/tree/branch/below",
            Self::Nested => "btrfs1/nested",
            Self::Unsupported => "tmpfs/nobackend",
            Self::Torture => "btrfs1/torture",
        }
    }

    /// Whether the share's directory is the root of a btrfs subvolume.
    #[must_use]
    pub const fn is_subvolume(self) -> bool {
        match self {
            Self::A | Self::A2 | Self::B | Self::Hidden | Self::Nested | Self::Torture => true,
            Self::Xfs | Self::Subdir | Self::Unsupported => false,
        }
    }
}

/// A share of the laboratory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// What it is for.
    pub key: ShareKey,
    /// Bare name.
    pub name: &'static str,
    /// Directory on this machine.
    pub path: PathBuf,
}

/// All shares of the laboratory in `dir`.
pub(crate) fn shares(dir: &Path) -> Vec<Share> {
    let share = |key: ShareKey| Share {
        key,
        name: key.share_name(),
        path: mounts_directory(dir).join(key.path()),
    };
    ShareKey::ALL.into_iter().map(share).collect()
}

/// Where the file systems are mounted.
pub(crate) fn mounts_directory(dir: &Path) -> PathBuf {
    place::reachable(dir).join("mnt")
}

/// Makes the images, the file systems and the shares' directories, everything mounted.
/// On a single disk the btrfs file systems are there already.
pub(crate) fn create(
    dir: &Path,
    size: u64,
    single_disk: bool,
    storage: Storage,
) -> Result<(), Error> {
    let mounts = mounts_directory(dir);
    if storage == Storage::Zfs {
        let images = dir.join("images");
        directory(&images)?;
        // Ends with the laboratory's other processes.
        ZfsFuse::start(&images, dir)?.keep();
        for name in ["btrfs1", "btrfs2"] {
            zfs::create_pool(name, &images.join(name), size, &mounts.join(name))?;
        }
    }
    let xfs = || Run::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]);
    let usual = || match storage {
        Storage::Btrfs | Storage::Zfs => Run::new("mkfs.btrfs").arg("--quiet"),
        Storage::Xfs => xfs(),
        Storage::Ext4 => Run::new("mkfs.ext4").args(["-q", "-F"]),
    };
    for (name, make) in [("btrfs1", usual()), ("btrfs2", usual()), ("xfs", xfs())] {
        if (single_disk || storage == Storage::Zfs) && name.starts_with("btrfs") {
            continue;
        }
        let image = image(dir, name, size)?;
        make.arg(&image).check()?;
        let found = Run::new("losetup")
            .args(["--find", "--show"])
            .arg(&image)
            .check()?;
        mount(Path::new(found.stdout.trim()), &mounts.join(name), None)?;
    }
    mount(Path::new("none"), &mounts.join("tmpfs"), Some("tmpfs"))?;

    for subvolume in [
        "btrfs1/vm",
        "btrfs1/hidden",
        "btrfs1/tree",
        "btrfs1/nested",
        "btrfs1/torture",
    ]
    .into_iter()
    .chain(["btrfs2/data"])
    {
        match storage {
            Storage::Btrfs => Run::new("btrfs")
                .args(["subvolume", "create"])
                .arg(mounts.join(subvolume))
                .check()
                .map(drop)?,
            Storage::Zfs => Run::new("zfs")
                .args(["create", subvolume])
                .check()
                .map(drop)?,
            Storage::Xfs | Storage::Ext4 => directory(&mounts.join(subvolume))?,
        }
    }
    for share in shares(dir) {
        directory(&share.path)?;
        open_to_all(&share.path)?;
    }
    mount_nested(dir)
}

/// Mounts what stands below a share.
pub(crate) fn mount_nested(dir: &Path) -> Result<(), Error> {
    mount(
        Path::new("none"),
        &mounts_directory(dir).join("btrfs1/nested/mounted"),
        Some("tmpfs"),
    )
}

/// Makes one more btrfs file system and mounts it under its name.
pub(crate) fn create_one(dir: &Path, name: &str, size: u64) -> Result<(), Error> {
    let image = image(dir, name, size)?;
    Run::new("mkfs.btrfs").arg("--quiet").arg(&image).check()?;
    let found = Run::new("losetup")
        .args(["--find", "--show"])
        .arg(&image)
        .check()?;
    let place = mounts_directory(dir).join(name);
    mount(Path::new(found.stdout.trim()), &place, None)
}

/// Lets every account write a directory.
pub(crate) fn open_to_all(path: &Path) -> Result<(), Error> {
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(path, everybody).map_err(Error::file(path))
}

fn image(dir: &Path, name: &str, size: u64) -> Result<PathBuf, Error> {
    let images = dir.join("images");
    directory(&images)?;
    let image = images.join(name);
    // Sparse: it takes only the space that is written.
    fs::File::create(&image)
        .and_then(|file| file.set_len(size))
        .map_err(Error::file(&image))?;
    Ok(image)
}

fn mount(what: &Path, on: &Path, kind: Option<&str>) -> Result<(), Error> {
    directory(on)?;
    let run = match kind {
        Some(kind) => Run::new("mount").args(["-t", kind, "-o", "size=64m"]),
        None => Run::new("mount"),
    };
    run.arg(what).arg(on).check().map(drop)
}

pub(crate) fn directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file(path))
}
