//! \[3.1.4.13\] PrepareShadowCopySet (Opnum 12)

use crate::action::Now;
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::live_set::Work;
use fsrvp_idl::{Opnum, ShadowCopySetId};

impl Agent {
    pub(super) fn prepare(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: ShadowCopySetId,
        timeout_ms: u32,
    ) {
        // "If ShadowCopySet.Status is not "Added", the server MUST fail the call with
        // FSRVP_E_BAD_STATE."
        if let Err(status) = self.set_for(id, Opnum::PrepareShadowCopySet) {
            return self.finish(ticket, status);
        }
        // "The server MUST start the shadow copy preparation process in the underlying shadow copy
        // utility and MUST wait for the completion of the operation."
        let timeout = self.wait_time(timeout_ms);
        self.wait_for(now, id, Work::Prepare, ticket, timeout);
    }
}
