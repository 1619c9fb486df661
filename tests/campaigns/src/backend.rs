//! The backends that campaigns run on, and what others than the agent see of each one's copies.

pub(crate) use crate::arguments::Backend;
use crate::observed::{VOLUMES, names};
use crate::stage::Base;
use crate::view::Status;
use crate::{Outcome, tree};
use fsrvp_idl::ShadowCopyId;
use fsrvp_testkit::{Isolation, Lab, LabOptions, Random, Run, comes_true, until};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time until what was deleted has been removed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names that have to be seen of a copy, and others that may be.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) must: BTreeSet<String>,
    pub(crate) may: BTreeSet<String>,
}

impl Backend {
    /// Enters namespaces where that is what it needs; this program begins again there.
    pub(crate) fn enter(self) -> Outcome {
        match self {
            Self::Zfs => {
                if let Some(unfit) = fsrvp_testkit::zfs::unfit() {
                    return Err(unfit.into());
                }
                Ok(Isolation::Zfs.enter()?)
            }
            Self::Btrfs | Self::Clone | Self::Exec | Self::Copy => Ok(()),
        }
    }

    /// A laboratory whose shares are on it.
    pub(crate) fn options(self, options: LabOptions) -> LabOptions {
        match self {
            Self::Btrfs => options,
            Self::Clone => options.xfs(),
            Self::Zfs => options.zfs(),
            Self::Exec => options.site_program(),
            Self::Copy => options.plain_copies(),
        }
    }

    /// Its name on the command line.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
            Self::Clone => "clone",
            Self::Zfs => "zfs",
            Self::Exec => "exec",
            Self::Copy => "copy",
        }
    }

    /// Points at which the agent can be made to crash.
    pub(crate) fn crash_points(self) -> impl Iterator<Item = &'static str> {
        fsrvp_server::crash_points::of(self.word())
    }

    /// Below a volume, the directory in which copies lie, each by its id; none if there is none.
    fn area(self, lab: &Lab) -> Option<PathBuf> {
        let server = lab.server_name();
        match self {
            Self::Btrfs => Some(Path::new(".fsrvpd").join(server)),
            Self::Clone => Some(Path::new(".fsrvpd").join(server).join("clone")),
            Self::Copy => Some(
                Path::new(".fsrvpd")
                    .join(format!("{server}+copy"))
                    .join("clone"),
            ),
            Self::Exec => Some(Path::new(".fsrvpd-trees").join(server)),
            Self::Zfs => None,
        }
    }

    /// Where copies are mounted for smbd, and where previous versions are; none where both are in
    /// the area.
    fn mounts(self, lab: &Lab) -> Option<PathBuf> {
        let below = match self {
            Self::Btrfs => return None,
            Self::Clone => "clone",
            Self::Copy => "copy",
            Self::Exec => "exec/tree",
            Self::Zfs => "zfs",
        };
        Some(lab.run_dir().join(below))
    }

    /// Where the agent mounts file systems for itself: not more than the volumes.
    fn roots(self, lab: &Lab) -> Option<PathBuf> {
        match self {
            Self::Btrfs => Some(lab.run_dir()),
            Self::Clone => Some(lab.run_dir().join("roots")),
            Self::Copy => Some(lab.run_dir().join("copy-roots")),
            Self::Exec | Self::Zfs => None,
        }
    }

    /// Takes the agent's own mounts away, as if it had never run.
    pub(crate) fn unmount_roots(self, lab: &Lab) -> Outcome {
        let Some(roots) = self.roots(lab).filter(|roots| roots.exists()) else {
            return Ok(());
        };
        for mount in names(&roots)? {
            Run::new("umount").arg(roots.join(mount)).output()?;
        }
        Ok(())
    }

    /// The folders of previous versions.
    pub(crate) fn previous(self, lab: &Lab) -> Vec<PathBuf> {
        match (self.mounts(lab), self.area(lab)) {
            (Some(mounts), _) => vec![mounts.join("previous")],
            (None, Some(area)) => VOLUMES
                .map(|volume| lab.volume(volume).join(&area).join("previous"))
                .to_vec(),
            (None, None) => Vec::new(),
        }
    }

    /// Everything that could be a copy, as the file system's own tools tell it, and what lies
    /// beside the copies that is none.
    pub(crate) fn look(self, lab: &Lab) -> Outcome<(BTreeSet<String>, Vec<PathBuf>)> {
        match (self, self.area(lab)) {
            (Self::Btrfs, Some(area)) => {
                let mut found = BTreeSet::new();
                let mut strangers = Vec::new();
                for volume in VOLUMES {
                    found.extend(subvolumes(lab, volume)?);
                    strangers.extend(others(&lab.volume(volume).join(&area), &["previous"])?);
                }
                Ok((found, strangers))
            }
            (_, Some(area)) => {
                let mut found = BTreeSet::new();
                let mut strangers = Vec::new();
                for volume in VOLUMES {
                    let area = lab.volume(volume).join(&area);
                    if !area.exists() {
                        continue;
                    }
                    strangers.extend(emptied(&area.join("trash"))?);
                    for name in names(&area)? {
                        found.insert(format!("{volume}/{name}"));
                    }
                    for furniture in ["trash", "lock"] {
                        found.remove(&format!("{volume}/{furniture}"));
                    }
                }
                Ok((found, strangers))
            }
            (_, None) => {
                let list = ["list", "-H", "-o", "name", "-t", "filesystem,snapshot"];
                let listed = Run::new("zfs").args(list).check()?.stdout;
                Ok((listed.lines().map(str::to_owned).collect(), Vec::new()))
            }
        }
    }

    /// What is to be seen of a copy of `base` in a set of this status.
    pub(crate) fn names(self, lab: &Lab, copy: ShadowCopyId, base: &Base, status: Status) -> Names {
        let mut names = Names::default();
        if status < Status::Committed {
            return names;
        }
        let volume = base.volume;
        match (self, self.area(lab)) {
            (Self::Btrfs, Some(area)) => {
                let path = Path::new(volume).join(area).join(copy.to_string());
                names.must.insert(path.display().to_string());
            }
            (_, Some(_)) => {
                names.must.insert(format!("{volume}/{copy}"));
            }
            (_, None) => {
                let snapshot = format!("{volume}/{}@fsrvp-{copy}", base.data_set);
                names.must.insert(snapshot);
                let clone = format!("{volume}/fsrvp-{copy}");
                if status >= Status::Exposed {
                    names.must.insert(clone);
                } else {
                    names.may.insert(clone);
                }
            }
        }
        names
    }

    /// Mounts of copies: which there must and may be for a copy in a set of this status.
    pub(crate) fn mount_points(self, lab: &Lab, copy: ShadowCopyId, status: Status) -> Names {
        let mut names = Names::default();
        let Some(mounts) = self.mounts(lab) else {
            return names;
        };
        let point = mounts.join(copy.to_string()).display().to_string();
        if status >= Status::Exposed {
            names.must.insert(point);
        } else if status == Status::Committed {
            names.may.insert(point);
        }
        names
    }

    /// Whether a mount is one of the agent's own.
    pub(crate) fn is_root(self, lab: &Lab, mount: &Path) -> bool {
        self.roots(lab)
            .is_some_and(|roots| mount.parent() == Some(&roots))
    }

    /// Where a share lies in a copy that is exposed.
    pub(crate) fn copy_path(self, lab: &Lab, copy: ShadowCopyId, base: &Base) -> PathBuf {
        let area = lab
            .volume(base.volume)
            .join(self.area(lab).unwrap_or_default());
        let id = copy.to_string();
        match self {
            Self::Btrfs => below(&area.join(id), base.inner),
            Self::Clone | Self::Copy => area.join(id).join("tree"),
            Self::Exec => area.join(id).join("data"),
            Self::Zfs => below(&self.mounts(lab).unwrap_or_default().join(id), base.inner),
        }
    }

    /// Hash of a share in a copy, whether it is exposed or not.
    pub(crate) fn copy_hash(self, lab: &Lab, copy: ShadowCopyId, base: &Base) -> Outcome<String> {
        let path = self.copy_path(lab, copy, base);
        if self != Self::Zfs || path.exists() {
            return Ok(tree::hash(&path)?);
        }
        // zfs-fuse shows snapshots only through clones.
        let name = format!("{}/look", base.volume);
        let point = lab.dir().join("look");
        let snapshot = format!("{}/{}@fsrvp-{copy}", base.volume, base.data_set);
        Run::new("zfs")
            .args(["clone", "-o"])
            .arg(format!("mountpoint={}", point.display()))
            .args([&snapshot, &name])
            .check()?;
        let hash = tree::hash(&below(&point, base.inner));
        // Somebody may still look into it.
        let destroy = || Run::new("zfs").args(["destroy", &name]).check().is_ok();
        if !comes_true(PATIENCE, destroy) {
            Run::new("zfs").args(["destroy", &name]).check()?;
        }
        let _ = fs::remove_dir(point);
        Ok(hash?)
    }

    /// What it promises of a file that is written to while the copy is made, without a freeze.
    pub(crate) const fn promise(self) -> &'static str {
        match self {
            // Blocks that are on their way to the disk may be in a snapshot without older ones.
            Self::Btrfs => "files of nearly one moment; a freeze makes it one",
            Self::Zfs => "all data that has reached ZFS, of one moment; a freeze makes it all data",
            Self::Clone => "each file is of a moment of its own, one of more than 1 GiB of several",
            Self::Exec => "each file is of a moment of its own",
            Self::Copy => {
                "nothing: it is no snapshot of a live file, and only a freeze makes it whole"
            }
        }
    }

    /// How long a writer waits between two blocks.
    pub(crate) fn pause(self, random: &mut Random) -> Duration {
        // Every write goes through another process there.
        let longest = if self == Self::Zfs { 4_000 } else { 400 };
        Duration::from_micros(random.below(longest))
    }
}

fn below(path: &Path, inner: &str) -> PathBuf {
    // Without a slash that nothing follows.
    path.join(inner).components().collect()
}

fn subvolumes(lab: &Lab, volume: &str) -> Outcome<Vec<String>> {
    let listed = Run::new("btrfs")
        .args(["subvolume", "list"])
        .arg(lab.volume(volume))
        .check()?;
    let paths = listed.stdout.lines().filter_map(|line| {
        let (_, path) = line.split_once(" path ")?;
        Some(format!("{volume}/{path}"))
    });
    Ok(paths.collect())
}

/// What lies in an area besides copies and the agent's own furniture.
fn others(area: &Path, furniture: &[&str]) -> Outcome<Vec<PathBuf>> {
    if !area.exists() {
        return Ok(Vec::new());
    }
    let is_other =
        |name: &String| uuid::Uuid::parse_str(name).is_err() && !furniture.contains(&name.as_str());
    let names = names(area)?.into_iter().filter(is_other);
    Ok(names.map(|name| area.join(name)).collect())
}

/// What is still in a directory that should become empty by itself.
fn emptied(trash: &Path) -> Outcome<Vec<PathBuf>> {
    let mut left = BTreeSet::new();
    until(PATIENCE, || -> Outcome<_> {
        left = match trash.exists() {
            true => names(trash)?,
            false => BTreeSet::new(),
        };
        Ok(left.is_empty().then_some(()))
    })?;
    Ok(left.into_iter().map(|name| trash.join(name)).collect())
}
