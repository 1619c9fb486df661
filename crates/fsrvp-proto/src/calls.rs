//! Calls that have not been answered, and the form of their arguments (PROTOCOL.md rules 0 and 10).

use crate::action::{Action, Call, CallId, Caller};
use crate::agent::Agent;
use fsrvp_idl::{Opnum, Response, ShareName, Status, UncPath};
use std::time::Duration;

/// The right, and the duty, to answer one call. Answering takes it.
#[derive(Debug)]
pub(crate) struct Ticket {
    id: CallId,
    opnum: Opnum,
    /// When the call came in; waits and limits count from here.
    pub(crate) arrived: Duration,
}

/// A call whose ticket something else holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) id: CallId,
    pub(crate) opnum: Opnum,
    pub(crate) arrived: Duration,
}

impl Ticket {
    /// Answers a call although its ticket is elsewhere. Only where that one answers no more.
    pub(crate) const fn again(call: Pending) -> Self {
        Self {
            id: call.id,
            opnum: call.opnum,
            arrived: call.arrived,
        }
    }

    pub(crate) const fn pending(&self) -> Pending {
        Pending {
            id: self.id,
            opnum: self.opnum,
            arrived: self.arrived,
        }
    }

    pub(crate) const fn of(call: &Call, arrived: Duration) -> Self {
        Self {
            id: call.id,
            opnum: call.request.opnum(),
            arrived,
        }
    }
}

impl Agent {
    /// Answers a call, unless it could not wait for that.
    pub(crate) fn reply(&mut self, ticket: Ticket, response: Response) {
        if self.answered.remove(&ticket.id) {
            return;
        }
        self.open_calls = self.open_calls.saturating_sub(1);
        self.push(Action::Reply {
            id: ticket.id,
            response,
        });
    }

    /// Answers a call whose reply is its status: every failure, and the success of a method
    /// without other results.
    pub(crate) fn finish(&mut self, ticket: Ticket, status: Status) {
        let response = Response::failed(ticket.opnum, status);
        self.reply(ticket, response);
    }

    /// The share that a UNC name of this server means.
    pub(crate) fn own_share(&self, name: &str, caller: &Caller) -> Result<ShareName, Status> {
        let path = parse(name)?;
        if !self.own_names.owns(&path.host, caller) {
            return Err(Status::FSRVP_E_OBJECT_NOT_FOUND);
        }
        Ok(path.share)
    }
}

/// [3.1.4] "if any of the parameters is NULL, the server MUST fail the call with E_INVALIDARG": the
/// empty name counts as NULL, and a name that is no UNC path of a share is as invalid.
pub(crate) fn parse(name: &str) -> Result<UncPath, Status> {
    UncPath::parse(name).map_err(|_| Status::E_INVALIDARG)
}
