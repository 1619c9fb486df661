//! Runs the programs of others: a clean environment, a process group of their own, a time limit,
//! and no more output than fits.

use crate::backend::{BackendError, Deadline};
use fsrvp_sys::process_group::ProcessGroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Most that a program may say on its standard output.
const MOST_OUTPUT: usize = 4 << 20;
/// What is kept of the end of its standard error.
const MOST_ERRORS: usize = 8 << 10;
/// How often a cancelled deadline is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// Where programs find others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments; nothing that a client sent may be among them.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    arguments: Vec<OsString>,
}

/// What a program that ended by itself left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// The end of what it said.
    pub(crate) stderr: Vec<u8>,
}

/// Why a program did not end by itself.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It could not be started: nothing has been done.
    Start(io::Error),
    /// It was killed, after this time.
    TimedOut(Duration),
    /// It was killed because its work is not wanted any more.
    Cancelled,
    /// It was killed because it said too much.
    TooMuch,
    /// It could not be watched any more, and was killed.
    Lost(io::Error),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "cannot be started: {error}"),
            Self::TimedOut(after) => write!(
                f,
                "did not end within {} ms and was killed",
                after.as_millis()
            ),
            Self::Cancelled => f.write_str("was killed, for its work is not wanted any more"),
            Self::TooMuch => write!(f, "said more than {} MiB and was killed", MOST_OUTPUT >> 20),
            Self::Lost(error) => write!(f, "could not be watched and was killed: {error}"),
        }
    }
}

impl Failed {
    /// As the error of `program`.
    pub(crate) fn into_error(self, program: &str) -> BackendError {
        let detail = self.to_string();
        let program = program.to_owned();
        match self {
            Self::Start(_) => BackendError::Tool { program, detail },
            _ => BackendError::Indeterminate { program, detail },
        }
    }
}

impl Ended {
    /// The last line that the program said on its standard error, for people.
    pub(crate) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let said: String = text
            .trim()
            .chars()
            .map(|character| match character {
                '\n' => ' ',
                other if other.is_control() => '?',
                other => other,
            })
            .collect();
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        if said.is_empty() {
            how
        } else {
            format!("{said} ({how})")
        }
    }
}

impl Program {
    /// The program `command` (found on a path of the system's directories if it has no slash) with
    /// its first arguments.
    pub(crate) fn new(command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            arguments: command.into_iter().map(Into::into).collect(),
        }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Runs it with `input` on its standard input until it ends, `limit` has passed or `deadline`
    /// says so. Whatever of its process group is left then is killed; a daemon that it started has
    /// to have left the group.
    pub(crate) fn run(
        &self,
        input: &[u8],
        limit: Duration,
        deadline: &Deadline,
    ) -> Result<Ended, Failed> {
        let start = Instant::now();
        let last = start.checked_add(limit);
        let until = match (deadline.at, last) {
            (Some(at), Some(last)) => at.min(last),
            (at, last) => at.or(last).unwrap_or(start),
        };
        let mut child = self.spawn().map_err(Failed::Start)?;
        let group = ProcessGroup::of(&child).map_err(Failed::Start)?;
        let talked = Talk::with(&mut child, input)
            .map_err(Failed::Lost)
            .and_then(|talk| talk.until(&group, start, until, deadline));
        // Also what is left of the group after a good end.
        group.kill();
        let status = group.collect();
        let (stdout, stderr) = talked?;
        match status {
            Some(status) => Ok(Ended {
                status,
                stdout,
                stderr,
            }),
            None => Err(Failed::Lost(Errno::SRCH.into())),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let (program, arguments) = self
            .arguments
            .split_first()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("HOME", "/")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn()
    }
}

/// The three streams of a running program.
struct Talk<'a> {
    input: &'a [u8],
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    said: Vec<u8>,
    complained: Vec<u8>,
}

impl<'a> Talk<'a> {
    fn with(child: &mut Child, input: &'a [u8]) -> io::Result<Self> {
        let talk = Self {
            input,
            stdin: child.stdin.take().map(OwnedFd::from),
            stdout: child.stdout.take().map(OwnedFd::from),
            stderr: child.stderr.take().map(OwnedFd::from),
            said: Vec::new(),
            complained: Vec::new(),
        };
        for stream in [&talk.stdin, &talk.stdout, &talk.stderr]
            .into_iter()
            .flatten()
        {
            fcntl_setfl(stream, fcntl_getfl(stream)? | OFlags::NONBLOCK)?;
        }
        Ok(talk)
    }

    /// Talks until the leader of the group has ended.
    fn until(
        mut self,
        group: &ProcessGroup,
        start: Instant,
        until: Instant,
        deadline: &Deadline,
    ) -> Result<(Vec<u8>, Vec<u8>), Failed> {
        loop {
            let ended = self.step(group, until)?;
            if self.said.len() > MOST_OUTPUT {
                return Err(Failed::TooMuch);
            }
            if ended {
                return Ok((self.said, self.complained));
            }
            match deadline.check() {
                Err(BackendError::Cancelled) => return Err(Failed::Cancelled),
                _ if Instant::now() >= until => return Err(Failed::TimedOut(start.elapsed())),
                _ => {}
            }
        }
    }

    /// Waits until something happens, and takes all that there is. Whether the leader has ended.
    fn step(&mut self, group: &ProcessGroup, until: Instant) -> Result<bool, Failed> {
        let lost = |errno: Errno| Failed::Lost(errno.into());
        let patience = until.saturating_duration_since(Instant::now()).min(GLANCE);
        let mut fds = vec![PollFd::new(group, PollFlags::IN)];
        let streams = [
            (&self.stdin, PollFlags::OUT),
            (&self.stdout, PollFlags::IN),
            (&self.stderr, PollFlags::IN),
        ];
        for (stream, events) in streams {
            fds.extend(stream.as_ref().map(|stream| PollFd::new(stream, events)));
        }
        match poll(&mut fds, Some(&timespec(patience))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(lost(errno)),
        }
        let ended = fds
            .first()
            .is_some_and(|leader| leader.revents().contains(PollFlags::IN));
        self.write();
        take(&mut self.stdout, &mut self.said, MOST_OUTPUT).map_err(lost)?;
        take(&mut self.stderr, &mut self.complained, usize::MAX).map_err(lost)?;
        if let Some(more) = self.complained.len().checked_sub(MOST_ERRORS) {
            self.complained.drain(..more);
        }
        Ok(ended)
    }

    /// Writes what fits; a program need not read its input.
    fn write(&mut self) {
        while let Some(stdin) = &self.stdin {
            if self.input.is_empty() {
                self.stdin = None;
                return;
            }
            match rustix::io::write(stdin, self.input) {
                Ok(written) => self.input = self.input.get(written..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => self.stdin = None,
            }
        }
    }
}

/// Reads what is there, and little more than `most`; closes the stream at its end.
fn take(stream: &mut Option<OwnedFd>, into: &mut Vec<u8>, most: usize) -> rustix::io::Result<()> {
    let mut buffer = [0; 16 << 10];
    while let Some(open) = stream.as_ref().filter(|_| into.len() <= most) {
        match read(open.as_fd(), &mut buffer) {
            Ok([]) => *stream = None,
            Ok(bytes) => into.extend_from_slice(bytes),
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        // What nobody wants to see whole need not be kept whole.
        if most == usize::MAX && into.len() > 4 * MOST_ERRORS {
            into.drain(..into.len().saturating_sub(MOST_ERRORS));
        }
    }
    Ok(())
}

fn read<'b>(stream: BorrowedFd<'_>, buffer: &'b mut [u8]) -> rustix::io::Result<&'b [u8]> {
    let length = rustix::io::read(stream, &mut *buffer)?;
    Ok(buffer.get(..length).unwrap_or_default())
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    const MINUTE: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Program {
        Program::new(["sh", "-c", script])
    }

    fn run(script: &str) -> Result<Ended, Failed> {
        shell(script).run(b"question", MINUTE, &Deadline::default())
    }

    #[test]
    fn what_goes_in_and_what_comes_out() {
        let ended = run("cat; echo trouble >&2; exit 7").unwrap();
        assert_eq!(ended.stdout, b"question");
        assert_eq!(ended.complaint(), "trouble (exit status 7)");
        // More than a pipe holds, both ways at once.
        let input = vec![b'x'; 1 << 20];
        let ended = shell("cat")
            .run(&input, MINUTE, &Deadline::default())
            .unwrap();
        assert_eq!(ended.stdout, input);
        // One that reads nothing.
        let ended = shell("exit 0")
            .run(&input, MINUTE, &Deadline::default())
            .unwrap();
        assert!(ended.status.success());
    }

    #[test]
    fn the_environment_is_clean() {
        let ended = run("pwd; env | sed s/=.*// | sort; ps -o pgid= -p $$; echo $$").unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        // PWD, and in some shells SHLVL, OLDPWD and _, are the shell's own.
        let own = |name: &&&str| !["PWD", "OLDPWD", "SHLVL", "_"].contains(*name);
        let names: Vec<_> = lines[1..lines.len() - 2].iter().filter(own).collect();
        assert_eq!(lines[0], "/");
        assert_eq!(names, [&"HOME", &"LC_ALL", &"PATH"]);
        assert_eq!(lines[lines.len() - 2], lines[lines.len() - 1], "{text}");
    }

    /// A killed process takes a moment to go.
    fn is_gone(mark: &str) -> bool {
        let started = Instant::now();
        while runs(mark) && started.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        !runs(mark)
    }

    /// Whether a process with this argument runs.
    fn runs(mark: &str) -> bool {
        let here = |entry: io::Result<std::fs::DirEntry>| {
            let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            String::from_utf8(line).ok()
        };
        let mut lines = std::fs::read_dir("/proc").unwrap().filter_map(here);
        lines.any(|line| line.starts_with("sleep") && line.contains(mark))
    }

    #[test]
    fn the_whole_group_is_killed_at_the_limit() {
        let started = Instant::now();
        let failed = shell("sleep 86411 & echo begun; sleep 86411")
            .run(b"", Duration::from_millis(200), &Deadline::default())
            .unwrap_err();
        assert!(matches!(failed, Failed::TimedOut(_)), "{failed}");
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(is_gone("86411"));
    }

    #[test]
    fn a_deadline_and_a_cancellation_end_it() {
        let deadline = Deadline::within(Some(Duration::from_millis(100)));
        let failed = shell("sleep 86412")
            .run(b"", MINUTE, &deadline)
            .unwrap_err();
        assert!(matches!(failed, Failed::TimedOut(_)), "{failed}");
        let deadline = Deadline::default();
        deadline.cancelled.store(true, Ordering::Relaxed);
        let failed = shell("sleep 86412")
            .run(b"", MINUTE, &deadline)
            .unwrap_err();
        assert!(matches!(failed, Failed::Cancelled), "{failed}");
        assert!(is_gone("86412"));
    }

    #[test]
    fn who_keeps_the_streams_open_is_not_waited_for() {
        let started = Instant::now();
        let ended = run("sleep 86413 & echo done").unwrap();
        assert_eq!(ended.stdout, b"done\n");
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(is_gone("86413"));
    }

    #[test]
    fn a_flood_is_cut_off() {
        let failed = run("yes").unwrap_err();
        assert!(matches!(failed, Failed::TooMuch), "{failed}");
        // On the other stream only the end counts.
        let ended = run("yes | head -c 9000000 >&2; echo last >&2").unwrap();
        assert!(ended.stderr.len() <= MOST_ERRORS);
        assert!(ended.stderr.ends_with(b"y\nlast\n"));
    }

    #[test]
    fn what_does_not_exist_does_nothing() {
        let missing = Program::new(["/nonexistent/array-tool"]);
        let failed = missing.run(b"", MINUTE, &Deadline::default()).unwrap_err();
        assert!(matches!(failed, Failed::Start(_)), "{failed}");
        let error = failed.into_error("array-tool");
        assert!(matches!(error, BackendError::Tool { .. }), "{error}");
    }
}
