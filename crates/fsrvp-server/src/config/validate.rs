//! What a configuration must fulfil beyond its syntax.

use super::{Config, EventLog, ServerConfig, backends};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; give the file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, a key that does not exist, or a value of the wrong type.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A value that makes no sense.
    #[error("{path}: {key}: {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A connection that has not authenticated by then is closed, whatever the verifier says.
const LONGEST_LOGON: Duration = dcerpc_proto::limits::AUTHENTICATION_TIMEOUT;

pub(super) fn check(config: &Config, path: &Path) -> Result<(), ConfigError> {
    let refuse = |key: String, problem: String| {
        Err(ConfigError::Value {
            path: path.to_owned(),
            key,
            problem,
        })
    };
    if config.servers.is_empty() {
        return refuse(
            "server".into(),
            "no [[server]] is configured; add one".into(),
        );
    }
    if config.log.events_socket.is_some()
        && !matches!(config.log.events, EventLog::Journal | EventLog::Syslog)
    {
        return refuse(
            "log.events_socket".into(),
            "say who listens there: log.events = \"journal\" or \"syslog\"".into(),
        );
    }
    if let Some(address) = config.admin.metrics_address
        && !address.ip().is_loopback()
    {
        return refuse(
            "admin.metrics_address".into(),
            format!("{address} is not a loopback address; let Prometheus reach it by a proxy"),
        );
    }
    if let Some(tcp) = &config.listen.tcp {
        if !tcp.address.ip().is_loopback() {
            return refuse(
                "listen.tcp.address".into(),
                format!(
                    "{} is not a loopback address; this listener is for laboratories and serves \
                     127.0.0.0/8 and [::1] only",
                    tcp.address
                ),
            );
        }
        if let Some(name) = &tcp.server {
            let known = config.servers.iter().any(|server| {
                server
                    .name
                    .as_deref()
                    .is_some_and(|n| n.eq_ignore_ascii_case(name))
            });
            if !known {
                return refuse(
                    "listen.tcp.server".into(),
                    format!("there is no [[server]] with name = {name:?}"),
                );
            }
        }
    }
    let several = config.servers.len() > 1;
    let mut names = BTreeSet::new();
    let mut places = BTreeSet::new();
    for (index, server) in config.servers.iter().enumerate() {
        let key = |name: &str| format!("server[{index}].{name}");
        match &server.name {
            None if several => {
                return refuse(
                    key("name"),
                    "with several [[server]] each needs a name of its own".into(),
                );
            }
            Some(name) if !is_server_name(name) => {
                return refuse(
                    key("name"),
                    format!("{name:?} is not a host name (letters, digits, '-', '.', '_')"),
                );
            }
            Some(name) if !names.insert(name.to_lowercase()) => {
                return refuse(key("name"), format!("{name:?} is used twice"));
            }
            _ => {}
        }
        for (name, path) in own_places(server) {
            if !places.insert((name, path)) {
                return refuse(
                    key(name),
                    format!(
                        "{} is used by another [[server]] too: each needs a state_dir, a run_dir and \
                         a pipe of its own, which an smb_conf or a pipe_directory gives it",
                        path.display()
                    ),
                );
            }
        }
        if let Err((name, problem)) = check_server(server) {
            return refuse(key(&name), problem);
        }
    }
    Ok(())
}

/// What two servers would take from each other, by its key.
fn own_places(server: &ServerConfig) -> [(&'static str, &Path); 3] {
    let pipe = match &server.pipe_directory {
        Some(directory) => ("pipe_directory", directory),
        None => ("smb_conf", &server.smb_conf),
    };
    [
        ("state_dir", &server.state_dir),
        ("run_dir", &server.run_dir),
        pipe,
    ]
    .map(|(key, path)| (key, path.as_path()))
}

fn check_server(server: &ServerConfig) -> Result<(), (String, String)> {
    let paths = [
        ("state_dir", &server.state_dir),
        ("run_dir", &server.run_dir),
    ]
    .into_iter()
    .chain([("smb_conf", &server.smb_conf)])
    .chain(
        server
            .pipe_directory
            .iter()
            .map(|path| ("pipe_directory", path)),
    )
    .chain(
        server
            .static_shares
            .iter()
            .map(|path| ("static_shares", path)),
    );
    for (name, path) in paths {
        if !path.is_absolute() {
            return Err((
                name.into(),
                format!("{} is not an absolute path", path.display()),
            ));
        }
    }
    if server.static_shares.is_some() && server.pipe_directory.is_none() {
        return Err((
            "pipe_directory".into(),
            "needed with static_shares: there is no smb.conf to take it from".into(),
        ));
    }
    if server.static_shares.is_some() && server.name.is_none() {
        return Err((
            "name".into(),
            "needed with static_shares: there is no smb.conf to take it from".into(),
        ));
    }
    for alias in &server.aliases {
        if !is_server_name(alias) {
            return Err(("aliases".into(), format!("{alias:?} is not a host name")));
        }
    }
    for sid in &server.admin_sids {
        if !is_sid(sid) {
            return Err((
                "admin_sids".into(),
                format!("{sid:?} is not a SID of the form S-1-5-32-551"),
            ));
        }
    }
    let timers = [
        ("short_timer", server.short_timer),
        ("long_timer", server.long_timer),
    ];
    for (name, timer) in timers.into_iter().chain([("max_wait", server.max_wait)]) {
        if timer.is_zero() {
            return Err((name.into(), "must be longer than zero".into()));
        }
    }
    let logon_limit = server.security.logon_limit;
    if logon_limit.is_zero() || logon_limit > LONGEST_LOGON {
        return Err((
            "security.logon_limit".into(),
            format!(
                "must be longer than zero and at most {} seconds",
                LONGEST_LOGON.as_secs()
            ),
        ));
    }
    if server.max_connections == 0 {
        return Err(("max_connections".into(), "must be at least 1".into()));
    }
    if server.max_connections_per_account == Some(0) {
        return Err((
            "max_connections_per_account".into(),
            "must be at least 1".into(),
        ));
    }
    backends::check(server)?;
    if server.clone.reserve_percent > 1_000 {
        return Err(("clone.reserve_percent".into(), "is more than 1000".into()));
    }
    server.retention.check()?;
    let backends = backends::names(server);
    let mut seen = BTreeSet::new();
    for share in &server.shares {
        if let Some(keep) = &share.keep {
            keep.check()
                .map_err(|(key, problem)| (format!("share {:?}: {key}", share.name), problem))?;
        }
        if !backends.contains(&share.backend.as_str()) {
            return Err((
                format!("share {:?}: backend", share.name),
                format!("{:?} is none of {}", share.backend, backends.join(", ")),
            ));
        }
        if share.backend == "memory" && server.static_shares.is_none() {
            return Err((
                format!("share {:?}: backend", share.name),
                "\"memory\" keeps nothing and is allowed with static_shares only".into(),
            ));
        }
        if !seen.insert(share.name.to_lowercase()) {
            return Err((
                format!("share {:?}", share.name),
                "is configured twice".into(),
            ));
        }
    }
    Ok(())
}

fn is_server_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['.', '-'])
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

fn is_sid(sid: &str) -> bool {
    let mut parts = sid.split('-');
    parts.next().is_some_and(|s| s.eq_ignore_ascii_case("s"))
        && parts.next() == Some("1")
        && parts.clone().next().is_some()
        && parts.all(|part| part.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Config::parse(text, Path::new("fsrvpd.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_smallest_file_is_one_server() {
        let config = Config::parse("[[server]]\n", Path::new("fsrvpd.toml")).unwrap();
        assert_eq!(config.servers[0].commit_limit.as_secs(), 10);
        assert_eq!(
            config.servers[0].min_auth_level,
            super::super::MinAuthLevel::Integrity
        );
    }

    #[test]
    fn several_servers_each_have_places_of_their_own() {
        for pipe in ["smb_conf='/d'", "pipe_directory='/np'"] {
            let text = format!(
                "[[server]]\nname='a'\n[[server]]\nname='b'\nstate_dir='/b'\nrun_dir='/c'\n{pipe}"
            );
            Config::parse(&text, Path::new("fsrvpd.toml")).unwrap();
        }
    }

    #[test]
    fn a_share_may_name_a_program() {
        let text = "[[server]]\n[[server.exec]]\nname='array'\ncommand=['/x', 'y']\n\
                    limits = { commit = '3s' }\n[[server.share]]\nname='a'\nbackend='array'";
        let config = Config::parse(text, Path::new("fsrvpd.toml")).unwrap();
        let limits = fsrvp_snapshot::ExecLimits::from(config.servers[0].exec[0].limits);
        assert_eq!(limits.commit, Duration::from_secs(3));
        assert_eq!(limits.seal, fsrvp_snapshot::ExecLimits::default().seal);
    }

    #[test]
    fn refusals_name_file_key_and_remedy() {
        let cases = [
            ("", "missing field `server`"),
            ("server = []", "no [[server]] is configured"),
            ("[[server]]\nstate = 1", "unknown field `state`"),
            (
                "[[server]]\nstate_dir = 'x'",
                "server[0].state_dir: x is not an absolute path",
            ),
            (
                "[listen.tcp]\naddress = '10.0.0.1:1'\n[[server]]",
                "is not a loopback address",
            ),
            (
                "[listen.tcp]\naddress = '127.0.0.1:1'\nserver = 'x'\n[[server]]",
                "no [[server]] with",
            ),
            (
                "[[server]]\n[[server]]\nstate_dir = '/x'",
                "each needs a name of its own",
            ),
            (
                "[[server]]\nname='a'\n[[server]]\nname='A'\nstate_dir='/x'",
                "is used twice",
            ),
            (
                "[[server]]\nname='a'\n[[server]]\nname='b'",
                "server[1].state_dir: /var/lib/fsrvpd is used by another [[server]]",
            ),
            (
                "[[server]]\nname='a'\n[[server]]\nname='b'\nstate_dir='/b'",
                "server[1].run_dir: /run/fsrvpd is used by another [[server]]",
            ),
            (
                "[[server]]\nname='a'\n[[server]]\nname='b'\nstate_dir='/b'\nrun_dir='/c'",
                "server[1].smb_conf: /etc/samba/smb.conf is used by another [[server]]",
            ),
            (
                "[[server]]\nname='a'\npipe_directory='/np'\n[[server]]\nname='b'\nstate_dir='/b'\n\
                 run_dir='/c'\nsmb_conf='/d'\npipe_directory='/np/'",
                "server[1].pipe_directory: /np/ is used by another [[server]]",
            ),
            ("[[server]]\nadmin_sids = ['BO']", "is not a SID"),
            ("[[server]]\nshort_timer = '0s'", "must be longer than zero"),
            ("[[server]]\ncommit_limit = 'soon'", "expected a duration"),
            (
                "[[server]]\n[server.security]\nlogon_limit = '2m'",
                "at most 60 seconds",
            ),
            (
                "[[server]]\n[[server.share]]\nname='a'\nbackend='lvm'",
                "is none of auto",
            ),
            (
                "[[server]]\n[[server.share]]\nname='a'\nbackend='copy'",
                "is none of auto",
            ),
            ("[[server]]\n[server.copy]", "missing field `max_bytes`"),
            (
                "[[server]]\n[[server.share]]\nname='a'\nbackend='memory'",
                "static_shares only",
            ),
            (
                "[[server]]\n[[server.share]]\nname='a'\n[[server.share]]\nname='A'",
                "twice",
            ),
            (
                "[[server]]\n[[server.exec]]\nname='a b'\ncommand=['/x']",
                "exec \"a b\": a name has",
            ),
            (
                "[[server]]\n[[server.exec]]\nname='btrfs'\ncommand=['/x']",
                "a meaning of its own",
            ),
            (
                "[[server]]\n[[server.exec]]\nname='a'\ncommand=[]",
                "name the program",
            ),
            (
                "[[server]]\n[[server.exec]]\nname='a'\ncommand=['x']",
                "x is not an absolute path",
            ),
            (
                "[[server]]\n[[server.exec]]\nname='a'\ncommand=['/x']\nlimits={seal='0s'}",
                "longer than zero",
            ),
            (
                "[[server]]\n[[server.exec]]\nname='a'\ncommand=['/x']\nlimits={sael='1s'}",
                "unknown field `sael`",
            ),
            (
                "[[server]]\nmax_connections_per_account=0",
                "max_connections_per_account: must be at least 1",
            ),
            (
                "[[server]]\nstatic_shares='/x'",
                "needed with static_shares",
            ),
            ("[[server]]\nprofile='nt4'", "unknown variant `nt4`"),
            (
                "[admin]\nmetrics_address = '0.0.0.0:1'\n[[server]]",
                "is not a loopback address",
            ),
            (
                "[[server]]\n[server.retention]\nage='0s'",
                "retention.age: must be longer",
            ),
            (
                "[[server]]\n[server.retention]\ncount=0",
                "retention.count: must be at least 1",
            ),
            (
                "[[server]]\n[[server.share]]\nname='a'\nkeep={name='x'}",
                "names all snapshots alike",
            ),
            (
                "[[server]]\n[[server.share]]\nname='a'\nkeep={name='../{time}'}",
                "is no template",
            ),
            (
                "[[server]]\n[[server.share]]\nname='a'\nkeep={name='{when}'}",
                "is no template",
            ),
            (
                "[[server]]\n[[server.share]]\nname='a'\nkeep={count=0}",
                "keep.count: must be at least 1",
            ),
        ];
        for (text, expected) in cases {
            let message = refused(text);
            assert!(message.contains(expected), "{text:?} gave {message:?}");
            assert!(message.starts_with("fsrvpd.toml"), "{message:?}");
        }
    }
}
