//! The configuration file: TOML, every key with its default in one place.

mod backends;
mod clone;
mod keep;
mod retention;
mod validate;

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use backends::{CopyConfig, ExecConfig, ExecLimitsConfig, ZfsConfig};
pub use clone::{CloneConfig, HardLinks};
pub use keep::KeepConfig;
pub use retention::RetentionConfig;
pub use validate::ConfigError;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[log]`
    #[serde(default)]
    pub log: LogConfig,
    /// `[admin]`
    #[serde(default)]
    pub admin: AdminConfig,
    /// `[listen]`
    #[serde(default)]
    pub listen: ListenConfig,
    /// `[[server]]`: the virtual file servers.
    #[serde(rename = "server")]
    pub servers: Vec<ServerConfig>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A level, or directives as in `RUST_LOG` (which wins where it is set).
    pub level: String,
    /// Text for people or JSON for programs.
    pub format: LogFormat,
    /// Where events go besides the log, field by field.
    pub events: EventLog,
    /// Another socket of the journal or of syslog than the usual one.
    pub events_socket: Option<PathBuf>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            events: EventLog::Auto,
            events_socket: None,
        }
    }
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// The log of the system that events go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventLog {
    /// The journal where there is one, else syslog where there is one.
    Auto,
    /// systemd's journal.
    Journal,
    /// A syslog daemon.
    Syslog,
    /// None.
    Off,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// The admin socket.
    pub socket: PathBuf,
    /// Group that may use it besides root.
    pub group: Option<String>,
    /// A loopback address on which the figures can be read too, and nothing else; off unless it is
    /// there. Port 0 takes a free one.
    pub metrics_address: Option<SocketAddr>,
    /// How often it is measured what copies cost; zero for never.
    #[serde(with = "humantime_serde")]
    pub measure_interval: Duration,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/fsrvpd/admin.sock"),
            group: None,
            metrics_address: None,
            measure_interval: Duration::from_secs(3_600),
        }
    }
}

/// `[listen]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// `[listen.tcp]`: the laboratory listener, off unless it is there.
    pub tcp: Option<TcpConfig>,
}

/// `[listen.tcp]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpConfig {
    /// A loopback address; any other is refused. Port 0 takes a free one.
    pub address: SocketAddr,
    /// Name of the `[[server]]` that is served there; the first by default.
    pub server: Option<String>,
    /// Answer an endpoint mapper and NETLOGON there too, as far as judges of an RPC runtime need it.
    #[serde(default)]
    pub laboratory_interfaces: bool,
}

/// Behaviour profile of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum ProfileName {
    /// The text of MS-FSRVP.
    #[default]
    Spec,
    /// What Windows Server 2012 answers where that differs.
    Ws2012,
}

/// Lowest authentication level that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum MinAuthLevel {
    /// Anything: for laboratories only.
    None,
    /// Every PDU signed.
    #[default]
    Integrity,
    /// Every PDU signed and encrypted.
    Privacy,
}

/// `[[server]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The server's name as clients reach it; by default Samba's NetBIOS name.
    pub name: Option<String>,
    /// Further names under which clients may call it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Samba's configuration.
    #[serde(default = "default_smb_conf")]
    pub smb_conf: PathBuf,
    /// A static share file instead of Samba, for the embedded laboratory.
    pub static_shares: Option<PathBuf>,
    /// Samba's `np` directory; by default below Samba's `ncalrpc dir`.
    pub pipe_directory: Option<PathBuf>,
    /// Where the table is kept.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Where private mounts and other things go that a reboot may take away.
    #[serde(default = "default_run_dir")]
    pub run_dir: PathBuf,
    /// Behaviour profile.
    #[serde(default)]
    pub profile: ProfileName,
    /// Lowest authentication level.
    #[serde(default)]
    pub min_auth_level: MinAuthLevel,
    /// SIDs that may call besides Administrators and Backup Operators.
    #[serde(default)]
    pub admin_sids: Vec<String>,
    /// Whether SeBackupPrivilege in the pipe's token admits a caller.
    #[serde(default = "yes")]
    pub backup_privilege: bool,
    /// Whether two shares of one volume may be in one set (always so under `ws2012`).
    #[serde(default)]
    pub allow_shared_volume: bool,
    /// Limit of the cut itself; `"0s"` for none.
    #[serde(default = "default_commit_limit", with = "humantime_serde")]
    pub commit_limit: Duration,
    /// Longest time that a caller's wait may last.
    #[serde(default = "default_long", with = "humantime_serde")]
    pub max_wait: Duration,
    /// The Message Sequence Timer where the text says 180 seconds.
    #[serde(default = "default_short", with = "humantime_serde")]
    pub short_timer: Duration,
    /// The Message Sequence Timer where the text says 1800 seconds.
    #[serde(default = "default_long", with = "humantime_serde")]
    pub long_timer: Duration,
    /// Most connections at a time; one more is told so and closed.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// Most of them of one account; by default half, and 16 where that is less.
    pub max_connections_per_account: Option<usize>,
    /// Whether the resident helper for Samba's registry is used.
    #[serde(default = "yes")]
    pub helper: bool,
    /// `[server.security]`
    #[serde(default)]
    pub security: SecurityConfig,
    /// `[server.copy]`: absent, and so off, by default.
    pub copy: Option<CopyConfig>,
    /// `[[server.exec]]`
    #[serde(default)]
    pub exec: Vec<ExecConfig>,
    /// `[server.zfs]`
    #[serde(default)]
    pub zfs: ZfsConfig,
    /// `[server.clone]`
    #[serde(default)]
    pub clone: CloneConfig,
    /// `[server.retention]`
    #[serde(default)]
    pub retention: RetentionConfig,
    /// `[[server.share]]`
    #[serde(default, rename = "share")]
    pub shares: Vec<ShareConfig>,
}

/// `[server.security]`: how the RPC security contexts of callers are verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityConfig {
    /// Ask winbindd about NTLM logons and groups.
    pub winbind: bool,
    /// Check NTLM logons against Samba's own account database, where winbindd cannot.
    pub samba_passwords: bool,
    /// Users of a laboratory, in a file of their own.
    pub users_file: Option<PathBuf>,
    /// Accept Kerberos.
    pub kerberos: bool,
    /// Keytab with the service's keys; by default the system's.
    pub keytab: Option<PathBuf>,
    /// Refuse NTLM clients that send no message integrity code.
    pub require_mic: bool,
    /// Whether header signing is used with clients that offer it.
    pub header_signing: bool,
    /// Whether a signed call through an encrypted SMB session counts as `"privacy"`.
    pub smb_encryption_is_privacy: bool,
    /// Longest time that the verification of one token may take.
    #[serde(with = "humantime_serde")]
    pub logon_limit: Duration,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            winbind: true,
            samba_passwords: true,
            users_file: None,
            kerberos: true,
            keytab: None,
            require_mic: false,
            header_signing: true,
            smb_encryption_is_privacy: false,
            logon_limit: Duration::from_secs(30),
        }
    }
}

/// `[[server.share]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareConfig {
    /// The share, without case.
    pub name: String,
    /// The backend: `auto` (probe), `none` (never), or a backend's name.
    #[serde(default = "default_backend")]
    pub backend: String,
    /// `depth` of `[server.clone]` for this share.
    pub depth: Option<u32>,
    /// `hard_links` of `[server.clone]` for this share.
    pub hard_links: Option<HardLinks>,
    /// What is kept of the share whenever a set with it is recovered; nothing unless it is there.
    #[serde(default)]
    pub keep: Option<KeepConfig>,
}

fn default_smb_conf() -> PathBuf {
    PathBuf::from("/etc/samba/smb.conf")
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/fsrvpd")
}

fn default_run_dir() -> PathBuf {
    PathBuf::from("/run/fsrvpd")
}

fn default_backend() -> String {
    "auto".to_owned()
}

const fn yes() -> bool {
    true
}

const fn default_commit_limit() -> Duration {
    Duration::from_secs(10)
}

const fn default_short() -> Duration {
    Duration::from_secs(180)
}

const fn default_long() -> Duration {
    Duration::from_secs(1800)
}

const fn default_max_connections() -> usize {
    2_048
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys, or values that make no sense; the
    /// text names the file, the place and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks a text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source,
        })?;
        validate::check(&config, path)?;
        Ok(config)
    }
}
