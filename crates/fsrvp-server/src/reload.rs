//! Reading the configuration again: what can change while sets are under way does, and the rest is
//! named.

use crate::agent_cell::AgentCell;
use crate::authz::Authorizer;
use crate::config::{Config, ConfigError, ServerConfig, ShareConfig};
use crate::connection::Service;
use crate::executor::{Executor, Settings};
use crate::server::{agent_config, settings};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Changes the level of the log.
pub type LogHandle = reload::Handle<EnvFilter, Registry>;

/// The parts of a server that can change.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in the configuration, where it has one.
    pub configured: Option<String>,
    /// Its name.
    pub name: String,
    /// Its agent.
    pub agent: Arc<AgentCell>,
    /// What runs its jobs.
    pub executor: Arc<Executor>,
    /// What admits its callers.
    pub service: Arc<Service>,
}

/// The configuration in force.
pub struct Reload {
    path: PathBuf,
    current: Mutex<Config>,
    running: Mutex<()>,
    log: Option<LogHandle>,
    targets: Vec<Target>,
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reload")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Keys whose new values are in force.
    pub applied: Vec<String>,
    /// Keys whose new values wait for a restart of the daemon.
    pub needs_restart: Vec<String>,
}

impl Reload {
    /// Reads `path` when told to; `current` is what was read from it, `targets` are its servers.
    #[must_use]
    pub fn new(
        path: PathBuf,
        current: Config,
        log: Option<LogHandle>,
        targets: Vec<Target>,
    ) -> Self {
        Self {
            path,
            current: Mutex::new(current),
            running: Mutex::new(()),
            log,
            targets,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Config {
        self.lock().clone()
    }

    /// The log's level.
    #[must_use]
    pub fn log_level(&self) -> String {
        let shown = self
            .log
            .as_ref()
            .and_then(|log| log.with_current(ToString::to_string).ok());
        shown.unwrap_or_else(|| self.lock().log.level.clone())
    }

    /// Changes the log's level, until the next reload or restart.
    ///
    /// # Errors
    /// In words: the level is not understood.
    pub fn set_log_level(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(level).map_err(|error| format!("{level:?}: {error}"))?;
        match &self.log {
            Some(log) => log.reload(filter).map_err(|error| error.to_string()),
            None => Err("this daemon's log has a fixed level".to_owned()),
        }
    }

    /// Reads the file again and takes over what can be.
    ///
    /// # Errors
    /// The file is refused; nothing has changed.
    pub fn run(&self) -> Result<Reloaded, ConfigError> {
        // From reading to taking over: of two reloads, the second has the newer file. What is in
        // force can be asked meanwhile.
        let _alone = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Config::load(&self.path)?;
        let mut current = self.lock();
        let in_force = merge(&current, &wanted);
        let reloaded = reloaded(&current, &in_force, &wanted);
        // `RUST_LOG` wins where it is set.
        if current.log.level != in_force.log.level
            && std::env::var_os("RUST_LOG").is_none()
            && let Err(error) = self.set_log_level(&in_force.log.level)
        {
            tracing::warn!(error, "the log's level stays");
        }
        for server in &in_force.servers {
            let is_its = |target: &&Target| is_same(&target.configured, &server.name);
            if let Some(target) = self.targets.iter().find(is_its) {
                apply(target, server);
            }
        }
        *current = in_force;
        tracing::info!(
            applied = ?reloaded.applied,
            needs_restart = ?reloaded.needs_restart,
            "configuration read again"
        );
        Ok(reloaded)
    }

    fn lock(&self) -> MutexGuard<'_, Config> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The old configuration with what can change of the new one. A server is known by its name,
/// wherever it stands in the file; where other names have come, no server changes.
fn merge(old: &Config, new: &Config) -> Config {
    let mut merged = old.clone();
    merged.log.level.clone_from(&new.log.level);
    let paired = new.servers.iter().map(|new| {
        let mut known = old.servers.iter();
        let server = known.find(|server| is_same(&server.name, &new.name))?;
        Some(ServerConfig {
            admin_sids: new.admin_sids.clone(),
            backup_privilege: new.backup_privilege,
            allow_shared_volume: new.allow_shared_volume,
            commit_limit: new.commit_limit,
            max_wait: new.max_wait,
            short_timer: new.short_timer,
            long_timer: new.long_timer,
            retention: new.retention.clone(),
            shares: merge_shares(&server.shares, &new.shares),
            ..server.clone()
        })
    });
    if old.servers.len() == new.servers.len()
        && let Some(servers) = paired.collect()
    {
        merged.servers = servers;
    }
    merged
}

/// Whether two servers of a configuration, old or new, are one. Names differ by more than case.
fn is_same(a: &Option<String>, b: &Option<String>) -> bool {
    let fold = |name: &Option<String>| name.as_deref().map(str::to_lowercase);
    fold(a) == fold(b)
}

/// The new shares; what backends were told of them at the start stays.
fn merge_shares(old: &[ShareConfig], new: &[ShareConfig]) -> Vec<ShareConfig> {
    let shares = new.iter().map(|share| {
        let known = old
            .iter()
            .find(|known| known.name.to_lowercase() == share.name.to_lowercase());
        ShareConfig {
            depth: known.and_then(|known| known.depth),
            hard_links: known.and_then(|known| known.hard_links),
            ..share.clone()
        }
    });
    shares.collect()
}

fn apply(target: &Target, server: &ServerConfig) {
    let Settings { choices, keep } = settings(server);
    target.executor.configure(Settings { choices, keep });
    target.agent.reconfigure(agent_config(server, &target.name));
    let authorizer = Authorizer::new(&server.admin_sids, server.backup_privilege);
    target.service.dispatcher.set_authorizer(authorizer);
}

/// What is in force of what was wanted, with the servers numbered as they stand in the file now.
fn reloaded(before: &Config, in_force: &Config, wanted: &Config) -> Reloaded {
    let mut before = before.clone();
    before.servers.sort_by_key(|server| {
        let mut servers = in_force.servers.iter();
        servers.position(|known| is_same(&known.name, &server.name))
    });
    Reloaded {
        applied: differences(&before, in_force),
        needs_restart: differences(in_force, wanted),
    }
}

/// The keys in which two configurations differ.
fn differences(a: &Config, b: &Config) -> Vec<String> {
    let value = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let mut keys = Vec::new();
    compare("", &value(a), &value(b), &mut keys);
    keys
}

fn compare(key: &str, a: &Value, b: &Value, keys: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                let key = match key {
                    "" => name.clone(),
                    key => format!("{key}.{name}"),
                };
                compare(&key, value, right.get(name).unwrap_or(&Value::Null), keys);
            }
        }
        // Lists of tables are compared one by one; others are one value.
        (Value::Array(left), Value::Array(right))
            if left.len() == right.len() && left.iter().all(Value::is_object) =>
        {
            for (at, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{key}[{at}]"), left, right, keys);
            }
        }
        _ if a != b => keys.push(key.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
    use std::convert::Infallible;
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("fsrvpd.toml")).unwrap()
    }

    fn reloaded(old: &str, new: &str) -> Reloaded {
        let (old, new) = (config(old), config(new));
        super::reloaded(&old, &merge(&old, &new), &new)
    }

    /// The first of two reloads reads slowly; what it has read does not outlive the newer file. The file
    /// is a pipe, so that the test decides who reads what.
    #[test]
    fn of_two_reloads_at_once_the_newer_file_is_in_force() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("fsrvpd.toml");
        let path = path.as_path();
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let reload = Reload::new(path.to_owned(), config("[[server]]"), None, Vec::new());
        let write = |level: &str| {
            let open = || {
                let mut options = std::fs::OpenOptions::new();
                let flags = OFlags::NONBLOCK.bits().cast_signed();
                let open = options.write(true).custom_flags(flags).open(path);
                Ok::<_, Infallible>(open.ok())
            };
            // Fails for as long as nobody reads.
            let opened = fsrvp_testkit::until(PATIENCE, open).unwrap();
            let text = format!("[log]\nlevel = {level:?}\n[[server]]\n");
            opened
                .expect("a reader")
                .write_all(text.as_bytes())
                .unwrap();
            let in_force = || reload.current().log.level == level;
            assert!(fsrvp_testkit::comes_true(PATIENCE, in_force), "{level}");
        };
        std::thread::scope(|scope| {
            let reloads = [(); 2].map(|()| scope.spawn(|| reload.run()));
            write("warn");
            write("debug");
            for reload in reloads {
                reload.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn every_key_is_applied_or_named() {
        let same = reloaded("[[server]]", "[[server]]");
        assert_eq!(same, Reloaded::default());
        let new = "[log]\nlevel='debug'\n[admin]\nsocket='/x'\n[[server]]\nprofile='ws2012'\n\
                   max_wait='1m'\n[server.retention]\ncount=3\n[server.security]\nwinbind=false\n\
                   [[server.share]]\nname='a'\n";
        let changed = reloaded("[[server]]", new);
        assert_eq!(
            changed.applied,
            [
                "log.level",
                "server[0].max_wait",
                "server[0].retention.count",
                "server[0].share",
            ]
        );
        assert_eq!(
            changed.needs_restart,
            [
                "admin.socket",
                "server[0].profile",
                "server[0].security.winbind",
            ]
        );
    }

    #[test]
    fn another_number_of_servers_waits_for_a_restart() {
        let two = "[[server]]\nname='a'\nmax_wait='1m'\n[[server]]\nname='b'\nstate_dir='/b'\n\
                   run_dir='/b'\npipe_directory='/b'";
        let changed = reloaded("[[server]]\nname='a'", two);
        assert_eq!(changed.needs_restart, ["server"]);
        assert!(changed.applied.is_empty());
    }

    fn server(name: &str, line: &str) -> String {
        format!(
            "[[server]]\nname='{name}'\nstate_dir='/{0}/state'\nrun_dir='/{0}/run'\n\
             pipe_directory='/{0}/np'\n{line}\n",
            name.to_lowercase()
        )
    }

    /// The callers of one server never become another's because somebody moved its table.
    #[test]
    fn a_server_is_known_by_its_name() {
        let sid = "admin_sids=['S-1-5-32-545']";
        let old = server("a", sid) + &server("b", "");
        let moved = server("B", "") + &server("A", sid);
        let merged = merge(&config(&old), &config(&moved));
        let sids = |merged: &Config| -> Vec<_> {
            let servers = merged.servers.iter();
            servers
                .map(|server| (server.name.clone().unwrap(), server.admin_sids.len()))
                .collect()
        };
        assert_eq!(sids(&merged), [("b".into(), 0), ("a".into(), 1)]);
        let changed = server("b", "max_wait='1m'") + &server("a", sid);
        let told = reloaded(&old, &changed);
        assert_eq!(told.applied, ["server[0].max_wait"]);
        assert!(told.needs_restart.is_empty(), "{told:?}");

        // One in place of another, and one that has got a name.
        for (old, new) in [
            (old.clone(), server("a", sid) + &server("c", sid)),
            ("[[server]]\n".into(), server("a", sid)),
        ] {
            let (old, new) = (config(&old), config(&new));
            assert_eq!(merge(&old, &new), old);
            assert_ne!(differences(&old, &new), Vec::<String>::new());
        }
    }
}
