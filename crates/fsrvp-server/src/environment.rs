//! What stands around a server: Samba with its shares, and the snapshot backends. Or, in the
//! embedded laboratory, a static share file and memory.

use crate::backends;
use crate::config::ServerConfig;
use crate::targets::FileLists;
use fsrvp_proto::ShareDirectory;
use fsrvp_samba::directory::{Earlier, SambaConfig, SambaDirectory, StaticDirectory, StaticError};
use fsrvp_samba::{ConfigError, SambaFacts};
use fsrvp_snapshot::{Backends, Memory, SnapshotBackend};
use std::path::PathBuf;
use std::sync::Arc;

/// The surroundings of one server.
pub struct Environment {
    /// The server's name as clients reach it.
    pub name: String,
    /// All its names.
    pub names: Vec<String>,
    /// The `np` directory.
    pub pipe_directory: PathBuf,
    /// The shares.
    pub directory: Arc<dyn ShareDirectory>,
    /// The snapshot backends.
    pub backends: Arc<Backends>,
    /// What Samba calls itself.
    pub samba: SambaIdentity,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why the surroundings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// Samba's configuration.
    #[error(transparent)]
    Samba(#[from] ConfigError),
    /// The static share file.
    #[error(transparent)]
    Static(#[from] StaticError),
}

/// What Samba calls itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SambaIdentity {
    /// Whether there is a Samba at all.
    pub is_samba: bool,
    /// Whether it is a stand-alone server.
    pub is_standalone: bool,
    /// NetBIOS name.
    pub netbios_name: String,
    /// Workgroup or NetBIOS domain.
    pub workgroup: String,
    /// Kerberos realm; empty if none.
    pub realm: String,
}

impl Environment {
    /// Looks at the surroundings that the configuration names, and waits for what an `earlier`
    /// process has left running there; `lists` are the file lists that clones obey. The state
    /// directory is this process's. Blocks.
    ///
    /// # Errors
    /// Samba's configuration or the static share file cannot be used.
    pub fn of(
        config: &ServerConfig,
        earlier: Option<u32>,
        lists: Arc<FileLists>,
    ) -> Result<Self, EnvironmentError> {
        match &config.static_shares {
            Some(file) => Self::embedded(config, file),
            None => {
                let earlier = Earlier {
                    children: Some(config.state_dir.join("children")),
                    process: earlier,
                };
                Self::beside_samba(config, earlier, config.helper, lists)
            }
        }
    }

    /// The same for somebody who only looks, beside a daemon that may run: starts no helper, waits
    /// for nobody, and leaves the state directory alone. Blocks.
    ///
    /// # Errors
    /// As [`Environment::of`].
    pub fn to_look_at(config: &ServerConfig) -> Result<Self, EnvironmentError> {
        match &config.static_shares {
            Some(file) => Self::embedded(config, file),
            None => Self::beside_samba(config, Earlier::default(), false, Arc::default()),
        }
    }

    fn beside_samba(
        config: &ServerConfig,
        earlier: Earlier,
        with_helper: bool,
        lists: Arc<FileLists>,
    ) -> Result<Self, EnvironmentError> {
        let facts = SambaFacts::read(&config.smb_conf)?;
        let name = config
            .name
            .clone()
            .unwrap_or_else(|| facts.netbios_name.clone());
        let mut samba = SambaConfig::new(&config.smb_conf, &name);
        samba.earlier = earlier;
        if !with_helper {
            samba.helper = None;
        }
        let directory = SambaDirectory::open(samba)?;
        Ok(Self {
            names: names(config, &name, facts.names()),
            pipe_directory: config
                .pipe_directory
                .clone()
                .unwrap_or_else(|| facts.np_directory.clone()),
            directory: Arc::new(directory),
            backends: Arc::new(backends::of(config, &name, lists)),
            samba: SambaIdentity {
                is_samba: true,
                is_standalone: facts.standalone,
                netbios_name: facts.netbios_name,
                workgroup: facts.workgroup,
                realm: facts.realm,
            },
            name,
        })
    }

    fn embedded(config: &ServerConfig, file: &std::path::Path) -> Result<Self, EnvironmentError> {
        let name = config.name.clone().unwrap_or_default();
        let directory = StaticDirectory::load(file)?;
        let memory = Memory::new();
        for path in directory.paths() {
            memory.add_volume(path);
        }
        let backends: Vec<Arc<dyn SnapshotBackend>> = vec![Arc::new(memory)];
        Ok(Self {
            names: names(config, &name, Vec::new()),
            pipe_directory: config.pipe_directory.clone().unwrap_or_default(),
            directory: Arc::new(directory),
            backends: Arc::new(Backends::new(backends)),
            samba: SambaIdentity {
                is_standalone: true,
                netbios_name: name.clone(),
                workgroup: name.clone(),
                ..SambaIdentity::default()
            },
            name,
        })
    }
}

fn names(config: &ServerConfig, name: &str, more: Vec<String>) -> Vec<String> {
    std::iter::once(name.to_owned())
        .chain(config.aliases.iter().cloned())
        .chain(more)
        .collect()
}
