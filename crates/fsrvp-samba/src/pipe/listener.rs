//! The listening socket: put in place by rename, watched, and taken back when it is lost.

use super::PIPE_NAME;
use super::connection::RawConnection;
use super::place::{Inode, Place, PlaceError};
use super::take_back::TakeBack;
use super::watch::Watch;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

/// Length of the queue of connections that wait for [`PipeListener::accept`]; Samba's own figure.
const BACKLOG: i32 = 256;
/// Pause when the process has no file descriptor for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Where the pipe is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeConfig {
    /// Samba's `np` directory: `<ncalrpc dir>/np`.
    pub directory: PathBuf,
    /// Name of the socket.
    pub name: String,
}

impl PipeConfig {
    /// [`PIPE_NAME`] in `directory`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            name: PIPE_NAME.to_owned(),
        }
    }
}

/// The listener cannot be made or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// Directory or socket; the text says what to do.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The directory cannot be watched.
    #[error("cannot watch {path}: {source}; fs.inotify.max_user_instances may be too low")]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The listening socket failed.
    #[error("cannot accept on the pipe's socket: {0}")]
    Accept(#[source] io::Error),
}

/// What a listener has been through; shared with whoever shows metrics.
#[derive(Debug, Default)]
pub struct PipeCounters {
    accepted: AtomicU64,
    take_backs: AtomicU64,
    take_back_failures: AtomicU64,
    contested: AtomicU64,
}

impl PipeCounters {
    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Times that the socket was taken back.
    pub fn take_backs(&self) -> u64 {
        self.take_backs.load(Ordering::Relaxed)
    }

    /// Times that taking it back failed.
    pub fn take_back_failures(&self) -> u64 {
        self.take_back_failures.load(Ordering::Relaxed)
    }

    /// Losses that were answered late, because somebody else takes the socket again and again.
    pub fn contested(&self) -> u64 {
        self.contested.load(Ordering::Relaxed)
    }
}

/// Owner of the pipe's socket. Dropping it removes the socket, if it is still this one.
#[derive(Debug)]
pub struct PipeListener {
    place: Place,
    socket: UnixListener,
    inode: Inode,
    watch: Watch,
    take_back: TakeBack,
    /// When a lost socket is to be taken back.
    due: Option<Instant>,
    /// Connections that were waiting on a socket that has been replaced.
    waiting: VecDeque<UnixStream>,
    counters: Arc<PipeCounters>,
}

impl PipeListener {
    /// Makes the directories if they are missing and puts the socket in place, over whatever has
    /// its name. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Wrong owner or mode of a directory, or a failed system call; the text says what to do.
    pub fn bind(config: PipeConfig) -> Result<Self, PipeError> {
        let place = Place::new(&config.directory, &config.name)?;
        place.prepare()?;
        let watch = Watch::new().map_err(|source| watch_error(&place, source))?;
        watch
            .cover(place.directory())
            .map_err(|source| watch_error(&place, source))?;
        let (socket, inode) = put_in_place(&place)?;
        Ok(Self {
            place,
            socket,
            inode,
            watch,
            take_back: TakeBack::default(),
            due: None,
            waiting: VecDeque::new(),
            counters: Arc::default(),
        })
    }

    /// Path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.socket()
    }

    /// The counters of this listener.
    #[must_use]
    pub fn counters(&self) -> Arc<PipeCounters> {
        Arc::clone(&self.counters)
    }

    /// The next connection. Watching and taking back happen in here, so it has to be polled all
    /// the time. Cancel safe.
    ///
    /// # Errors
    /// The listening socket is broken. Lack of file descriptors is waited out.
    pub async fn accept(&mut self) -> Result<RawConnection, PipeError> {
        loop {
            if let Some(stream) = self.waiting.pop_front() {
                return Ok(self.accepted(stream));
            }
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                () = tokio::time::sleep_until(due), if self.due.is_some() => self.take_back(),
                result = self.watch.changed() => {
                    result.map_err(|source| watch_error(&self.place, source))?;
                    self.look();
                }
                result = self.socket.accept() => match result {
                    Ok((stream, _)) => return Ok(self.accepted(stream)),
                    Err(error) if is_exhaustion(&error) => {
                        tracing::warn!(%error, "no resources to accept a pipe connection");
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                    Err(error) if is_transient(&error) => {}
                    Err(error) => return Err(PipeError::Accept(error)),
                },
            }
        }
    }

    fn accepted(&self, stream: UnixStream) -> RawConnection {
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        RawConnection::new(stream)
    }

    /// Something happened in the directories: is the socket still ours?
    fn look(&mut self) {
        let holder = self.place.holder();
        if holder == Some(self.inode) {
            self.due = None;
            return;
        }
        if self.due.is_some() {
            return;
        }
        let now = Instant::now();
        let delay = self.take_back.lost(now.into_std(), holder.is_none());
        if delay.contested {
            self.counters.contested.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                path = %self.place.socket().display(),
                delay_ms = u64::try_from(delay.wait.as_millis()).unwrap_or(u64::MAX),
                "another process takes the pipe's socket again and again; \
                 keep Samba's rpcd_fsrvp (or a second agent) from starting"
            );
        }
        self.due = now.checked_add(delay.wait);
    }

    fn take_back(&mut self) {
        self.due = None;
        let holder = self.place.holder();
        if holder == Some(self.inode) {
            return;
        }
        let put = self
            .place
            .prepare()
            .map_err(PipeError::from)
            .and_then(|()| {
                self.watch
                    .cover(self.place.directory())
                    .map_err(|source| watch_error(&self.place, source))
            })
            .and_then(|()| put_in_place(&self.place));
        match put {
            Ok((socket, inode)) => {
                let old = std::mem::replace(&mut self.socket, socket);
                self.inode = inode;
                self.save_waiting(&old);
                self.counters.take_backs.fetch_add(1, Ordering::Relaxed);
                let how = if holder.is_some() {
                    "replaced"
                } else {
                    "removed"
                };
                tracing::warn!(
                    path = %self.place.socket().display(),
                    how,
                    "the pipe's socket was lost and has been taken back; \
                     samba-dcerpcd does this when rpcd_fsrvp is installed and not diverted"
                );
            }
            Err(error) => {
                let failures = &self.counters.take_back_failures;
                failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the pipe's socket was lost and cannot be taken back");
                let delay = self.take_back.lost(Instant::now().into_std(), true);
                self.due = Instant::now().checked_add(delay.wait);
            }
        }
    }

    /// Clients that had connected before the name was lost are served all the same.
    fn save_waiting(&mut self, old: &UnixListener) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Ok((stream, _))) = old.poll_accept(&mut context) {
            self.waiting.push_back(stream);
        }
    }
}

impl Drop for PipeListener {
    fn drop(&mut self) {
        self.place.release(self.inode);
    }
}

/// Listens under the temporary name first, so that nobody ever meets a socket that refuses.
fn put_in_place(place: &Place) -> Result<(UnixListener, Inode), PipeError> {
    place.clear_temporary()?;
    let path = place.temporary();
    let socket = listen(path).map_err(|error| PlaceError::io("listen on", path, error))?;
    let inode = place.claim()?;
    Ok((socket, inode))
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}

fn watch_error(place: &Place, source: io::Error) -> PipeError {
    PipeError::Watch {
        path: place.directory().to_owned(),
        source,
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN)
    )
}
