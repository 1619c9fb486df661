//! HTTP over the admin socket.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Longest time that the daemon may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

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
    #[error(
        "cannot reach fsrvpd at {socket}: {source}; is it running, and may you use its socket?"
    )]
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
    #[error("fsrvpd answered {path} with {status}: {body}")]
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

impl AdminClient {
    /// Asks the daemon behind this socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
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
        let unreachable = |source| ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unreachable)?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.exchange(path))
                .await
                .unwrap_or_else(|_| {
                    Err(ClientError::NoAnswer {
                        path: path.to_owned(),
                        problem: format!("no answer within {} seconds", PATIENCE.as_secs()),
                    })
                })
        })
    }

    async fn exchange(&self, path: &str) -> Result<Bytes, ClientError> {
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
        let request = hyper::Request::get(path)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
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
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}
