//! The named pipe `\pipe\FssagentRpc`, as smbd hands it over on a socket of its `np` directory.
//!
//! ```text
//! PipeListener::accept -> RawConnection::hand_over -> PipeConnection { peer, reader, writer }
//! ```
//! `accept` does nothing that a peer could delay; `hand_over` belongs into the connection's task.

mod connection;
mod listener;
mod message;
mod place;
mod take_back;
mod watch;

pub use connection::{HandOverError, PipeConnection, RawConnection};
pub use listener::{PipeConfig, PipeCounters, PipeError, PipeListener};
pub use message::{MAX_MESSAGE, MessageError, MessageReader, MessageWriter};
pub use place::PlaceError;

/// The pipe's name as smbd looks for it: in lower case.
pub const PIPE_NAME: &str = "fssagentrpc";
