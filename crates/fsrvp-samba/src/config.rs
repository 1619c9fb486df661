//! What smb.conf says about the server as a whole, as `testparm` understands it.

use crate::command::{CommandError, Tool};
use crate::directory::definition::{Definition, parse_sections};
use crate::directory::sources::Sources;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long `testparm` may take; it takes 40 ms on a quiet machine.
const LIMIT: Duration = Duration::from_secs(30);

/// An option of `testparm` that keeps the registry's shares out: each of them is looked up among
/// all, and thousands take minutes.
pub(crate) const WITHOUT_REGISTRY: &str = "--option=registry shares=no";

/// Samba's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such file.
    #[error("{0} does not exist; set smb_conf to the file that smbd uses")]
    Missing(PathBuf),
    /// `testparm` failed.
    #[error("cannot read {path}: {source}")]
    Testparm {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CommandError,
    },
    /// Exposed shares are written into Samba's registry.
    #[error(
        "{0} has registry shares switched off; add the line \"registry shares = yes\" to its [global] section and restart smbd"
    )]
    NoRegistryShares(PathBuf),
    /// Cluster mode does not exist yet.
    #[error("{0} has \"clustering = yes\"; CTDB clusters are not supported yet")]
    Clustered(PathBuf),
    /// The file by which children are known.
    #[error("{path}: {source}; fsrvpd must be able to write there")]
    Children {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A setting that has to be there is not.
    #[error("testparm does not tell {name:?} of {path}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting.
        name: &'static str,
    },
}

/// Facts about a Samba server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SambaFacts {
    /// The directory of pipe sockets: where [`PipeListener`](crate::pipe::PipeListener) belongs.
    pub np_directory: PathBuf,
    /// `pid directory`
    pub pid_directory: PathBuf,
    /// `state directory`: registry and share security descriptors.
    pub state_directory: PathBuf,
    /// `lock directory`: Samba's message sockets.
    pub lock_directory: PathBuf,
    /// `usershare path`, unless user-defined shares are switched off.
    pub usershare_directory: Option<PathBuf>,
    /// `netbios name`
    pub netbios_name: String,
    /// `netbios aliases`
    pub netbios_aliases: Vec<String>,
    /// `additional dns hostnames`
    pub dns_hostnames: Vec<String>,
    /// Workgroup, or the NetBIOS name of the domain.
    pub workgroup: String,
    /// Kerberos realm; empty if there is none.
    pub realm: String,
    /// Whether Samba is a stand-alone server, a member of no domain.
    pub standalone: bool,
}

/// "server role = auto" decides by "security", as Samba's loadparm does.
fn is_standalone(global: &Definition) -> bool {
    let is = |name, value: &str| {
        global
            .get(name)
            .is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    let decided = global
        .get("server role")
        .is_some_and(|role| !role.eq_ignore_ascii_case("auto"));
    if decided {
        return is("server role", "standalone server") || is("server role", "standalone");
    }
    !is("security", "ads") && !is("security", "domain")
}

impl SambaFacts {
    /// Asks `testparm` about `smb_conf`.
    ///
    /// # Errors
    /// The file cannot be read, or the server is set up in a way that cannot be served; the text
    /// says what to do.
    pub fn read(smb_conf: &Path) -> Result<Self, ConfigError> {
        if !smb_conf.exists() {
            return Err(ConfigError::Missing(smb_conf.to_owned()));
        }
        let global = global(smb_conf, &[WITHOUT_REGISTRY])?;
        let facts = Self::from_global(smb_conf, &global)?;
        // Where the files do not tell, Samba does, however long its shares take it.
        let registry = facts.state_directory.join("registry.tdb");
        let is_told = Sources::walk(smb_conf, &registry).has_registry_shares();
        if !is_told && !has_registry_shares(&self::global(smb_conf, &[])?) {
            return Err(ConfigError::NoRegistryShares(smb_conf.to_owned()));
        }
        Ok(facts)
    }

    fn from_global(smb_conf: &Path, global: &Definition) -> Result<Self, ConfigError> {
        let text = |name: &'static str| {
            global
                .get(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| ConfigError::Setting {
                    path: smb_conf.to_owned(),
                    name,
                })
        };
        let list = |name| -> Vec<String> {
            let value = global.get(name).unwrap_or_default();
            value
                .split([' ', ',', ';', '\t'])
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect()
        };
        if global.is_set("clustering") {
            return Err(ConfigError::Clustered(smb_conf.to_owned()));
        }
        let sockets = match global.get("external_rpc_pipe:socket_dir") {
            Some(directory) if !directory.is_empty() => directory,
            _ => text("ncalrpc dir")?,
        };
        let usershares = global
            .get("usershare max shares")
            .is_some_and(|count| count != "0");
        Ok(Self {
            np_directory: Path::new(sockets).join("np"),
            pid_directory: text("pid directory")?.into(),
            state_directory: text("state directory")?.into(),
            lock_directory: text("lock directory")?.into(),
            usershare_directory: global
                .get("usershare path")
                .filter(|path| usershares && !path.is_empty())
                .map(PathBuf::from),
            netbios_name: text("netbios name")?.to_owned(),
            netbios_aliases: list("netbios aliases"),
            dns_hostnames: list("additional dns hostnames"),
            workgroup: global.get("workgroup").unwrap_or_default().to_owned(),
            realm: global.get("realm").unwrap_or_default().to_owned(),
            standalone: is_standalone(global),
        })
    }

    /// The server's names: NetBIOS name, aliases, additional DNS host names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.netbios_name)
            .chain(&self.netbios_aliases)
            .chain(&self.dns_hostnames)
            .cloned()
            .collect()
    }

    /// The parent of all smbd processes, if it runs.
    #[must_use]
    pub fn smbd(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.pid_directory.join("smbd.pid")).ok()?;
        let pid: u32 = text.trim().parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        // A pid file outlives a crash, and its number may then belong to somebody else.
        name.starts_with("smbd").then_some(pid)
    }
}

fn has_registry_shares(global: &Definition) -> bool {
    let registry = global
        .get("config backend")
        .is_some_and(|backend| backend.eq_ignore_ascii_case("registry"));
    registry || global.is_set("registry shares")
}

/// The global section with its defaults.
fn global(smb_conf: &Path, options: &[&str]) -> Result<Definition, ConfigError> {
    let mut testparm = Tool::new("testparm")
        .arg("-s")
        .arg("-v")
        .arg("--section-name=global");
    for option in options {
        testparm = testparm.arg(option);
    }
    let output = testparm
        .arg(smb_conf)
        .run(LIMIT)
        .map_err(|source| testparm_error(smb_conf, source))?;
    parse_sections(&output.stdout)
        .into_iter()
        .find(|section| section.name.eq_ignore_ascii_case("global"))
        .ok_or(ConfigError::Setting {
            path: smb_conf.to_owned(),
            name: "global",
        })
}

fn testparm_error(smb_conf: &Path, source: CommandError) -> ConfigError {
    let path = smb_conf.to_owned();
    match &source {
        // With clustering on, testparm wants to talk to CTDB before it prints anything.
        CommandError::Failed { text, .. } if text.contains("ctdb socket") => {
            ConfigError::Clustered(path)
        }
        _ => ConfigError::Testparm { path, source },
    }
}
