//! What an operator may order: the same table, the same jobs and the same "persist, then answer" as
//! for clients' calls, but no context, no caller and no Message Sequence Timer of its own.

use crate::action::{Action, CallId, Now};
use crate::agent::Agent;
use crate::calls::{Incoming, Ticket};
use crate::durable::Change;
use crate::event::{EndReason, Event};
use crate::job::{Artefact, Failure};
use crate::removal::RemovalEnd;
use crate::retention::Retention;
use crate::set::SetStatus;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, Status};
use std::time::Duration;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Ends a set short of Recovered, as AbortShadowCopySet does.
    Abort(ShadowCopySetId),
    /// Seals an Exposed set in its client's place, as RecoveryCompleteShadowCopySet does.
    Seal(ShadowCopySetId),
    /// Removes a set in any status.
    Delete(ShadowCopySetId),
    /// Removes one copy of an Exposed or Recovered set; the last one takes the set along.
    DeleteCopy(ShadowCopyId),
    /// Tries every debt again now, and looks now for Recovered sets that have been kept for long
    /// enough: by this rule if there is one, else by the configured one.
    Prune(Option<Retention>),
    /// Gives up a debt, by its number: what is owed never comes back. Should it be found at a later
    /// start, it is owed again and removed. Whoever orders it has seen that it cannot be reached.
    ForgetDebt(u64),
}

/// An order with the number that its answer bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderCall {
    /// Unique among the calls and orders in flight.
    pub id: CallId,
    /// What is ordered.
    pub order: Order,
}

/// An order was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderDone {
    /// [`Order::Prune`]: the sets that are looked at, each of which goes unless it is in use.
    pub sets: Vec<ShadowCopySetId>,
    /// [`Order::Prune`]: debts that are tried again.
    pub debts: usize,
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// There is no such set or copy.
    #[error("there is no such shadow copy set, copy or debt")]
    NotFound,
    /// The set's status does not allow it.
    #[error("the set is {}: {needed}", .status.name())]
    BadState {
        /// Its status.
        status: SetStatus,
        /// What would have to be the case.
        needed: &'static str,
    },
    /// The work failed. A set that was to go has gone all the same: the rest is a debt.
    #[error(transparent)]
    Failed(Failure),
    /// As a client's call is refused.
    #[error("refused with {0}")]
    Refused(Status),
}

impl Agent {
    /// It is the order's turn: nothing is being stored.
    pub(crate) fn obey(&mut self, now: Now, call: OrderCall, arrived: Duration) {
        let ticket = Ticket::of_order(&call, arrived);
        match call.order.clone() {
            Order::Abort(id) => self.order_abort(now, ticket, id),
            Order::Seal(id) => self.order_seal(now, ticket, id, call),
            Order::Delete(id) => self.order_delete(now, ticket, id),
            Order::DeleteCopy(copy) => self.order_delete_copy(now, ticket, copy, call),
            Order::Prune(rule) => {
                let done = OrderDone {
                    sets: self.prune(now, rule),
                    debts: self.hurry_debts(now),
                };
                self.answer(ticket, Ok(done));
            }
            Order::ForgetDebt(number) => self.forget_debt(now, ticket, number),
        }
    }

    fn status_or(&self, id: ShadowCopySetId) -> Result<SetStatus, OrderError> {
        let set = self.table.set(id).ok_or(OrderError::NotFound)?;
        Ok(self.status_of(set))
    }

    fn order_abort(&mut self, now: Now, ticket: Ticket, id: ShadowCopySetId) {
        match self.status_or(id) {
            Err(error) => self.answer(ticket, Err(error)),
            Ok(status @ SetStatus::Recovered) => {
                let needed = "only a set short of recovered can be aborted; delete it instead";
                self.answer(ticket, Err(OrderError::BadState { status, needed }));
            }
            Ok(_) => self.end_set(now, ticket, id, EndReason::Operator),
        }
    }

    fn order_seal(&mut self, now: Now, ticket: Ticket, id: ShadowCopySetId, call: OrderCall) {
        match self.status_or(id) {
            Err(error) => self.answer(ticket, Err(error)),
            Ok(SetStatus::Exposed) => {
                self.recovery_complete(now, ticket, id, Incoming::Order(call));
            }
            Ok(status) => {
                let needed = "only an exposed set can be sealed";
                self.answer(ticket, Err(OrderError::BadState { status, needed }));
            }
        }
    }

    fn order_delete(&mut self, now: Now, ticket: Ticket, id: ShadowCopySetId) {
        match self.status_or(id) {
            Err(error) => self.answer(ticket, Err(error)),
            Ok(SetStatus::Recovered) => {
                self.remove_recovered(now, Some(ticket), vec![id], EndReason::Operator);
            }
            Ok(_) => self.end_set(now, ticket, id, EndReason::Operator),
        }
    }

    /// Recovered sets go: out of the table first, durably, then outside.
    pub(crate) fn remove_recovered(
        &mut self,
        now: Now,
        ticket: Option<Ticket>,
        ids: Vec<ShadowCopySetId>,
        reason: EndReason,
    ) {
        let mut change = Change::default();
        let numbers = self.remove_sets(now, &ids, &mut change);
        let callers = ticket.iter().map(Ticket::pending).collect();
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                if let Some(ticket) = ticket {
                    agent.fail(ticket, &failure);
                }
                return;
            }
            agent.sets_removed(now, &ids, reason, None);
            match ticket {
                Some(ticket) => agent.answer_when_paid(now, ticket, &numbers, RemovalEnd::Outcome),
                None => {
                    agent.owe(now, &numbers);
                    agent.pay(now, &numbers);
                }
            }
        });
    }

    fn order_delete_copy(&mut self, now: Now, ticket: Ticket, copy: ShadowCopyId, call: OrderCall) {
        let of_copy = |set: &&crate::set::ShadowCopySet| set.copy(copy).is_some();
        let Some(id) = self.table.sets().find(of_copy).map(|set| set.id) else {
            return self.answer(ticket, Err(OrderError::NotFound));
        };
        let Some(mut set) = self.set_to_store(id) else {
            return self.answer(ticket, Err(OrderError::NotFound));
        };
        if !set.is_exposed() {
            let status = self.status_of(&set);
            let needed = "copies of a set that is not exposed yet go with the set; abort it";
            return self.answer(ticket, Err(OrderError::BadState { status, needed }));
        }
        if set.copies.len() == 1 {
            return self.order_delete(now, ticket, id);
        }
        if self
            .live
            .get(&id)
            .is_some_and(|live| live.running.is_some())
        {
            return self.defer(id, Incoming::Order(call), ticket.arrived);
        }
        let gone: Vec<_> = set
            .copies
            .extract_if(.., |entry| entry.id == copy)
            .collect();
        let mut artefacts = Vec::new();
        let mut events = Vec::new();
        for entry in &gone {
            for mapping in &entry.mappings {
                let name = mapping.shadow_copy_share_name.clone();
                artefacts.push((copy, Artefact::Share(name)));
                let share = mapping.share.clone();
                events.push(Event::MappingDeleted {
                    set: id,
                    copy,
                    share,
                });
            }
            artefacts.push((copy, Artefact::Copy(entry.reference())));
        }
        let mut change = Change {
            sets: [(id, Some(set))].into(),
            ..Change::default()
        };
        let numbers = self.record_debts(now, id, artefacts, &mut change);
        let callers = vec![ticket.pending()];
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                return agent.fail(ticket, &failure);
            }
            for event in events {
                agent.push(Action::Report(event));
            }
            agent.answer_when_paid(now, ticket, &numbers, RemovalEnd::Outcome);
        });
    }
}
