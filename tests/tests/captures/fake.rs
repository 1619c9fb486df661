//! A daemon of another version, or one that is not well.

use crate::house::ROOM;
use libtest_mimic::Failed;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// Answers every connection with the same bytes, until the test ends.
pub(crate) fn daemon(name: &str, answer: &'static str) -> Result<String, Failed> {
    let path = PathBuf::from(ROOM).join(name);
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut client = client;
            let mut request = [0; 4096];
            let _ = client.read(&mut request);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    Ok(path.to_string_lossy().into_owned())
}

/// What HTTP puts around a body.
macro_rules! http {
    ($status:literal, $body:literal) => {
        concat!("HTTP/1.1 ", $status, "\r\nconnection: close\r\n\r\n", $body)
    };
}
pub(crate) use http;
