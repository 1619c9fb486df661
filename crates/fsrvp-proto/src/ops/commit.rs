//! \[3.1.4.5\] CommitShadowCopySet (Opnum 4)

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::durable::Change;
use crate::event::Event;
use crate::live_set::{Waiter, Work};
use crate::set::{Phase, PhaseRecord, SetStatus};
use fsrvp_idl::{Opnum, ShadowCopySetId, Status};
use std::time::Duration;

impl Agent {
    pub(super) fn commit(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: ShadowCopySetId,
        timeout_ms: u32,
    ) {
        // "If ShadowCopySet.Status is not "Added" or "CreationInProgress", the server MUST fail the
        // call with FSRVP_E_BAD_STATE."
        if let Err(status) = self.set_for(id, Opnum::CommitShadowCopySet) {
            return self.finish(ticket, status);
        }
        // "The server MUST set ShadowCopySet.Status to "CreationInProgress", MUST start the shadow
        // copy commit [...] and MUST wait for the completion". ≠ an error sets it back to "Added",
        // as a failed wait does by the text: the client may try again or abort.
        let timeout = self.wait_time(timeout_ms);
        self.wait_for(now, id, Work::Commit, ticket, timeout);
    }

    /// The snapshots exist: the one commit of the store inside CommitShadowCopySet. The copy ids
    /// stored by AddToShadowCopySet were its intent.
    pub(crate) fn record_commit(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        took: Duration,
        waiters: Vec<Waiter>,
    ) {
        let Some(mut set) = self.set_to_store(id) else {
            return;
        };
        set.status = SetStatus::Committed;
        set.changed = now.wall;
        self.note_phase(&mut set, PhaseRecord::new(Phase::Commit, now.wall, took));
        let change = Change {
            sets: [(id, Some(set))].into(),
            ..Change::default()
        };
        let callers = waiters.iter().map(|w| w.ticket.pending()).collect();
        self.persist(now, change, callers, move |agent, now, stored| {
            match stored {
                // "start the Message Sequence Timer with a timeout value of 180 seconds, and return
                // ZERO"
                Ok(()) => {
                    agent.push(Action::Report(Event::Committed { set: id, took }));
                    let short = agent.config.short_timer;
                    agent.end_waits(now, id, waiters, Status::ZERO, short);
                }
                Err(failure) => {
                    agent.undo_commit(now, id);
                    agent.fail_waits(now, id, waiters, &failure);
                }
            }
        });
    }

    fn undo_commit(&mut self, now: Now, id: ShadowCopySetId) {
        if let Some(set) = self.table.set(id) {
            let live = self.live.entry(id).or_default();
            live.prepared.clear();
            live.must_undo(set.copy_artefacts().map(|(_, copy)| copy).collect());
        }
        self.advance(now, id);
    }
}
