//! \[3.1.4.2\] SetContext (Opnum 1)

use crate::action::{Action, Caller, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::durable::{Change, ContextRecord};
use crate::event::{EndReason, Event};
use crate::removal::RemovalEnd;
use fsrvp_idl::{Context, Status};

impl Agent {
    pub(super) fn set_context(&mut self, now: Now, ticket: Ticket, caller: &Caller, context: u32) {
        // "If the Context parameter contains an invalid value, the server MUST fail the call with
        // FSRVP_E_UNSUPPORTED_CONTEXT."
        let Ok(context) = Context::try_from(context) else {
            return self.finish(ticket, Status::FSRVP_E_UNSUPPORTED_CONTEXT);
        };
        // "The server MUST get the requestor client address"
        let address = caller.address.map(|address| address.to_canonical());
        let current = self.table.context();
        let mut replaced = Vec::new();
        let mut retry_count = 0;
        if current.current.is_some() {
            // "If the requestor client address is not the same as ShadowCopyClientAddress, the
            // server MUST fail the call with FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS."
            if current.address != address {
                return self.finish(ticket, Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS);
            }
            // "Remove the ShadowCopySet [...] where ShadowCopySet.Status is not equal to
            // "Recovered". [...] Increment the ShadowCopyClientRetryCount."
            replaced = self.unfinished_sets();
            retry_count = current.retry_count.saturating_add(1);
        }
        // "If ShadowCopyClientRetryCount exceeds the implementation-specific count, the server
        // MUST fail the call with FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS": the set is gone and
        // ContextSet FALSE all the same.
        let granted =
            !self.config.profile.limits_retries() || retry_count <= self.config.retry_limit;
        let mut change = Change {
            context: Some(ContextRecord {
                current: granted.then_some(context),
                address: address.filter(|_| granted),
                retry_count,
            }),
            ..Change::default()
        };
        let numbers = self.remove_sets(now, &replaced, &mut change);
        let account = caller.account.clone();
        let callers = vec![ticket.pending()];
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                return agent.finish(ticket, failure.status());
            }
            agent.sets_removed(now, &replaced, EndReason::Replaced, None);
            agent.timer.stop();
            if !granted {
                let refused = RemovalEnd::Context(Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS);
                return agent.answer_when_paid(now, ticket, &numbers, refused);
            }
            agent.push(Action::Report(Event::ContextSet { context, account }));
            // "start the Message Sequence Timer with a timeout value of 180 seconds, and return
            // ZERO": it runs from the reply on.
            agent.timer.hold();
            agent.answer_when_paid(now, ticket, &numbers, RemovalEnd::Context(Status::ZERO));
        });
    }
}
