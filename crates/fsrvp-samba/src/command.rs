//! Runs Samba's tools: an argument vector, never a shell; a fixed locale; a time limit after which
//! the whole process group is killed.

use crate::children::Children;
use fsrvp_sys::process_group::ProcessGroup;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Most bytes of a tool's output that are kept; a server of 10,000 shares prints 2 MiB.
const MAX_OUTPUT: u64 = 16 << 20;

/// A tool did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It is not installed, or cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The tool.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("{program} was killed because it took longer than {limit:?}")]
    Limit {
        /// The tool.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// It failed.
    #[error("{program} failed ({status}): {text}")]
    Failed {
        /// The tool with its arguments.
        program: String,
        /// Exit status.
        status: String,
        /// What it said.
        text: String,
    },
    /// Its output could not be read or is no UTF-8.
    #[error("cannot read what {program} printed: {source}")]
    Output {
        /// The tool.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// What a tool says on its standard output, if it succeeds within `limit`. Blocks.
///
/// # Errors
/// It is not there, takes too long, or fails.
pub fn said_by(
    program: &'static str,
    arguments: &[&str],
    limit: Duration,
) -> Result<String, CommandError> {
    let mut tool = Tool::new(program);
    for argument in arguments {
        tool = tool.arg(argument);
    }
    tool.run(limit).map(|output| output.stdout)
}

/// What a tool printed and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    success: bool,
    status: String,
}

/// A tool with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    program: &'static str,
    arguments: Vec<OsString>,
    children: Option<Children>,
}

impl Tool {
    pub(crate) fn new(program: &'static str) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            children: None,
        }
    }

    /// It changes something: the next start waits for its end, should it outlive this process.
    pub(crate) fn one_of(mut self, children: Option<&Children>) -> Self {
        self.children = children.cloned();
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Runs it; a failure to succeed is an error.
    pub(crate) fn run(&self, limit: Duration) -> Result<Output, CommandError> {
        let output = self.outcome(limit)?;
        if output.success {
            return Ok(output);
        }
        Err(self.failed(&output))
    }

    /// The error for an output that the caller does not accept.
    pub(crate) fn failed(&self, output: &Output) -> CommandError {
        let text = [output.stderr.trim(), output.stdout.trim()].join(" ");
        CommandError::Failed {
            program: format!("{} {:?}", self.program, self.arguments),
            status: output.status.clone(),
            text: text.trim().to_owned(),
        }
    }

    /// No tool reads anything.
    fn stdin(&self) -> io::Result<Stdio> {
        match &self.children {
            Some(children) => children.stream(),
            None => Ok(Stdio::null()),
        }
    }

    /// Runs it, whatever its exit status.
    pub(crate) fn outcome(&self, limit: Duration) -> Result<Output, CommandError> {
        let program = || self.program.to_owned();
        let start = |source| CommandError::Start {
            program: program(),
            source,
        };
        let mut child = Command::new(self.program)
            .args(&self.arguments)
            .env("LC_ALL", "C")
            .stdin(self.stdin().map_err(&start)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(&start)?;
        let group = ProcessGroup::of(&child).map_err(&start)?;
        let deadline = Instant::now() + limit;
        let result = collect(&mut child, deadline);
        let left = deadline.saturating_duration_since(Instant::now());
        let in_time = matches!(result, Ok(Some(_))) && group.ends_within(left);
        if !in_time {
            group.kill();
        }
        match (result, group.collect()) {
            (Ok(Some((stdout, stderr))), Some(status)) if in_time => Ok(Output {
                stdout,
                stderr,
                success: status.success(),
                status: status.to_string(),
            }),
            (Ok(_), _) => Err(CommandError::Limit {
                program: program(),
                limit,
            }),
            (Err(source), _) => Err(CommandError::Output {
                program: program(),
                source,
            }),
        }
    }
}

/// Reads both streams to their ends; `None` if that takes longer than until `deadline`.
fn collect(child: &mut Child, deadline: Instant) -> io::Result<Option<(String, String)>> {
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    let mut texts = [String::new(), String::new()];
    for (text, receiver) in texts.iter_mut().zip([stdout, stderr]) {
        let Some(receiver) = receiver else { continue };
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(read) => *text = read?,
            Err(_) => return Ok(None),
        }
    }
    let [stdout, stderr] = texts;
    Ok(Some((stdout, stderr)))
}

fn read_in_background(stream: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stream.take(MAX_OUTPUT).read_to_string(&mut text);
        // Nobody listens any more after the limit.
        let _ = sender.send(read.map(|_| text));
    });
    receiver
}
