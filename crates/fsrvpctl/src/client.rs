//! HTTP over the admin socket.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Longest time that the daemon may take for an answer.
const PATIENCE: Duration = Duration::from_secs(180);
/// The same where it looks at every file of shares or copies, which it gives up itself after 10 minutes.
const LONG_PATIENCE: Duration = Duration::from_secs(610);

/// Asks one daemon.
#[derive(Debug, Clone)]
pub struct AdminClient {
    socket: PathBuf,
}

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error("cannot reach fsrvpd at {socket}: {source}; {}", hint(source))]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The exchange broke off.
    #[error("fsrvpd did not answer {path}: {problem}")]
    NoAnswer {
        /// What was asked.
        path: String,
        /// What happened.
        problem: String,
    },
    /// The answer is an error of the daemon.
    #[error("{body}")]
    Refused {
        /// What was asked.
        path: String,
        /// HTTP status.
        status: u16,
        /// The daemon's words.
        body: String,
    },
    /// The answer is not what this version understands.
    #[error(
        "the answer to {path} is not understood: {source}; are fsrvpctl and fsrvpd of one version?"
    )]
    NotUnderstood {
        /// What was asked.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Whether the daemon may be there, and this user may not ask it.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        let denied = std::io::ErrorKind::PermissionDenied;
        matches!(self, Self::Unreachable { source, .. } if source.kind() == denied)
    }
}

impl AdminClient {
    /// Asks the daemon behind this socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The process that listens on the socket.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        let stream = std::os::unix::net::UnixStream::connect(&self.socket).ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
    }

    /// `GET path`, as JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.get_bytes(path)?;
        serde_json::from_slice(&body).map_err(|source| ClientError::NotUnderstood {
            path: path.to_owned(),
            source,
        })
    }

    /// `GET path`, as it comes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get_bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        self.send("GET", path, None)
    }

    /// Sends a request, with a body of JSON or none, and gives the answer as JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn request<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, ClientError> {
        let body = self.send(verb, path, body)?;
        serde_json::from_slice(&body).map_err(|source| ClientError::NotUnderstood {
            path: path.to_owned(),
            source,
        })
    }

    fn send(
        &self,
        verb: &'static str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Bytes, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unreachable)?;
        runtime.block_on(async {
            let patience = patience(path);
            tokio::time::timeout(patience, self.exchange(verb, path, body))
                .await
                .unwrap_or_else(|_| {
                    Err(ClientError::NoAnswer {
                        path: path.to_owned(),
                        problem: format!("no answer within {} seconds", patience.as_secs()),
                    })
                })
        })
    }

    async fn exchange(
        &self,
        verb: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Bytes, ClientError> {
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Unreachable {
                socket: self.socket.clone(),
                source,
            })?;
        let broken = |error: &dyn std::error::Error| ClientError::NoAnswer {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let driver = tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(verb)
            .uri(path)
            .header("host", "localhost");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| broken(&*error))?
            .to_bytes();
        driver.abort();
        if status.is_success() {
            return Ok(body);
        }
        Err(ClientError::Refused {
            path: path.to_owned(),
            status: status.as_u16(),
            body: words(&body, path, status.as_u16()),
        })
    }
}

fn patience(path: &str) -> Duration {
    match path {
        "/v1/space" | "/v1/shares" => LONG_PATIENCE,
        _ => PATIENCE,
    }
}

/// What the daemon says, or that it says nothing that can be read.
fn words(body: &[u8], path: &str, status: u16) -> String {
    let body: Option<Body> = serde_json::from_slice(body).ok();
    match body {
        // One that knows the path would name what is missing.
        Some(body)
            if body.error.message == format!("there is nothing at {}", without_query(path)) =>
        {
            format!(
                "{}; are fsrvpctl and fsrvpd of one version?",
                body.error.message
            )
        }
        Some(body) => body.error.message,
        None => format!("fsrvpd answered {path} with {status}"),
    }
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

#[derive(Deserialize)]
struct Body {
    error: Inner,
}

#[derive(Deserialize)]
struct Inner {
    message: String,
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "is fsrvpd running? `systemctl status fsrvpd` tells; another socket is given with --socket"
        }
        std::io::ErrorKind::PermissionDenied => {
            "only root and the group that `[admin] group` names may use it"
        }
        std::io::ErrorKind::ConnectionRefused => {
            "nobody listens there any more; start fsrvpd: `systemctl start fsrvpd`"
        }
        _ => "is it running, and may you use its socket?",
    }
}
