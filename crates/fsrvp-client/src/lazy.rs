//! A client for tests: on the pipe's socket, one call at a time, from programs without a runtime.

use crate::{AuthRequest, ClientError, FsrvpClient, Options, PipeIdentity};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A backup operator at 127.0.0.1, who connects when there is a call to make.
pub struct LazyClient {
    runtime: Runtime,
    socket: PathBuf,
    call_timeout: Duration,
    client: Option<FsrvpClient>,
}

impl LazyClient {
    /// One that has not connected yet, with the longest time that a call may take.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn new(socket: impl Into<PathBuf>, call_timeout: Duration) -> std::io::Result<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            socket: socket.into(),
            call_timeout,
            client: None,
        })
    }

    /// Ends the connection; the next call makes a new one.
    pub fn hang_up(&mut self) {
        let _in = self.runtime.enter();
        self.client = None;
    }

    /// Makes a call. A connection on which no answer came is not used again.
    ///
    /// # Errors
    /// As the call, and as [`FsrvpClient::connect_pipe`].
    pub fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut FsrvpClient) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let Self {
            runtime,
            socket,
            call_timeout,
            client,
        } = self;
        let done = runtime.block_on(async {
            let connected = match client {
                Some(connected) => connected,
                none => {
                    let options = Options {
                        call_timeout: *call_timeout,
                        ..Options::default()
                    };
                    let session = AuthRequest::from(backup_operator());
                    none.insert(FsrvpClient::connect_pipe(&*socket, &session, options).await?)
                }
            };
            call(connected).await
        });
        let answered = match &done {
            Ok(_) => true,
            Err(error) => matches!(
                error,
                ClientError::Status(_)
                    | ClientError::Fault(_)
                    | ClientError::Missing(_)
                    | ClientError::Decode(_)
            ),
        };
        if !answered {
            self.hang_up();
        }
        done
    }
}

fn backup_operator() -> PipeIdentity {
    let sids = ["S-1-5-21-1-2-3-1000", "S-1-5-32-551"];
    PipeIdentity {
        account: "backup".to_owned(),
        domain: "LABSRV".to_owned(),
        sids: sids.iter().filter_map(|sid| sid.parse().ok()).collect(),
        ..PipeIdentity::default()
    }
}
