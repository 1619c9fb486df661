//! The admin socket's side of HTTP/1.1: one request, one answer.

use crate::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Body as text.
    pub body: String,
}

/// GETs `target` over a unix socket.
///
/// # Errors
/// [`Error::File`] when nobody listens or the answer is not HTTP.
pub fn unix_http_get(socket: &Path, target: &str) -> Result<HttpAnswer, Error> {
    unix_http(socket, "GET", target, "")
}

/// Sends a request with a body of JSON, or none, over a unix socket.
///
/// # Errors
/// [`Error::File`] when nobody listens or the answer is not HTTP.
pub fn unix_http(socket: &Path, verb: &str, target: &str, body: &str) -> Result<HttpAnswer, Error> {
    let mut stream = UnixStream::connect(socket).map_err(Error::file(socket))?;
    let exchange = |stream: &mut UnixStream| -> std::io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // HTTP/1.0 has no pieces.
        write!(stream, "{verb} {target} HTTP/1.0\r\nHost: localhost\r\n")?;
        if !body.is_empty() {
            let length = body.len();
            write!(
                stream,
                "Content-Type: application/json\r\nContent-Length: {length}\r\n"
            )?;
        }
        write!(stream, "\r\n{body}")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange(&mut stream).map_err(Error::file(socket))?;
    let answer = String::from_utf8_lossy(&answer);
    parse(&answer).ok_or_else(|| {
        let not_http = std::io::Error::new(std::io::ErrorKind::InvalidData, answer.into_owned());
        Error::file(socket)(not_http)
    })
}

fn parse(answer: &str) -> Option<HttpAnswer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(HttpAnswer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(
            parse(answer),
            Some(HttpAnswer {
                status: 200,
                body: "{}".to_owned()
            })
        );
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
    }
}
