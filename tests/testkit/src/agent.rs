//! Starting and stopping fsrvpd, and its configuration file.

use crate::process::{self, MARK};
use crate::volume::directory;
use crate::{Error, Run, SequenceTimeout, comes_true, place, unix_http_get};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

/// Name by which the laboratory's file server is known.
pub(crate) const SERVER_NAME: &str = "LABSRV";

/// Time for a start, and for an orderly end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which agent serves the pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentKind {
    /// Ours, at this path.
    Fsrvpd(PathBuf),
    /// Samba's own `rpcd_fsrvp` with this number of worker processes. Each worker keeps a table of
    /// its own, so that more than one answers a client's second connection wrongly.
    Samba {
        /// Worker processes.
        workers: u32,
    },
}

/// `profile` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The text of the specification.
    Spec,
    /// What Windows Server 2012 does where it differs.
    Ws2012,
}

impl Profile {
    /// As it stands in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Ws2012 => "ws2012",
        }
    }
}

/// `min_auth_level` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MinAuthLevel {
    /// Calls without RPC security are served.
    None,
    /// Calls must at least be signed.
    Integrity,
    /// Calls must be encrypted.
    Privacy,
}

impl MinAuthLevel {
    /// As it stands in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Privacy => "privacy",
        }
    }
}

/// Files of fsrvpd in the laboratory.
#[derive(Debug, Clone)]
pub(crate) struct AgentFiles {
    pub(crate) config: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) admin_socket: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) pid: PathBuf,
}

impl AgentFiles {
    pub(crate) fn of(dir: &Path) -> Self {
        let agent = dir.join("agent");
        Self {
            config: agent.join("fsrvpd.toml"),
            state: agent.join("state"),
            run: place::reachable(dir).join("agent/run"),
            admin_socket: agent.join("admin.sock"),
            log: agent.join("log"),
            pid: agent.join("pid"),
        }
    }
}

/// What the configuration says besides paths.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AgentSettings {
    pub(crate) profile: Profile,
    pub(crate) min_auth_level: MinAuthLevel,
    pub(crate) sequence_timeout: Option<SequenceTimeout>,
    pub(crate) allow_shared_volume: bool,
    pub(crate) log_level: String,
    /// Lines that a test adds to `[[server]]`.
    pub(crate) server_lines: Vec<String>,
    /// Lines that a test adds to `[admin]`.
    #[serde(default)]
    pub(crate) admin_lines: Vec<String>,
}

pub(crate) fn write_config(
    files: &AgentFiles,
    settings: &AgentSettings,
    smb_conf: &Path,
    pipe_directory: &Path,
) -> Result<(), Error> {
    for path in [&files.state, &files.run] {
        directory(path)?;
    }
    let mut text = format!(
        "[log]\nlevel = {:?}\n\n[admin]\nsocket = {:?}\n{}\n[[server]]\nname = {SERVER_NAME:?}\n\
         smb_conf = {smb_conf:?}\npipe_directory = {pipe_directory:?}\nstate_dir = {:?}\n\
         run_dir = {:?}\nprofile = {:?}\nmin_auth_level = {:?}\nallow_shared_volume = {}\n",
        settings.log_level,
        files.admin_socket,
        settings.admin_lines.concat(),
        files.state,
        files.run,
        settings.profile.name(),
        settings.min_auth_level.name(),
        settings.allow_shared_volume,
    );
    if let Some(timeout) = settings.sequence_timeout {
        text.push_str(&format!(
            "short_timer = \"{}ms\"\nlong_timer = \"{}ms\"\n",
            timeout.short.as_millis(),
            timeout.long.as_millis()
        ));
    }
    for line in &settings.server_lines {
        text.push_str(line);
        text.push('\n');
    }
    fs::write(&files.config, text).map_err(Error::file(&files.config))
}

/// Puts the program where another system sees it too.
pub(crate) fn copy_program(dir: &Path, program: &Path) -> Result<PathBuf, Error> {
    let copy = dir.join("agent/fsrvpd");
    // Beside and renamed, because one that runs cannot be written.
    let fresh = copy.with_extension("new");
    fs::copy(program, &fresh)
        .and_then(|_| fs::rename(&fresh, &copy))
        .map_err(Error::file(&copy))?;
    Ok(copy)
}

/// Starts fsrvpd and does not wait for it.
pub(crate) fn spawn(dir: &Path, program: Run) -> Result<Child, Error> {
    let files = AgentFiles::of(dir);
    let mut log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&files.log)
        .map_err(Error::file(&files.log))?;
    writeln!(log, "--- start").map_err(Error::file(&files.log))?;
    let stderr = log.try_clone().map_err(Error::file(&files.log))?;
    let run = program.arg("--config").arg(&files.config);
    let child = run
        .command()
        .env(MARK, dir)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Start {
            command: run.line(),
            source,
        })?;
    fs::write(&files.pid, format!("{}\n", child.id())).map_err(Error::file(&files.pid))?;
    Ok(child)
}

/// Starts fsrvpd and returns its process id once it answers on the admin socket.
pub(crate) fn start(dir: &Path, program: Run) -> Result<u32, Error> {
    let files = AgentFiles::of(dir);
    let mut child = spawn(dir, program)?;
    let pid = child.id();
    let mut last = String::new();
    let mut ended = None;
    let serves = || {
        last = match unix_http_get(&files.admin_socket, "/v1/health") {
            Ok(answer) if answer.status == 200 => return true,
            Ok(answer) => format!("status {}: {}", answer.status, answer.body),
            Err(error) => error.to_string(),
        };
        ended = child.try_wait().ok().flatten();
        ended.is_some()
    };
    if comes_true(PATIENCE, serves) && ended.is_none() {
        // Collects the process when it ends, should this process still be there then.
        thread::spawn(move || child.wait());
        return Ok(pid);
    }
    let log = fs::read_to_string(&files.log).unwrap_or_default();
    let log = log
        .rsplit_once("--- start")
        .map_or(log.as_str(), |(_, last)| last);
    let ended = ended
        .map(|status| format!("it ended, {status}; "))
        .unwrap_or_default();
    let last = format!("{ended}{last}; its log:\n{log}");
    Err(Error::NotReady {
        server: "fsrvpd",
        limit: PATIENCE,
        last,
    })
}

/// Ends fsrvpd in good order, or as `kill -9` does.
pub(crate) fn stop(dir: &Path, crash: bool) -> Result<(), Error> {
    let files = AgentFiles::of(dir);
    let Some(pid) = process::pid_in(&files.pid) else {
        return Ok(());
    };
    let patience = if crash { Duration::ZERO } else { PATIENCE };
    if crash {
        process::signal(pid, rustix::process::Signal::KILL);
    }
    let left = process::stop([pid], patience);
    if !left.is_empty() {
        return Err(Error::LeftOver(format!("fsrvpd, process {pid}")));
    }
    fs::remove_file(&files.pid).map_err(Error::file(&files.pid))
}
