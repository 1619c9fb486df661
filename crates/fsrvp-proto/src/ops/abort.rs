//! \[3.1.4.8\] AbortShadowCopySet (Opnum 7)

use crate::action::Now;
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::durable::Change;
use crate::event::EndReason;
use crate::removal::RemovalEnd;
use fsrvp_idl::{Opnum, ShadowCopySetId};

impl Agent {
    pub(super) fn abort(&mut self, now: Now, ticket: Ticket, id: ShadowCopySetId) {
        // "The server MUST fail the call with E_INVALIDARG if ShadowCopySetId is set to NULL."
        // ≠ a Recovered set: FSRVP_E_BAD_STATE, and nothing changes. ≠ <6> the refusal of a new set
        // for 30 minutes is not imitated.
        if let Err(status) = self.set_for(id, Opnum::AbortShadowCopySet) {
            return self.finish(ticket, status);
        }
        self.end_set(now, ticket, id, EndReason::Aborted);
    }

    /// Ends a set short of Recovered: it leaves the table, durably, and then what it has outside
    /// goes.
    pub(crate) fn end_set(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: ShadowCopySetId,
        reason: EndReason,
    ) {
        let aside = self.is_aside(id);
        // "set ContextSet to FALSE, set ShadowCopyClientAddress to NULL"
        let mut change = Change {
            context: (!aside).then(|| self.table.context().cleared()),
            ..Change::default()
        };
        let numbers = self.remove_sets(now, &[id], &mut change);
        let callers = vec![ticket.pending()];
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                return agent.fail(ticket, &failure);
            }
            agent.sets_removed(now, &[id], reason, None);
            // ≠ the text leaves the timer to run; there is nothing left that it could end.
            if !aside {
                agent.timer.stop();
            }
            // "If the process returns an error, the server MUST fail the call with the same error
            // code."
            agent.answer_when_paid(now, ticket, &numbers, RemovalEnd::Outcome);
        });
    }
}
