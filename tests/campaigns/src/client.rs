//! A client on the pipe's socket, one call at a time.

use fsrvp_client::{AuthRequest, ClientError, FsrvpClient, Options, PipeIdentity};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longest time that a call may take; the agent's own limit is shorter.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Why a call did not succeed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The agent answered with an error.
    Refused(String),
    /// There is no agent any more.
    Gone,
}

/// A backup operator at 127.0.0.1.
pub(crate) struct Client {
    runtime: Runtime,
    socket: PathBuf,
    client: Option<FsrvpClient>,
}

impl Client {
    pub(crate) fn new(socket: &Path) -> std::io::Result<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            socket: socket.to_owned(),
            client: None,
        })
    }

    /// Ends the connection; the next call makes a new one.
    pub(crate) fn hang_up(&mut self) {
        let _in = self.runtime.enter();
        self.client = None;
    }

    /// Makes a call.
    pub(crate) fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut FsrvpClient) -> Result<T, ClientError>,
    ) -> Result<T, CallError> {
        let Self {
            runtime,
            socket,
            client,
        } = self;
        let done = runtime.block_on(async {
            let connected = match client {
                Some(connected) => connected,
                none => {
                    let options = Options {
                        call_timeout: CALL_LIMIT,
                        ..Options::default()
                    };
                    let session = AuthRequest::from(identity());
                    none.insert(FsrvpClient::connect_pipe(&*socket, &session, options).await?)
                }
            };
            call(connected).await
        });
        done.map_err(|error| match error {
            ClientError::Status(status) => CallError::Refused(status.to_string()),
            ClientError::Timeout(limit) => CallError::Refused(format!("no answer in {limit:?}")),
            ClientError::Fault(_) | ClientError::Missing(_) | ClientError::Decode(_) => {
                CallError::Refused(error.to_string())
            }
            _ => {
                self.client = None;
                CallError::Gone
            }
        })
    }
}

fn identity() -> PipeIdentity {
    let sids = ["S-1-5-21-1-2-3-1000", "S-1-5-32-551"];
    PipeIdentity {
        account: "backup".to_owned(),
        domain: "LABSRV".to_owned(),
        sids: sids.iter().filter_map(|sid| sid.parse().ok()).collect(),
        ..PipeIdentity::default()
    }
}
