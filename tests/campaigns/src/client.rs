//! A client on the pipe's socket, one call at a time.

use fsrvp_client::{ClientError, FsrvpClient, LazyClient};
use std::path::Path;
use std::time::Duration;

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
pub(crate) struct Client(LazyClient);

impl Client {
    pub(crate) fn new(socket: &Path) -> std::io::Result<Self> {
        LazyClient::new(socket, CALL_LIMIT).map(Self)
    }

    /// Ends the connection; the next call makes a new one.
    pub(crate) fn hang_up(&mut self) {
        self.0.hang_up();
    }

    /// Makes a call.
    pub(crate) fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut FsrvpClient) -> Result<T, ClientError>,
    ) -> Result<T, CallError> {
        self.0.call(call).map_err(|error| match error {
            ClientError::Status(_)
            | ClientError::Timeout(_)
            | ClientError::Fault(_)
            | ClientError::Missing(_)
            | ClientError::Decode(_) => CallError::Refused(error.to_string()),
            _ => CallError::Gone,
        })
    }
}
