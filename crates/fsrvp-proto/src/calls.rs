//! Calls and orders that have not been answered, and the form of their arguments (PROTOCOL.md rules 0 and 10).

use crate::action::{Action, Call, CallId, Caller};
use crate::agent::Agent;
use crate::job::Failure;
use crate::order::{OrderCall, OrderDone, OrderError};
use fsrvp_idl::{Opnum, Response, ShareName, Status, UncPath};
use std::time::Duration;

/// What comes in and wants an answer.
#[derive(Debug, Clone)]
pub(crate) enum Incoming {
    Call(Call),
    Order(OrderCall),
}

impl From<Call> for Incoming {
    fn from(call: Call) -> Self {
        Self::Call(call)
    }
}

/// The right, and the duty, to answer one call or order. Answering takes it.
#[derive(Debug)]
pub(crate) struct Ticket {
    id: CallId,
    asked: Asked,
    /// When the call came in; waits and limits count from here.
    pub(crate) arrived: Duration,
}

/// A call or order whose ticket something else holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) id: CallId,
    pub(crate) asked: Asked,
    pub(crate) arrived: Duration,
}

/// What the answer is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Method(Opnum),
    Order,
}

impl Ticket {
    /// Answers a call although its ticket is elsewhere. Only where that one answers no more.
    pub(crate) const fn again(call: Pending) -> Self {
        Self {
            id: call.id,
            asked: call.asked,
            arrived: call.arrived,
        }
    }

    pub(crate) const fn pending(&self) -> Pending {
        Pending {
            id: self.id,
            asked: self.asked,
            arrived: self.arrived,
        }
    }

    pub(crate) const fn of(call: &Call, arrived: Duration) -> Self {
        Self {
            id: call.id,
            asked: Asked::Method(call.request.opnum()),
            arrived,
        }
    }

    pub(crate) const fn of_order(order: &OrderCall, arrived: Duration) -> Self {
        Self {
            id: order.id,
            asked: Asked::Order,
            arrived,
        }
    }

    pub(crate) const fn of_incoming(incoming: &Incoming, arrived: Duration) -> Self {
        match incoming {
            Incoming::Call(call) => Self::of(call, arrived),
            Incoming::Order(order) => Self::of_order(order, arrived),
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
        match ticket.asked {
            Asked::Method(opnum) => self.reply(ticket, Response::failed(opnum, status)),
            Asked::Order if status.is_ok() => self.answer(ticket, Ok(OrderDone::default())),
            Asked::Order => self.answer(ticket, Err(OrderError::Refused(status))),
        }
    }

    /// Answers with a failure: a client gets its status, an operator its words.
    pub(crate) fn fail(&mut self, ticket: Ticket, failure: &Failure) {
        match ticket.asked {
            Asked::Method(_) => self.finish(ticket, failure.status()),
            Asked::Order => self.answer(ticket, Err(OrderError::Failed(failure.clone()))),
        }
    }

    /// Answers an order.
    pub(crate) fn answer(&mut self, ticket: Ticket, result: Result<OrderDone, OrderError>) {
        if self.answered.remove(&ticket.id) {
            return;
        }
        self.open_calls = self.open_calls.saturating_sub(1);
        self.push(Action::Answer {
            id: ticket.id,
            result,
        });
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
