//! File systems of our own to measure backends on, without an agent, and what is put on them.

use crate::Result;
use crate::stats::{Series, timed};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{CopySource, SourceShare};
use fsrvp_snapshot::clone::{CloneConfig, Rules};
use fsrvp_snapshot::{Btrfs, BtrfsConfig, Deadline, SnapshotBackend, TreeClone};
use fsrvp_testkit::Run;
use rustix::fs::{XattrFlags, fsetxattr, fsync, syncfs};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use uuid::Uuid;

/// Size of the image: sparse, it takes what is written.
const IMAGE: u64 = 256 << 30;
/// Files of a directory.
const FILES_OF_A_DIRECTORY: usize = 50;
/// Bytes of a small file.
const SMALL: usize = 16 << 10;
/// Distance of two extents, and the data of each.
const STRIDE: u64 = 1 << 20;
const BLOCK: usize = 4 << 10;

/// What is made on a ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Btrfs,
    Xfs,
}

/// A file system in a file of its own. Dropping it removes it.
pub(crate) struct Ground {
    place: TempDir,
    kind: Kind,
}

impl Ground {
    pub(crate) fn new(kind: Kind) -> Result<Self> {
        let ground = Self {
            place: tempfile::Builder::new().prefix("fsrvp-bench-").tempdir()?,
            kind,
        };
        let image = ground.place.path().join("image");
        File::create(&image)?.set_len(IMAGE)?;
        let make = match kind {
            Kind::Btrfs => Run::new("mkfs.btrfs").arg("-q"),
            Kind::Xfs => Run::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]),
        };
        make.arg(&image).check()?;
        fs::create_dir(ground.top())?;
        Run::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(ground.top())
            .check()?;
        Ok(ground)
    }

    /// Where it is mounted.
    pub(crate) fn top(&self) -> PathBuf {
        self.place.path().join("top")
    }

    /// The clone backend.
    pub(crate) fn clones(&self) -> TreeClone {
        TreeClone::new(CloneConfig {
            rules: Rules {
                depth: 0,
                ..Rules::default()
            },
            known: vec![self.top()],
            ..CloneConfig::new("bench", self.place.path().join("run"))
        })
    }

    /// The btrfs backend.
    pub(crate) fn snapshots(&self) -> Btrfs {
        Btrfs::new(BtrfsConfig {
            server: "bench".to_owned(),
            run_dir: self.place.path().join("run"),
            known: vec![self.top()],
        })
    }

    /// A share's directory, on btrfs the root of a subvolume.
    pub(crate) fn share(&self, name: &str) -> Result<PathBuf> {
        let path = self.top().join(name);
        match self.kind {
            Kind::Xfs => fs::create_dir(&path)?,
            Kind::Btrfs => {
                let create = Run::new("btrfs").args(["subvolume", "create"]);
                create.arg(&path).check()?;
            }
        }
        Ok(path)
    }

    /// Removes a share's directory.
    pub(crate) fn remove(&self, share: &Path) -> Result<()> {
        match self.kind {
            Kind::Xfs => fs::remove_dir_all(share)?,
            Kind::Btrfs => {
                let delete = Run::new("btrfs").args(["subvolume", "delete"]);
                delete.arg(share).check()?;
            }
        }
        self.quiet()
    }

    /// From here on nobody finds anything to write.
    pub(crate) fn quiet(&self) -> Result<()> {
        Ok(syncfs(File::open(self.top())?)?)
    }

    /// What makes a copy on XFS durable: its log is written in order.
    pub(crate) fn sync(&self) -> Result<()> {
        Ok(fsync(File::open(self.top())?)?)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let ours: Vec<_> = points
            .filter(|point| Path::new(point).starts_with(self.place.path()))
            .collect();
        for point in ours.into_iter().rev() {
            let _ = Run::new("umount").arg(point).output();
        }
    }
}

/// A set of one share.
pub(crate) fn source(backend: &dyn SnapshotBackend, share: &Path) -> Result<CopySource> {
    let probe = backend.probe(share)?;
    Ok(CopySource {
        copy: ShadowCopyId(Uuid::new_v4()),
        backend: backend.name(),
        volume: probe.volume,
        shares: vec![SourceShare {
            share: ShareName::new("bench"),
            path: share.to_owned(),
            inner: probe.inner,
        }],
    })
}

/// Times of the two phases.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    pub(crate) prepare: Series,
    pub(crate) commit: Series,
}

impl Phases {
    /// One copy by the backend, timed; it is deleted afterwards.
    pub(crate) fn measure(&mut self, backend: &dyn SnapshotBackend, share: &Path) -> Result<()> {
        let source = source(backend, share)?;
        let sources = std::slice::from_ref(&source);
        let deadline = Deadline::default();
        timed(&mut self.prepare, || backend.prepare(sources, &deadline))?;
        timed(&mut self.commit, || {
            backend.commit(sources, true, &deadline)
        })?;
        delete(backend, &source)
    }
}

/// Makes a copy that stays.
pub(crate) fn keep(backend: &dyn SnapshotBackend, share: &Path) -> Result<CopySource> {
    let source = source(backend, share)?;
    let sources = std::slice::from_ref(&source);
    let deadline = Deadline::default();
    backend.prepare(sources, &deadline)?;
    backend.commit(sources, true, &deadline)?;
    Ok(source)
}

/// Deletes a copy.
pub(crate) fn delete(backend: &dyn SnapshotBackend, source: &CopySource) -> Result<()> {
    Ok(backend.delete(&source.reference())?)
}

/// A tree of small files as Samba leaves them.
pub(crate) fn make_tree(share: &Path, files: usize) -> Result<()> {
    let (descriptor, attributes) = ([0x5A; 300], [0x5A; 56]);
    let content = vec![0x5A; SMALL];
    each_file(share, files, FILES_OF_A_DIRECTORY, |path| {
        fs::write(path, &content)?;
        let file = File::open(path)?;
        let plain = XattrFlags::empty();
        fsetxattr(&file, "security.NTACL", &descriptor, plain)?;
        fsetxattr(&file, "user.DOSATTRIB", &attributes, plain)?;
        Ok(())
    })
}

/// A tree of files of one block each.
pub(crate) fn make_tree_of_blocks(share: &Path, files: usize) -> Result<()> {
    each_file(share, files, 1_000, |path| {
        Ok(fs::write(path, [0x5A; BLOCK])?)
    })
}

fn each_file(
    share: &Path,
    files: usize,
    of_a_directory: usize,
    make: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    for number in 0..files {
        let directory = share.join((number / of_a_directory).to_string());
        if number % of_a_directory == 0 {
            fs::create_dir_all(&directory)?;
        }
        make(&directory.join(number.to_string()))?;
    }
    Ok(())
}

/// A file of single blocks far from each other.
pub(crate) fn make_image(share: &Path, extents: usize) -> Result<PathBuf> {
    let path = share.join("image");
    let file = File::create(&path)?;
    let block = [0x5A; BLOCK];
    for number in 0..extents {
        file.write_all_at(&block, STRIDE * number as u64)?;
    }
    file.sync_all()?;
    Ok(path)
}
