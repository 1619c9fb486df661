//! How a laboratory is made.

use super::removal::test_directory;
use crate::agent::{AgentKind, AgentSettings, MinAuthLevel, Profile};
use crate::samba::SambaPrograms;
use crate::volume::{ShareKey, Storage};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The Message Sequence Timer's two lengths, in place of 180 s and 1800 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceTimeout {
    /// In place of 180 s.
    pub short: Duration,
    /// In place of 1800 s.
    pub long: Duration,
}

/// How a laboratory is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabOptions {
    pub(super) dir: PathBuf,
    pub(super) agent: AgentKind,
    pub(super) settings: AgentSettings,
    pub(super) programs: SambaPrograms,
    pub(super) winbind: bool,
    pub(super) system: Option<PathBuf>,
    pub(super) volume_bytes: u64,
    #[serde(default)]
    pub(super) single_disk: bool,
    #[serde(default)]
    pub(super) storage: Storage,
}

impl LabOptions {
    /// A laboratory in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, agent: AgentKind) -> Self {
        Self {
            dir: dir.into(),
            agent,
            settings: AgentSettings {
                profile: Profile::Spec,
                min_auth_level: MinAuthLevel::Integrity,
                sequence_timeout: None,
                allow_shared_volume: false,
                log_level: "debug".to_owned(),
                server_lines: Vec::new(),
                admin_lines: Vec::new(),
            },
            programs: SambaPrograms::default(),
            winbind: false,
            system: None,
            volume_bytes: 8 << 30,
            single_disk: false,
            storage: Storage::Btrfs,
        }
    }

    /// A laboratory of this process in a fresh directory among the temporary files.
    #[must_use]
    pub fn for_test(agent: AgentKind) -> Self {
        Self::new(test_directory(), agent)
    }

    /// Runs winbindd too. Only inside [`Isolation::Winbind`](crate::Isolation).
    #[must_use]
    pub fn winbind(mut self) -> Self {
        self.winbind = true;
        self
    }

    /// Where it will be.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.dir.clone()
    }

    /// Puts the btrfs file systems, Samba's state and the agent's on one disk, whose power can be
    /// [cut](crate::Lab::photograph).
    #[must_use]
    pub fn single_disk(mut self) -> Self {
        self.single_disk = true;
        self
    }

    /// Puts the shares that are on btrfs elsewhere on ZFS. Only inside
    /// [`Isolation::Zfs`](crate::Isolation).
    #[must_use]
    pub fn zfs(mut self) -> Self {
        self.storage = Storage::Zfs;
        self
    }

    /// Puts the shares that are on btrfs elsewhere on XFS.
    #[must_use]
    pub fn xfs(mut self) -> Self {
        self.storage = Storage::Xfs;
        self
    }

    /// Puts the shares that are on btrfs elsewhere on ext4, and has every share copied plainly. No
    /// [`LabOptions::server_line`] may follow.
    #[must_use]
    pub fn plain_copies(mut self) -> Self {
        self.storage = Storage::Ext4;
        self.server_line("[server.copy]\nmax_bytes = 1073741824")
            .every_share_by("copy")
    }

    /// Puts the shares that are on btrfs elsewhere on XFS, and has every share copied by the example
    /// of a program of the site, as backend `tree`. No [`LabOptions::server_line`] may follow.
    #[must_use]
    pub fn site_program(self) -> Self {
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
        let program = packaging.join("backends/reflink-tree");
        self.xfs()
            .server_line(format!(
                "[[server.exec]]\nname = \"tree\"\ncommand = [{program:?}]"
            ))
            .every_share_by("tree")
    }

    fn every_share_by(self, backend: &str) -> Self {
        ShareKey::ALL.into_iter().fold(self, |options, key| {
            let name = key.share_name();
            options.server_line(format!(
                "[[server.share]]\nname = {name:?}\nbackend = {backend:?}"
            ))
        })
    }

    /// `profile`; spec unless set.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.settings.profile = profile;
        self
    }

    /// `min_auth_level`; integrity unless set.
    #[must_use]
    pub fn min_auth_level(mut self, level: MinAuthLevel) -> Self {
        self.settings.min_auth_level = level;
        self
    }

    /// The Message Sequence Timer.
    #[must_use]
    pub fn sequence_timeout(mut self, timeout: SequenceTimeout) -> Self {
        self.settings.sequence_timeout = Some(timeout);
        self
    }

    /// `allow_shared_volume`.
    #[must_use]
    pub fn allow_shared_volume(mut self) -> Self {
        self.settings.allow_shared_volume = true;
        self
    }

    /// `log.level`; debug unless set.
    #[must_use]
    pub fn log_level(mut self, level: impl Into<String>) -> Self {
        self.settings.log_level = level.into();
        self
    }

    /// A line more in `[[server]]` of fsrvpd's configuration.
    #[must_use]
    pub fn server_line(mut self, line: impl Into<String>) -> Self {
        self.settings.server_lines.push(line.into());
        self
    }

    /// A line more in `[admin]` of fsrvpd's configuration.
    #[must_use]
    pub fn admin_line(mut self, line: impl std::fmt::Display) -> Self {
        self.settings.admin_lines.push(format!("{line}\n"));
        self
    }

    /// Runs Samba and the agent in the root of another system, as `mmdebstrap` makes them.
    #[must_use]
    pub fn system(mut self, root: impl Into<PathBuf>) -> Self {
        self.system = Some(root.into());
        self
    }
}
