//! \[3.1.4.6\] ExposeShadowCopySet (Opnum 5)

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
    pub(super) fn expose(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: ShadowCopySetId,
        timeout_ms: u32,
    ) {
        // "If ShadowCopySet.Status is not "Committed", the server MUST fail the call with
        // FSRVP_E_BAD_STATE."
        if let Err(status) = self.set_for(id, Opnum::ExposeShadowCopySet) {
            return self.finish(ticket, status);
        }
        // "The server MUST wait for the completion of the expose process for the entire
        // ShadowCopySet."
        let timeout = self.wait_time(timeout_ms);
        self.wait_for(now, id, Work::Expose, ticket, timeout);
    }

    /// The shares exist: the one commit of the store inside ExposeShadowCopySet. Their names follow
    /// from the copy ids, so that "Committed" was its intent.
    pub(crate) fn record_expose(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        took: Duration,
        waiters: Vec<Waiter>,
    ) {
        let Some(mut set) = self.set_to_store(id) else {
            return;
        };
        let aside = self.config.profile.sets_exposed_aside();
        set.status = SetStatus::Exposed;
        set.changed = now.wall;
        self.note_phase(&mut set, PhaseRecord::new(Phase::Expose, now.wall, took));
        let change = Change {
            context: aside.then(|| self.table.context().cleared()),
            sets: [(id, Some(set))].into(),
            ..Change::default()
        };
        let callers = waiters.iter().map(|w| w.ticket.pending()).collect();
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                agent.undo_expose(now, id);
                return agent.fail_waits(now, id, waiters, &failure);
            }
            let short = agent.config.short_timer;
            agent.push(Action::Report(Event::Exposed { set: id, took }));
            // "start the Message Sequence Timer with a timeout value of 180 seconds, and return
            // ZERO": the server's, on which the calls have waited so far, or from now on the set's.
            for waiter in waiters {
                agent.finish(waiter.ticket, Status::ZERO);
                agent.timer.release(now.at, Some(short));
            }
            if aside {
                agent.timer.stop();
                agent.timer_of(id).start(now.at, short);
            }
        });
    }

    fn undo_expose(&mut self, now: Now, id: ShadowCopySetId) {
        if let Some(set) = self.table.set(id) {
            let live = self.live.entry(id).or_default();
            live.must_undo(set.share_artefacts().map(|(_, share)| share).collect());
        }
        self.advance(now, id);
    }
}
