//! What processes say to the network, as strace sees it.

use crate::process;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long strace may take to attach to a process.
const ATTACH_LIMIT: Duration = Duration::from_secs(20);

/// strace on processes with all their threads and children to come; detached when dropped.
#[derive(Debug)]
pub struct NetworkTrace {
    strace: Child,
    file: tempfile::NamedTempFile,
}

impl NetworkTrace {
    /// Watches processes, each by its id, from now on.
    ///
    /// # Errors
    /// strace does not start or does not attach.
    pub fn of(pids: &[u32]) -> io::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o"]);
        command.arg::<&Path>(file.path());
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let strace = command.stderr(Stdio::piped()).spawn()?;
        let mut trace = Self { strace, file };
        let said = trace.strace.stderr.take();
        let said = said.ok_or(io::ErrorKind::BrokenPipe)?;
        let (attached, is_attached) = mpsc::channel();
        // To its end: strace also tells of every thread to come, and ends when nobody hears it.
        std::thread::spawn(move || {
            let lines = BufReader::new(said).lines().map_while(Result::ok);
            for _ in lines.filter(|line| line.contains("attached")) {
                let _ = attached.send(());
            }
        });
        // One line a process that was named.
        for _ in pids {
            let attached = is_attached.recv_timeout(ATTACH_LIMIT);
            attached.map_err(|_| io::Error::other("strace could not attach"))?;
        }
        Ok(trace)
    }

    /// The calls so far that name an address of a network.
    ///
    /// # Errors
    /// strace has ended by itself: what it did not see is not known.
    pub fn network_calls(mut self) -> io::Result<Vec<String>> {
        if let Some(status) = self.strace.try_wait()? {
            return Err(io::Error::other(format!(
                "strace ended before the watched processes did: {status}"
            )));
        }
        process::signal(self.strace.id(), rustix::process::Signal::INT);
        self.strace.wait()?;
        let text = std::fs::read_to_string(self.file.path())?;
        let is_network = |line: &&str| line.contains("AF_INET");
        Ok(text.lines().filter(is_network).map(str::to_owned).collect())
    }
}

impl Drop for NetworkTrace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
