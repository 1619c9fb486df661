//! Runs one program to its end, with a time limit.

use crate::{Error, until};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// Long enough for every program of a laboratory on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, invalid UTF-8 replaced.
    pub stderr: String,
}

impl Output {
    /// Both streams, for messages and for programs that do not keep them apart.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// True when either stream contains `needle`.
    #[must_use]
    pub fn says(&self, needle: &str) -> bool {
        self.stdout.contains(needle) || self.stderr.contains(needle)
    }
}

/// A program with its arguments.
#[derive(Debug, Clone)]
pub struct Run {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    input: Vec<u8>,
    limit: Duration,
}

impl Run {
    /// A program found on the usual path (`/usr/sbin` and `/sbin` included) or by its own path.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            input: Vec::new(),
            limit: LIMIT,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in a directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// What it reads from standard input; nothing by default.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Time after which it is ended.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it and returns what it printed, whatever its exit status.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::TooLong`].
    pub fn output(&self) -> Result<Output, Error> {
        let start = |source| Error::Start {
            command: self.line(),
            source,
        };
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not want its input closes the pipe; that is no error.
            let _ = stdin.write_all(&self.input);
        }
        let ended = until(self.limit, || child.try_wait()).map_err(start)?;
        if ended.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let (stdout, stderr) = (
            stdout.join().unwrap_or_default(),
            stderr.join().unwrap_or_default(),
        );
        match ended {
            Some(status) => Ok(Output {
                status,
                stdout,
                stderr,
            }),
            None => Err(Error::TooLong {
                command: self.line(),
                limit: self.limit,
                output: format!("{stdout}{stderr}"),
            }),
        }
    }

    /// Runs it; an exit status other than 0 is an error.
    ///
    /// # Errors
    /// As [`Run::output`], and [`Error::Failed`].
    pub fn check(&self) -> Result<Output, Error> {
        let output = self.output()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(Error::Failed {
            command: self.line(),
            status: output.status.to_string(),
            output: output.text(),
        })
    }

    /// The command as it may be shown and given to a shell; only the password after `-U` is left out.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.program.to_string_lossy().into_owned();
        let mut secret = false;
        for argument in &self.arguments {
            let text = argument.to_string_lossy();
            line.push(' ');
            match text.split_once('%').filter(|_| secret) {
                Some((user, _)) => line.push_str(&format!("{user}%...")),
                None => line.push_str(&quoted(&text)),
            }
            secret = text == "-U";
        }
        line
    }

    /// The plain command, for those who start it and do not wait.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().cloned());
        command.env("PATH", search_path()).env("LC_ALL", "C");
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// The caller's path with the system directories that only root's has.
pub(crate) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

/// An argument as a shell wants it.
fn quoted(argument: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return Cow::Borrowed(argument);
    }
    Cow::Owned(format!("'{}'", argument.replace('\'', r"'\''")))
}

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::Run;

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it_and_without_its_password() {
        let run = Run::new("smbclient").args(["-U", "backup%secret", "-c", "put a's b"]);
        assert_eq!(run.line(), r"smbclient -U backup%... -c 'put a'\''s b'");
    }
}
