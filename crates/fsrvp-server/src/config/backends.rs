//! What the configuration says of snapshot backends.

use super::ServerConfig;
use fsrvp_snapshot::ExecLimits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Words that no `[[server.exec]]` may have as its name.
const TAKEN: [&str; 8] = [
    "auto", "none", "btrfs", "zfs", "clone", "copy", "exec", "memory",
];

/// `[server.zfs]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZfsConfig {
    /// The program: an absolute path, or a name on the path of the system's directories.
    pub program: PathBuf,
    /// Longest time of one call of it.
    #[serde(with = "humantime_serde")]
    pub limit: Duration,
}

impl Default for ZfsConfig {
    fn default() -> Self {
        Self {
            program: "zfs".into(),
            limit: Duration::from_secs(60),
        }
    }
}

/// `[server.copy]`: plain copies, which shares have to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyConfig {
    /// A share whose files take more is refused.
    pub max_bytes: u64,
}

/// `[[server.exec]]`: a backend that is a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// The name by which shares ask for it.
    pub name: String,
    /// The program, by its absolute path, and its first arguments.
    pub command: Vec<String>,
    /// Longest time of each verb.
    #[serde(default)]
    pub limits: ExecLimitsConfig,
}

/// `limits` of `[[server.exec]]`; what is absent has its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the verbs of the protocol")]
pub struct ExecLimitsConfig {
    #[serde(with = "humantime_serde")]
    pub probe: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub prepare: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub commit: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub expose: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub seal: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub verify: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub delete: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub enumerate: Option<Duration>,
}

impl From<ExecLimitsConfig> for ExecLimits {
    fn from(config: ExecLimitsConfig) -> Self {
        let default = Self::default();
        Self {
            probe: config.probe.unwrap_or(default.probe),
            prepare: config.prepare.unwrap_or(default.prepare),
            commit: config.commit.unwrap_or(default.commit),
            expose: config.expose.unwrap_or(default.expose),
            seal: config.seal.unwrap_or(default.seal),
            verify: config.verify.unwrap_or(default.verify),
            delete: config.delete.unwrap_or(default.delete),
            enumerate: config.enumerate.unwrap_or(default.enumerate),
        }
    }
}

/// Key and problem, as in the rest of the validation.
pub(super) fn check(server: &ServerConfig) -> Result<(), (String, String)> {
    if server.zfs.limit.is_zero() {
        return Err(("zfs.limit".into(), "must be longer than zero".into()));
    }
    let mut names = BTreeSet::new();
    for exec in &server.exec {
        let refuse = |problem: String| Err((format!("exec {:?}", exec.name), problem));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name =
            !exec.name.is_empty() && exec.name.len() <= 64 && exec.name.chars().all(plain);
        if !is_name {
            return refuse("a name has 1 to 64 letters, digits, '-', '_', '.'".into());
        }
        if TAKEN.contains(&&*exec.name) {
            return refuse("this name has a meaning of its own; choose another".into());
        }
        if !names.insert(&exec.name) {
            return refuse("is used twice".into());
        }
        match exec.command.first() {
            None => return refuse("command is empty; name the program".into()),
            Some(program) if !Path::new(program).is_absolute() => {
                return refuse(format!("command: {program} is not an absolute path"));
            }
            Some(_) => {}
        }
        let limits = exec.limits;
        let all = [
            limits.probe,
            limits.prepare,
            limits.commit,
            limits.expose,
            limits.seal,
            limits.verify,
            limits.delete,
            limits.enumerate,
        ];
        if all.iter().flatten().any(Duration::is_zero) {
            return refuse("limits: must be longer than zero".into());
        }
    }
    Ok(())
}

/// What `backend` of a share may say.
pub(super) fn names(server: &ServerConfig) -> Vec<&str> {
    let mut names = vec!["auto", "none", "btrfs", "zfs", "clone", "memory"];
    names.extend(server.copy.map(|_| "copy"));
    names.extend(server.exec.iter().map(|exec| &*exec.name));
    names
}
