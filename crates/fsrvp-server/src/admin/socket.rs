//! The admin socket and who is at its other end.

use crate::config::AdminConfig;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use rustix::fs::{Gid, Mode, Uid, chmod, chown};
use std::fmt;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use tokio::net::UnixListener;

/// The process at the other end, as the kernel knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operator {
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Operator {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(peer) => Self {
                uid: Some(peer.uid()),
                pid: peer.pid(),
            },
            Err(_) => Self::default(),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => match account(uid) {
                Some(name) => write!(f, "{name} (uid {uid}")?,
                None => write!(f, "uid {uid} (unknown")?,
            },
            None => return f.write_str("unknown"),
        }
        match self.pid {
            Some(pid) => write!(f, ", pid {pid})"),
            None => f.write_str(")"),
        }
    }
}

fn account(uid: u32) -> Option<String> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Makes the socket, `root:GROUP 0660`. A socket that a dead process left is replaced.
///
/// # Errors
/// Another process answers on it, the group does not exist, or the path cannot be used.
pub fn bind(config: &AdminConfig) -> std::io::Result<UnixListener> {
    let path = &config.socket;
    let group = config.group.as_deref().map(group_id).transpose()?;
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::new(
            ErrorKind::AddrInUse,
            "another process answers on it; is fsrvpd running already?",
        ));
    }
    match std::fs::symlink_metadata(path) {
        Ok(stat) if stat.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::AddrInUse,
                "what is there is no socket and was left alone; give another path",
            ));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Nobody may connect before the mode and the group are right.
    let listener = {
        let staging = staging_name(path);
        let _ = std::fs::remove_file(&staging);
        let listener = UnixListener::bind(&staging)?;
        let owner = std::fs::metadata(&staging)?.uid();
        chown(&staging, Some(Uid::from_raw(owner)), group)?;
        chmod(&staging, Mode::from_raw_mode(0o660))?;
        std::fs::rename(&staging, path)?;
        listener
    };
    Ok(listener)
}

/// Makes what is missing of a directory. The mode is set and not asked for: the unit's umask would take from users
/// the way to their copies, which usually lie below the same directory.
fn make_directory(path: &Path) -> std::io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
    for path in missing.into_iter().rev() {
        std::fs::create_dir(path)?;
        chmod(path, Mode::from_raw_mode(0o755))?;
    }
    Ok(())
}

fn staging_name(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Looks a group up in the system's group file.
fn group_id(name: &str) -> std::io::Result<Gid> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == name;
            let number = fields.nth(1)?.parse().ok()?;
            found.then_some(Gid::from_raw(number))
        })
        .next()
        .ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no group {name:?} in /etc/group"),
            )
        })
}
