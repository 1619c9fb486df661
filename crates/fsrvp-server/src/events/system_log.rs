//! Events to the log of the system, field by field: systemd's journal in its own protocol, or syslog.
//!
//! Nothing waits for the receiver: events that it does not take at once are counted, and that is told
//! in our own log; where that leaves events to the receiver, it has these events all the same. Crates
//! for the journal know one place of its socket, and wait.

use super::catalogue::message_id;
use super::{Level, Record};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where journald listens.
pub const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where syslog listens.
pub const SYSLOG: &str = "/dev/log";

/// \[RFC 5424, 6.2.1\] Facility "system daemons".
const FACILITY: u32 = 3;
/// By this name both know us.
const IDENTIFIER: &str = "fsrvpd";

/// What listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// systemd's journal.
    Journal,
    /// A syslog daemon.
    Syslog,
}

/// The way to the log of the system.
#[derive(Debug)]
pub struct SystemLog {
    receiver: Receiver,
    path: PathBuf,
    socket: UnixDatagram,
    lost: AtomicU64,
    alone: bool,
}

impl SystemLog {
    /// Sends to the socket at `path`; the receiver may come and go.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn new(receiver: Receiver, path: &Path) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            receiver,
            path: path.to_owned(),
            socket,
            lost: AtomicU64::new(0),
            alone: false,
        })
    }

    /// Our own log leaves events to this one.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }

    /// Whether our own log leaves events to this one.
    pub const fn is_alone(&self) -> bool {
        self.alone
    }

    /// What listens there.
    pub const fn receiver(&self) -> Receiver {
        self.receiver
    }

    /// Tells an event of a server.
    pub fn tell(&self, server: &str, record: &Record) {
        let sent = match self.receiver {
            Receiver::Journal => self.send(&journal_entry(server, record)),
            Receiver::Syslog => self
                .socket
                .send_to(syslog_line(server, record).as_bytes(), &self.path)
                .map(drop),
        };
        match sent {
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::warn!(lost, "the log of the system takes events again");
                }
            }
            Err(error) => {
                if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                    let socket = self.path.display();
                    tracing::warn!(%socket, %error, "the log of the system does not take events");
                }
                if self.alone {
                    let (event, message) = (record.event, &record.message);
                    match record.level {
                        Level::Error => tracing::error!(server, event, "{message}"),
                        Level::Warn => tracing::warn!(server, event, "{message}"),
                        Level::Info => tracing::info!(server, event, "{message}"),
                    }
                }
            }
        }
    }

    /// \[JOURNAL_NATIVE_PROTOCOL\] An entry that is too long for a datagram goes as a sealed file.
    fn send(&self, entry: &[u8]) -> std::io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) =>
            {
                let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
                let mut file = std::fs::File::from(memfd_create("fsrvpd-event", flags)?);
                file.write_all(entry)?;
                let seals =
                    SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
                fcntl_add_seals(&file, seals)?;
                let fds = [file.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                ancillary.push(SendAncillaryMessage::ScmRights(&fds));
                let address = SocketAddrUnix::new(&self.path)?;
                let none: [IoSlice<'_>; 0] = [];
                sendmsg_addr(
                    &self.socket,
                    &address,
                    &none,
                    &mut ancillary,
                    SendFlags::empty(),
                )?;
                Ok(())
            }
            sent => sent.map(drop),
        }
    }
}

/// \[RFC 5424, 6.2.1\] Severity.
const fn priority(level: Level) -> u32 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
    }
}

/// What an event has, by the names of the table in the handbook. What is not known has no field.
fn fields(server: &str, record: &Record) -> Vec<(String, String)> {
    let mut fields = vec![("event".to_owned(), record.event.to_owned())];
    let mut add = |name: &str, value: Option<String>| {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    };
    add("event_id", record.event_id.map(|id| id.to_string()));
    add(
        "server",
        Some(server.to_owned()).filter(|name| !name.is_empty()),
    );
    add("set", record.set.map(|set| set.to_string()));
    add("copy", record.copy.map(|copy| copy.to_string()));
    add("share", record.share.clone());
    for (name, value) in &record.details {
        let text = match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        add(name, text);
    }
    fields
}

fn journal_entry(server: &str, record: &Record) -> Vec<u8> {
    let mut entry = Vec::new();
    let mut put = |name: &str, value: &str| {
        entry.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
            entry.push(b'\n');
            entry.extend_from_slice(&length.to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    };
    put("MESSAGE", &record.message);
    put("PRIORITY", &priority(record.level).to_string());
    put("SYSLOG_FACILITY", &FACILITY.to_string());
    put("SYSLOG_IDENTIFIER", IDENTIFIER);
    put("SYSLOG_PID", &std::process::id().to_string());
    if let Some(id) = message_id(record.event) {
        put("MESSAGE_ID", id);
    }
    for (name, value) in fields(server, record) {
        put(&format!("FSRVP_{}", name.to_uppercase()), &value);
    }
    entry
}

/// As programs of a system send it to their syslog daemon, which adds time and host.
fn syslog_line(server: &str, record: &Record) -> String {
    let priority = FACILITY * 8 + priority(record.level);
    let pid = std::process::id();
    let mut line = format!(
        "<{priority}>{IDENTIFIER}[{pid}]: {}",
        plain(&record.message)
    );
    for (name, value) in fields(server, record) {
        let value = plain(&value).replace('\\', r"\\").replace('"', r#"\""#);
        let _ = write!(line, r#" {name}="{value}""#);
    }
    line
}

/// One line, whatever a client or a program said.
fn plain(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(clean).collect()
}
