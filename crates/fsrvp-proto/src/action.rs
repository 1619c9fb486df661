//! What goes into the agent and what comes out of it.

use crate::job::{Job, JobId};
use crate::order::{OrderDone, OrderError};
use fsrvp_idl::{FileTime, Request, Response};
use std::net::IpAddr;
use std::time::Duration;

/// The two clocks that the driver passes in with every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since an origin that the driver chose. Never goes back.
    pub at: Duration,
    /// Wall clock; may jump.
    pub wall: FileTime,
}

/// Number of a call, chosen by the driver and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Number of a durable commit, unique in the life of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// Who calls, as far as the agent cares: authorisation has been done by the driver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The client's address without port; IPv4-mapped IPv6 addresses in their IPv4 form.
    /// `None` only for callers without a network address (the admin socket).
    pub address: Option<IpAddr>,
    /// The address of ours that the client connected to.
    pub server_address: Option<IpAddr>,
    /// The name of ours that the hand-over gave.
    pub server_name: Option<String>,
    /// The account, for events.
    pub account: String,
}

/// One call of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Number that the reply bears.
    pub id: CallId,
    /// Who calls.
    pub caller: Caller,
    /// What is called.
    pub request: Request,
}

/// One change of the stored table: `None` removes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Key below the server's name space: `context`, `boot`, `set/<guid>`, `debt/<number in hex>`.
    pub key: String,
    /// The new record.
    pub value: Option<Vec<u8>>,
}

/// Work for the driver, in order. The driver performs actions in the order in which they are
/// polled; it need not wait for one before starting the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Commit all edits atomically and durably, then call `Agent::handle_persisted`.
    Persist {
        /// Names the commit.
        id: PersistId,
        /// What changes.
        edits: Vec<Edit>,
    },
    /// Start a job, and call `Agent::handle_job` when it has ended.
    Run {
        /// Names the job.
        id: JobId,
        /// What to do.
        job: Job,
    },
    /// Tell a running job to stop. Its outcome still arrives, whatever it is.
    Cancel {
        /// The job.
        id: JobId,
    },
    /// Answer a call. Exactly one for each call that was passed in.
    Reply {
        /// The call.
        id: CallId,
        /// The answer.
        response: Response,
    },
    /// Answer an operator's order. Exactly one for each order that was passed in.
    Answer {
        /// The order.
        id: CallId,
        /// What came of it.
        result: Result<OrderDone, OrderError>,
    },
    /// Tell the operator.
    Report(crate::event::Event),
}
