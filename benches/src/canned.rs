//! The ceiling: a replier in a process of its own that reads a message and writes canned bytes,
//! decoding nothing.

use crate::Result;
use fsrvp_testkit::comes_true;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the agent looks for the next call before it sleeps (`fsrvp-server/src/eager.rs`).
const LOOK: Duration = Duration::from_micros(50);

/// Open connections of the replier.
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

/// The replier's process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Canned {
    child: Child,
    socket: PathBuf,
}

impl Canned {
    /// Starts the replier on `socket` with the messages that it is to write.
    pub(crate) fn start(socket: &Path, bind_ack: &[u8], response: &[u8]) -> Result<Self> {
        let [ack_file, response_file] = files(socket);
        std::fs::write(ack_file, bind_ack)?;
        std::fs::write(response_file, response)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("canned")
            .arg(socket)
            .stdin(Stdio::null())
            .spawn()?;
        let canned = Self {
            child,
            socket: socket.to_owned(),
        };
        let serves = || UnixStream::connect(&canned.socket).is_ok();
        if !comes_true(Duration::from_secs(10), serves) {
            return Err("the canned replier does not start".into());
        }
        Ok(canned)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn files(socket: &Path) -> [PathBuf; 2] {
    ["ack", "response"].map(|name| socket.with_extension(name))
}

/// Serves `socket` for the life of the process, one thread a connection. A hand-over, a bind and
/// calls are told apart by their order alone.
pub(crate) fn serve(socket: &Path) -> Result<()> {
    let [ack_file, response_file] = files(socket);
    let answers = Arc::new((std::fs::read(ack_file)?, std::fs::read(response_file)?));
    for stream in UnixListener::bind(socket)?.incoming() {
        let (stream, answers) = (stream?, Arc::clone(&answers));
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        thread::spawn(move || {
            let end = reply(stream, &answers.0, &answers.1);
            CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
            end
        });
    }
    Ok(())
}

fn reply(mut stream: UnixStream, bind_ack: &[u8], response: &[u8]) -> std::io::Result<()> {
    let mut buffer = vec![0; 8_192];
    let _ = stream.read(&mut buffer)?;
    stream.write_all(&[0; 36])?;
    let _ = stream.read(&mut buffer)?;
    stream.write_all(bind_ack)?;
    while next(&mut stream, &mut buffer)? != 0 {
        stream.write_all(response)?;
    }
    Ok(())
}

/// Reads as the agent does: the only connection is looked at for a moment before it sleeps.
fn next(stream: &mut UnixStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    let began = Instant::now();
    while CONNECTIONS.load(Ordering::Relaxed) == 1 && began.elapsed() < LOOK {
        match recv(&mut *stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((read, _)) => return Ok(read),
            Err(Errno::AGAIN) => std::hint::spin_loop(),
            Err(error) => return Err(error.into()),
        }
    }
    stream.read(buffer)
}
