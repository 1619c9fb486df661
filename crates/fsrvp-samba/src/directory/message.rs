//! Samba's messages between processes, as far as smbd has to be told something.
//!
//! Every Samba process has a datagram socket `<lock directory>/msg.sock/<pid>`. A message that
//! fits into one datagram is 8 zero bytes, the receiver's and the sender's `server_id`, the
//! message type, and the text. The format has not changed since Samba 4.2.

use rustix::fd::AsFd;
use rustix::process::{Pid, test_kill_process};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// MSG_PING: the receiver answers with MSG_PONG once it has dealt with what came before.
const MSG_PING: u32 = 2;
/// MSG_PONG
const MSG_PONG: u32 = 3;
/// MSG_SMB_FORCE_TDIS: cut every connection to the share that the text names. smbd's parent
/// passes it on to all its children.
const MSG_SMB_FORCE_TDIS: u32 = 0x0302;

/// vnn of a server that is not part of a cluster.
const NONCLUSTER_VNN: u32 = u32::MAX;
/// Bytes before the header: no fragments.
const COOKIE: [u8; 8] = [0; 8];
/// Bytes of cookie and header.
const HEADER: usize = 60;
/// Longest datagram.
const MAX_DATAGRAM: usize = 1024;
/// Pause when a receiver's queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(2);

/// The socket's name is our process id, so there can be only one at a time.
static ONE_SOCKET: Mutex<()> = Mutex::new(());

/// A mailbox of our own in a server's message directory.
pub(super) struct Mailbox {
    socket: UnixDatagram,
    directory: PathBuf,
    own: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Mailbox {
    /// Opens it below `lock_directory`.
    pub(super) fn open(lock_directory: &Path) -> io::Result<Self> {
        let turn = ONE_SOCKET.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = lock_directory.join("msg.sock");
        let own = directory.join(std::process::id().to_string());
        match std::fs::remove_file(&own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&own)?;
        rustix::fs::fchmod(
            socket.as_fd(),
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .ok();
        Ok(Self {
            socket,
            directory,
            own,
            _turn: turn,
        })
    }

    /// Tells smbd's parent to cut all connections to `share`.
    pub(super) fn force_disconnect(
        &self,
        parent: u32,
        share: &str,
        deadline: Instant,
    ) -> io::Result<()> {
        let mut text = share.as_bytes().to_vec();
        text.push(0);
        self.send(parent, MSG_SMB_FORCE_TDIS, &text, deadline)
            .map(|_| ())
    }

    /// Waits until each of `processes` has dealt with all messages that reached it before this
    /// call. Processes that have ended count as done. Gives those that did not answer in time.
    pub(super) fn drain(&self, processes: &[u32], deadline: Instant) -> io::Result<Vec<u32>> {
        let mut silent = Vec::new();
        for process in processes {
            if self.send(*process, MSG_PING, &[], deadline)? {
                silent.push(*process);
            }
        }
        let mut datagram = [0; MAX_DATAGRAM];
        while !silent.is_empty() {
            // A process that dies now would never answer: look from time to time.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.socket
                .set_read_timeout(Some(left.min(Duration::from_millis(100))))?;
            match self.socket.recv(&mut datagram) {
                Ok(length) => {
                    let sender = datagram.get(..length).and_then(pong_sender);
                    silent.retain(|process| Some(*process) != sender);
                }
                Err(error) if is_time_out(&error) => silent.retain(|process| is_alive(*process)),
                Err(error) => return Err(error),
            }
        }
        Ok(silent)
    }

    /// Sends; `false` if the receiver does not exist any more.
    fn send(&self, to: u32, message: u32, text: &[u8], deadline: Instant) -> io::Result<bool> {
        let mut datagram = Vec::with_capacity(HEADER.saturating_add(text.len()));
        datagram.extend_from_slice(&COOKIE);
        datagram.extend_from_slice(&server_id(to));
        datagram.extend_from_slice(&server_id(std::process::id()));
        datagram.extend_from_slice(&message.to_le_bytes());
        datagram.extend_from_slice(text);
        if datagram.len() > MAX_DATAGRAM {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the share's name is too long for a message",
            ));
        }
        let path = self.directory.join(to.to_string());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.socket
                .set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.socket.send_to(&datagram, &path) {
                Ok(_) => return Ok(true),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                    ) =>
                {
                    return Ok(false);
                }
                Err(error) if is_time_out(&error) && Instant::now() < deadline => {
                    std::thread::sleep(FULL_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.own);
    }
}

/// Removes the mailbox that a process of ours has left which was killed.
pub(super) fn sweep(lock_directory: &Path, dead: u32) {
    let left = lock_directory.join("msg.sock").join(dead.to_string());
    let refused = UnixDatagram::unbound()
        .and_then(|socket| socket.connect(&left))
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    // Somebody else who has the number now, and a mailbox, is not touched.
    if refused && let Err(error) = std::fs::remove_file(&left) {
        tracing::warn!(path = %left.display(), %error, "cannot remove an old mailbox");
    }
}

/// `server_id` of a process: pid, task, vnn, unique id.
fn server_id(pid: u32) -> [u8; 24] {
    let mut id = [0; 24];
    let fields: [&[u8]; 4] = [
        &u64::from(pid).to_le_bytes(),
        &[0; 4],
        &NONCLUSTER_VNN.to_le_bytes(),
        &[0; 8],
    ];
    for (slot, byte) in id.iter_mut().zip(fields.iter().copied().flatten()) {
        *slot = *byte;
    }
    id
}

/// Who sent this datagram, if it is a pong.
fn pong_sender(datagram: &[u8]) -> Option<u32> {
    let message = datagram.get(56..60)?.first_chunk().copied();
    if message.map(u32::from_le_bytes) != Some(MSG_PONG) {
        return None;
    }
    let pid = datagram.get(32..40)?.first_chunk().copied()?;
    u32::try_from(u64::from_le_bytes(pid)).ok()
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ) || rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NOBUFS)
}

fn is_alive(process: u32) -> bool {
    i32::try_from(process)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| test_kill_process(pid).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mailbox_of_a_dead_process_is_swept() {
        let place = tempfile::tempdir().unwrap();
        let boxes = place.path().join("msg.sock");
        std::fs::create_dir(&boxes).unwrap();
        let [dead, living, next] = [4_194_305_u32, 4_194_306, 4_194_307];
        let path = |process: u32| boxes.join(process.to_string());
        // As a killed process leaves it: the name stays, nobody listens.
        drop(UnixDatagram::bind(path(dead)).unwrap());
        drop(UnixDatagram::bind(path(next)).unwrap());
        let _held = UnixDatagram::bind(path(living)).unwrap();
        for process in [dead, living, 4_194_308] {
            sweep(place.path(), process);
        }
        assert!(!path(dead).exists());
        assert!(path(living).exists(), "somebody else has the number now");
        assert!(path(next).exists(), "nobody has asked for it");
        sweep(&place.path().join("missing"), dead);
    }
}
