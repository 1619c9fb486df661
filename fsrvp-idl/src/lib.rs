//! The FileServerVssAgent interface of MS-FSRVP: identifiers, names, types, operations, status codes.

pub mod context;
pub mod ids;
pub mod names;
pub mod ops;
pub mod status;
pub mod time;

pub use context::Context;
pub use ids::{ClientShadowCopyId, ClientShadowCopySetId, ShadowCopyId, ShadowCopySetId};
pub use names::{NameError, ShareName, UncPath};
pub use ops::{DecodeError, Opnum, Request, Response, ShareMapping};
pub use status::Status;
pub use time::{DateTime, FileTime};

use uuid::{Uuid, uuid};

/// \[1.9\] UUID of the FileServerVssAgent interface.
pub const INTERFACE_UUID: Uuid = uuid!("a8e0653c-2744-4389-a61d-7373df8b2292");

/// Version that every client binds. \[2.1\] says 3.0; the IDL of \[6\] and all clients say 1.0.
pub const INTERFACE_VERSION: (u16, u16) = (1, 0);

/// \[2.1\] The named pipe, without `\pipe\`.
pub const PIPE_NAME: &str = "FssagentRpc";
