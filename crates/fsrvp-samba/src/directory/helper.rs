//! The resident helper: a Python process that keeps Samba's registry open.
//!
//! Samba's libraries are GPL, so they are used from a process of their own and never linked. The
//! helper is started again when it has died, ever more slowly, and without it the tools do the
//! work.

use super::definition::Definition;
use super::means::{Means, MeansError, Published};
use crate::children::Children;
use fsrvp_sys::process_group::ProcessGroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The helper's text, for when no file with it is installed.
const SCRIPT: &str = include_str!("fsrvp-samba-helper.py");
/// Runs the script that comes first on its standard input.
const LOADER: &str = "import sys; \
    text = sys.stdin.buffer.read(int(sys.argv[1])); \
    exec(compile(text, 'fsrvp-samba-helper', 'exec'))";

/// First pause before a dead helper is started again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long starting may take: Python and Samba's libraries, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Longest answer; a registry of 10,000 shares takes about 5 MiB.
const MAX_ANSWER: usize = 64 << 20;

/// How to start the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperConfig {
    /// Python 3 with python3-samba; Debian's is `/usr/bin/python3`.
    pub python: PathBuf,
    /// A file to run instead of the built-in text.
    pub script: Option<PathBuf>,
    /// How long one request may take; the helper is killed then.
    pub limit: Duration,
}

impl Default for HelperConfig {
    fn default() -> Self {
        Self {
            python: PathBuf::from("/usr/bin/python3"),
            script: None,
            limit: Duration::from_secs(20),
        }
    }
}

/// The helper, running or not.
pub(super) struct Helper {
    config: HelperConfig,
    smb_conf: PathBuf,
    mark: String,
    children: Option<Children>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    failures: u32,
    not_before: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    #[serde(default)]
    ok: Value,
    error: Option<Refusal>,
    /// It ends after this answer.
    #[serde(default)]
    last: bool,
}

#[derive(Deserialize)]
struct Refusal {
    kind: String,
    text: String,
}

impl Helper {
    pub(super) fn new(
        config: HelperConfig,
        smb_conf: PathBuf,
        mark: String,
        children: Option<Children>,
    ) -> Self {
        Self {
            config,
            smb_conf,
            mark,
            children,
            state: Mutex::default(),
        }
    }

    /// Starts the helper if it does not run.
    pub(super) fn start(&self) -> Result<(), MeansError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.running(&mut state).map(|_| ())
    }

    /// Process id of the helper, if it runs.
    pub(super) fn process(&self) -> Option<u32> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.process.as_ref().map(|process| process.group.leader())
    }

    fn running<'s>(&self, state: &'s mut State) -> Result<&'s mut Process, MeansError> {
        if state.process.as_mut().is_some_and(Process::has_ended) {
            state.process = None;
        }
        if state.process.is_none() {
            if state.not_before.is_some_and(|time| Instant::now() < time) {
                return Err(MeansError::Unavailable("the helper is down".to_owned()));
            }
            let started = self.start_process();
            match started {
                Ok(process) => {
                    tracing::info!(pid = process.group.leader(), "Samba helper started");
                    state.process = Some(process);
                }
                Err(error) => {
                    state.postpone();
                    tracing::warn!(%error, "cannot start the Samba helper, using Samba's tools");
                    let text = format!("cannot start the Samba helper: {error}");
                    return Err(MeansError::Unavailable(text));
                }
            }
        }
        state
            .process
            .as_mut()
            .ok_or_else(|| MeansError::Unavailable("the helper is down".to_owned()))
    }

    fn start_process(&self) -> io::Result<Process> {
        // What Python says there goes nowhere: nobody can write to that file.
        let stderr = match &self.children {
            Some(children) => children.stream()?,
            None => Stdio::null(),
        };
        Process::start(&self.config, &self.smb_conf, &self.mark, stderr)
    }

    fn ask(&self, operation: &str, mut request: Value) -> Result<Value, MeansError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let process = self.running(&mut state)?;
        if let Some(request) = request.as_object_mut() {
            request.insert("op".to_owned(), operation.into());
        }
        match process.exchange(request, self.config.limit) {
            Ok(answer) => {
                state.failures = 0;
                if answer.last {
                    tracing::debug!("the Samba helper has grown and makes room for a new one");
                    state.process = None;
                }
                match answer.error {
                    None => Ok(answer.ok),
                    Some(refusal) => Err(match refusal.kind.as_str() {
                        "not_found" => MeansError::NotFound(refusal.text),
                        "foreign" => MeansError::Foreign(refusal.text),
                        _ => MeansError::Failed(format!("{operation}: {}", refusal.text)),
                    }),
                }
            }
            Err(error) => {
                tracing::warn!(operation, %error, "the Samba helper failed and is started again");
                state.process = None;
                state.postpone();
                let text = format!("Samba helper: {operation}: {error}");
                Err(MeansError::Unavailable(text))
            }
        }
    }
}

impl State {
    /// Lets some time pass before the next start.
    fn postpone(&mut self) {
        let pause = FIRST_PAUSE
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now().checked_add(pause);
    }
}

impl Means for Helper {
    fn share(&self, name: &str) -> Result<Option<Definition>, MeansError> {
        share_in(self.ask("share", json!({ "name": name }))?)
    }

    fn shares(&self) -> Result<Vec<Definition>, MeansError> {
        let answer = self.ask("shares", json!({}))?;
        let shares: Vec<RawShare> = parse(answer)?;
        Ok(shares.into_iter().map(Definition::from).collect())
    }

    fn publish(&self, clones: &[Published]) -> Result<(), MeansError> {
        let shares: Vec<Value> = clones
            .iter()
            .map(|clone| {
                json!({
                    "name": clone.definition.name,
                    "base": clone.base,
                    "parameters": clone.definition.parameters(),
                })
            })
            .collect();
        self.ask("publish", json!({ "shares": shares })).map(|_| ())
    }

    fn redefine(&self, shares: &[Definition]) -> Result<(), MeansError> {
        let shares: Vec<Value> = shares
            .iter()
            .map(|share| json!({ "name": share.name, "parameters": share.parameters() }))
            .collect();
        self.ask("redefine", json!({ "shares": shares }))
            .map(|_| ())
    }

    fn remove(&self, name: &str) -> Result<Option<Definition>, MeansError> {
        share_in(self.ask("remove", json!({ "name": name }))?)
    }
}

/// A share as `smbconf` gives it: name and parameters.
#[derive(Deserialize)]
struct RawShare(String, Vec<(String, String)>);

impl From<RawShare> for Definition {
    fn from(RawShare(name, parameters): RawShare) -> Self {
        Self::from_parameters(name, parameters)
    }
}

fn share_in(answer: Value) -> Result<Option<Definition>, MeansError> {
    let share: Option<RawShare> = parse(answer)?;
    Ok(share.map(Definition::from))
}

fn parse<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, MeansError> {
    serde_json::from_value(answer)
        .map_err(|error| MeansError::Failed(format!("the Samba helper's answer: {error}")))
}

/// One running helper; killed when dropped.
struct Process {
    group: ProcessGroup,
    stdin: ChildStdin,
    stdout: ChildStdout,
    received: Vec<u8>,
    last_id: u64,
}

impl Process {
    fn start(
        config: &HelperConfig,
        smb_conf: &PathBuf,
        mark: &str,
        stderr: Stdio,
    ) -> io::Result<Self> {
        let mut command = Command::new(&config.python);
        command.arg("-I");
        match &config.script {
            Some(script) => command.arg(script),
            None => command.args(["-c", LOADER]).arg(SCRIPT.len().to_string()),
        };
        let mut child = command
            .arg(smb_conf)
            .arg(mark)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()?;
        let group = ProcessGroup::of(&child)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut process = Self {
            group,
            stdin,
            stdout,
            received: Vec::new(),
            last_id: 0,
        };
        if config.script.is_none() {
            process.stdin.write_all(SCRIPT.as_bytes())?;
        }
        process.answer(0, START_LIMIT)?;
        Ok(process)
    }

    fn has_ended(&mut self) -> bool {
        self.group.ends_within(Duration::ZERO)
    }

    fn exchange(&mut self, mut request: Value, limit: Duration) -> io::Result<Answer> {
        self.last_id = self.last_id.wrapping_add(1);
        if let Some(request) = request.as_object_mut() {
            request.insert("id".to_owned(), self.last_id.into());
        }
        let mut line = request.to_string();
        line.push('\n');
        self.stdin.write_all(line.as_bytes())?;
        self.answer(self.last_id, limit)
    }

    /// Waits for the answer to request `id`.
    fn answer(&mut self, id: u64, limit: Duration) -> io::Result<Answer> {
        let deadline = Instant::now() + limit;
        let line = loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(end.saturating_add(1));
                break std::mem::replace(&mut self.received, rest);
            }
            if self.received.len() > MAX_ANSWER {
                return Err(io::Error::other("its answer is too long"));
            }
            self.receive(deadline)?;
        };
        let answer: Answer = serde_json::from_slice(&line)?;
        if answer.id != id {
            return Err(io::Error::other("it answered another request"));
        }
        Ok(answer)
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(&self.stdout, PollFlags::IN)];
        if poll(&mut ready, Some(&timeout))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer"));
        }
        let mut buffer = [0; 16 * 1024];
        let read = self.stdout.read(&mut buffer)?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it has ended; is python3-samba installed?",
            ));
        }
        self.received
            .extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.group.kill();
        let _ = self.group.collect();
    }
}
