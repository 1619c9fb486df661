//! Tells when something happens in the socket's directory or the directories above it.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use tokio::net::unix::pipe::Receiver;

/// Directories above the socket's directory that are watched too: their removal removes it.
const ABOVE: usize = 2;
/// Room for several events with names; the kernel never splits one.
const EVENT_BUFFER: usize = 4096;

/// An inotify instance. It does not say what happened: the caller looks for itself, which also
/// covers events that the kernel had to drop.
#[derive(Debug)]
pub(super) struct Watch {
    // A pipe's reading end and an inotify instance are polled and read alike, and this type needs
    // no unsafe code to be registered.
    events: Receiver,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Receiver::from_owned_fd_unchecked(events).map(|events| Self { events })
    }

    /// Watches `directory` and what is above it, as far as they exist. Repeatable; to be called
    /// again whenever directories may have been made anew.
    pub(super) fn cover(&self, directory: &Path) -> io::Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        for path in directory.ancestors().take(ABOVE.saturating_add(1)) {
            if path.as_os_str().is_empty() {
                break;
            }
            match inotify::add_watch(&self.events, path, flags) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until something has happened. Cancel safe.
    pub(super) async fn changed(&self) -> io::Result<()> {
        let mut buffer = [0; EVENT_BUFFER];
        loop {
            self.events.readable().await?;
            match self.events.try_read(&mut buffer) {
                // Events that are still queued only lead to another look.
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
