//! \[3.1.4.7\] RecoveryCompleteShadowCopySet (Opnum 6)

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::calls::{Incoming, Ticket};
use crate::durable::Change;
use crate::event::Event;
use crate::live_set::{Waiter, Work};
use crate::set::{Phase, PhaseRecord, SetStatus};
use fsrvp_idl::{Opnum, ShadowCopySetId, Status};
use std::time::Duration;

impl Agent {
    /// `again` is the call or order itself, for when it has to wait.
    pub(crate) fn recovery_complete(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: ShadowCopySetId,
        again: impl Into<Incoming>,
    ) {
        // "If ShadowCopySet.Status is not "Exposed", the server MUST fail the call with
        // FSRVP_E_BAD_STATE."
        let set = match self.set_for(id, Opnum::RecoveryCompleteShadowCopySet) {
            Ok(set) => set,
            Err(status) => return self.finish(ticket, status),
        };
        let writable = set.context.is_auto_recovery();
        let live = self.live.entry(id).or_default();
        if live.running.is_some() && live.running_work() != Some(Work::Seal) {
            return self.defer(id, again, ticket.arrived);
        }
        // "If ATTR_NO_AUTO_RECOVERY bit in ShadowCopySet.Context is not set [...] the server MUST
        // set the shadow copy to read-only": without ATTR_AUTO_RECOVERY it has never been other.
        if writable {
            let limit = self.config.reply_limit;
            return self.wait_for(now, id, Work::Seal, ticket, limit);
        }
        self.timer_of(id).hold();
        let until = now.at;
        self.record_recovery(now, id, Duration::ZERO, vec![Waiter { ticket, until }]);
    }

    /// The copies are sealed.
    pub(crate) fn record_recovery(
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
        set.status = SetStatus::Recovered;
        set.changed = now.wall;
        set.keep = self.to_keep(&set);
        self.note_phase(&mut set, PhaseRecord::new(Phase::Recover, now.wall, took));
        // "The server MUST update ShadowCopySet.Status to "Recovered", set ContextSet to FALSE, set
        // ShadowCopyClientAddress to NULL". Under ws2012 Expose has done it, and a context that is
        // set by now is a newer set's.
        let change = Change {
            context: (!aside).then(|| self.table.context().cleared()),
            sets: [(id, Some(set))].into(),
            ..Change::default()
        };
        let callers = waiters.iter().map(|w| w.ticket.pending()).collect();
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                return agent.fail_waits(now, id, waiters, &failure);
            }
            agent.push(Action::Report(Event::Recovered { set: id, took }));
            agent.retention_may_be_due(now);
            for waiter in waiters {
                agent.finish(waiter.ticket, Status::ZERO);
                if !aside {
                    agent.timer.release(now.at, None);
                }
            }
            // "The server MUST stop the Message Sequence Timer": a recovered set has none.
            if !aside {
                agent.timer.stop();
            }
            if let Some(live) = agent.live.remove(&id) {
                agent.storing.enqueue_first(live.deferred);
                if !live.missing.is_empty() {
                    let missing = live.missing;
                    agent.live.entry(id).or_default().missing = missing;
                }
            }
            agent.keep_now(now, id);
        });
    }
}
