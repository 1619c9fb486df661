//! What the clone backend is told.

use fsrvp_idl::{ShadowCopyId, ShareName};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Whose blocks the files of a copy are in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Data {
    /// The same as those of the share, until one of the two is written.
    #[default]
    Shared,
    /// Their own: what is in the share is read and written. No moment of the share, unless nobody
    /// writes to it.
    Own {
        /// A share whose files take more is refused.
        max_bytes: u64,
    },
}

impl Data {
    /// The backend's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Shared => "clone",
            Self::Own { .. } => "copy",
        }
    }

    /// Roots of file systems are mounted here, below the run directory; only root walks here.
    pub(super) const fn roots(self) -> &'static str {
        match self {
            Self::Shared => "roots",
            Self::Own { .. } => "copy-roots",
        }
    }
}

/// What is done with a file that has several names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HardLinks {
    /// The share is refused, with one of the names.
    #[default]
    Refuse,
    /// Names within the share are names of one file in the copy too; others are not copied.
    Keep,
}

/// What a tree has to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Levels of directories below the share's own; 0 for any number.
    pub depth: u32,
    /// Files with several names.
    pub hard_links: HardLinks,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            depth: 5,
            hard_links: HardLinks::Refuse,
        }
    }
}

impl Rules {
    /// What fulfils both.
    pub(super) fn and(self, other: Self) -> Self {
        let depth = match (self.depth, other.depth) {
            (0, depth) | (depth, 0) => depth,
            (one, another) => one.min(another),
        };
        let hard_links = match (self.hard_links, other.hard_links) {
            (HardLinks::Keep, HardLinks::Keep) => HardLinks::Keep,
            _ => HardLinks::Refuse,
        };
        Self { depth, hard_links }
    }
}

/// Which files of a share are wanted, where somebody has said so.
pub trait Targets: Send + Sync {
    /// The paths below the share's directory that a copy has to hold, a directory standing for all
    /// that is in it; nothing if the whole share is wanted. Called in Prepare, and again when
    /// Prepare is repeated; `copy` is what the answer is used for.
    fn wanted(&self, share: &ShareName, copy: Option<ShadowCopyId>) -> Option<Vec<PathBuf>>;
}

/// No lists: every share is copied whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTargets;

impl Targets for NoTargets {
    fn wanted(&self, _: &ShareName, _: Option<ShadowCopyId>) -> Option<Vec<PathBuf>> {
        None
    }
}

/// What the clone backend needs to know.
#[derive(Clone)]
pub struct CloneConfig {
    /// Name of the virtual file server: its copies lie in an area of their own.
    pub server: String,
    /// Where copies are mounted for smbd, on a mount that smbd sees; made with mode 0711 if
    /// missing. Users must be able to pass through its parents. It also tells our areas from those
    /// of another fsrvpd with the same server name.
    pub run_dir: PathBuf,
    /// Directories of shares: all copies on their file systems are this server's, and `enumerate`
    /// fails if it cannot look into one of them.
    pub known: Vec<PathBuf>,
    /// How files get their data.
    pub data: Data,
    /// What trees have to be like.
    pub rules: Rules,
    /// The same for single shares.
    pub share_rules: BTreeMap<ShareName, Rules>,
    /// Prepare refuses what would take longer to cut.
    pub commit_limit: Option<Duration>,
    /// Free space that Prepare asks for, in percent of what the files take.
    pub reserve_percent: u32,
    /// The lists of files.
    pub targets: Arc<dyn Targets>,
    /// The clock that tells how long ago a file changed.
    pub now: fn() -> SystemTime,
}

impl CloneConfig {
    /// A configuration with the usual rules.
    #[must_use]
    pub fn new(server: impl Into<String>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            server: server.into(),
            run_dir: run_dir.into(),
            known: Vec::new(),
            data: Data::Shared,
            rules: Rules::default(),
            share_rules: BTreeMap::new(),
            commit_limit: None,
            reserve_percent: 0,
            targets: Arc::new(NoTargets),
            now: SystemTime::now,
        }
    }
}

impl fmt::Debug for CloneConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloneConfig")
            .field("server", &self.server)
            .field("run_dir", &self.run_dir)
            .field("data", &self.data)
            .field("rules", &self.rules)
            .field("share_rules", &self.share_rules)
            .finish_non_exhaustive()
    }
}
