//! What a call or a connection can fail with.

use dcerpc_proto::FaultStatus;
use dcerpc_proto::assoc;
use fsrvp_idl::{DecodeError, Status};
use std::time::Duration;

/// Why a connection or a call failed. After [`ClientError::Status`], [`ClientError::Fault`],
/// [`ClientError::Decode`] and [`ClientError::Missing`] the connection lives on; after everything
/// else it is closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The method failed.
    #[error("{0}")]
    Status(Status),
    /// The server's RPC runtime refused the call.
    #[error("fault {0}")]
    Fault(FaultStatus),
    /// The server refused the bind; \[C706 12.6.3.1\] p_reject_reason_t.
    #[error("bind refused with reason {0}")]
    BindNak(u16),
    /// The server does not serve the interface, or not in NDR 2.0; \[C706 12.6.3.1\] p_result_t.
    #[error("interface not accepted: result {result}, reason {reason}")]
    Rejected {
        /// p_cont_def_result_t.
        result: u16,
        /// p_provider_reason_t.
        reason: u16,
    },
    /// The bind failed for another reason, or the server broke the protocol.
    #[error("association: {0}")]
    Association(#[source] assoc::ClientError),
    /// The reply does not decode.
    #[error("reply does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// A success without the result that the method promises.
    #[error("reply lacks {0}")]
    Missing(&'static str),
    /// The owner of the pipe refused or misunderstood the hand-over.
    #[error("pipe hand-over: {0}")]
    HandOver(#[from] fsrvp_samba::npa::DecodeError),
    /// The messages on the pipe are broken, or its socket is.
    #[error("pipe: {0}")]
    Pipe(#[from] fsrvp_samba::pipe::MessageError),
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
    /// No answer in time. The work may go on at the server.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection is closed: by the server, or here after a failed or dropped call.
    #[error("connection is closed")]
    Closed,
}

impl From<assoc::ClientError> for ClientError {
    fn from(error: assoc::ClientError) -> Self {
        match error {
            assoc::ClientError::BindNak(reason) => Self::BindNak(reason),
            assoc::ClientError::BindFault(status) => Self::Fault(status),
            error => Self::Association(error),
        }
    }
}

impl From<assoc::CallError> for ClientError {
    fn from(error: assoc::CallError) -> Self {
        match error {
            assoc::CallError::Fault(status) => Self::Fault(status),
            error => Self::Association(assoc::ClientError::Protocol(error.to_string())),
        }
    }
}
