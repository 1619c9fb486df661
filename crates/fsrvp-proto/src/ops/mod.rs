//! \[3.1.4\] The methods, one file each.

mod abort;
mod add;
mod commit;
mod delete_mapping;
mod expose;
mod path_shadow_copied;
mod path_supported;
mod prepare;
mod recovery_complete;
mod set_context;
mod share_mapping;
mod start;
mod supported_version;

pub(crate) use add::Addition;
pub(crate) use delete_mapping::Withdrawal;

use crate::action::{Call, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::job::{Failure, Job, Located};
use crate::jobs::Purpose;
use crate::set::{Phase, PhaseRecord, ShadowCopySet};
use fsrvp_idl::{Opnum, Request, ShadowCopySetId, ShareName, Status};
use std::time::Duration;

/// A call that waits until its share is looked up.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) ticket: Ticket,
    pub(crate) method: LookupMethod,
}

#[derive(Debug)]
pub(crate) enum LookupMethod {
    IsPathSupported(ShareName),
    IsPathShadowCopied,
    AddToShadowCopySet(Addition),
}

impl Agent {
    /// Begins a call that needs no turn: it looks at no table before its share is looked up.
    /// Gives the others back.
    pub(crate) fn begin(&mut self, now: Now, call: Call) -> Option<Call> {
        let ticket = Ticket::of(&call, now.at);
        match call.request {
            Request::GetSupportedVersion => self.supported_version(ticket),
            Request::IsPathSupported { share_name } => {
                self.path_supported(now, ticket, &call.caller, &share_name);
            }
            Request::IsPathShadowCopied { share_name } => {
                self.path_shadow_copied(now, ticket, &call.caller, &share_name);
            }
            Request::AddToShadowCopySet {
                client_shadow_copy_id,
                shadow_copy_set_id,
                share_name,
            } => {
                let ids = (shadow_copy_set_id, client_shadow_copy_id);
                self.add(now, ticket, &call.caller, ids, share_name);
            }
            Request::SetContext { .. }
            | Request::StartShadowCopySet { .. }
            | Request::CommitShadowCopySet { .. }
            | Request::ExposeShadowCopySet { .. }
            | Request::RecoveryCompleteShadowCopySet { .. }
            | Request::AbortShadowCopySet { .. }
            | Request::GetShareMapping { .. }
            | Request::DeleteShareMapping { .. }
            | Request::PrepareShadowCopySet { .. } => return Some(call),
        }
        None
    }

    /// It is the call's turn: nothing is being stored.
    pub(crate) fn dispatch(&mut self, now: Now, call: Call, arrived: Duration) {
        let Call {
            caller, request, ..
        } = &call;
        let ticket = Ticket::of(&call, arrived);
        match request {
            Request::SetContext { context } => self.set_context(now, ticket, caller, *context),
            Request::StartShadowCopySet {
                client_shadow_copy_set_id,
            } => self.start(now, ticket, caller, *client_shadow_copy_set_id),
            Request::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            } => self.prepare(now, ticket, *shadow_copy_set_id, *timeout_ms),
            Request::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            } => self.commit(now, ticket, *shadow_copy_set_id, *timeout_ms),
            Request::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            } => self.expose(now, ticket, *shadow_copy_set_id, *timeout_ms),
            Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id } => {
                self.recovery_complete(now, ticket, *shadow_copy_set_id, call.clone());
            }
            Request::AbortShadowCopySet { shadow_copy_set_id } => {
                self.abort(now, ticket, *shadow_copy_set_id);
            }
            Request::GetShareMapping { .. } => self.share_mapping(now, ticket, caller, request),
            Request::DeleteShareMapping {
                shadow_copy_set_id,
                shadow_copy_id,
                share_name,
            } => {
                let ids = (*shadow_copy_set_id, *shadow_copy_id);
                self.delete_mapping(now, ticket, ids, share_name, &call);
            }
            Request::GetSupportedVersion
            | Request::IsPathSupported { .. }
            | Request::IsPathShadowCopied { .. }
            | Request::AddToShadowCopySet { .. } => {
                // They never wait for their turn.
                self.begin(now, call);
            }
        }
    }

    fn locate(&mut self, now: Now, ticket: Ticket, share: ShareName, method: LookupMethod) {
        let lookup = Box::new(Lookup { ticket, method });
        let purpose = Purpose::Lookup(Some(lookup));
        self.run(now, purpose, Job::Locate { share }, []);
    }

    /// A share was looked up, or could not be.
    pub(crate) fn located(&mut self, now: Now, lookup: Lookup, located: Result<Located, Failure>) {
        let Lookup { ticket, method } = lookup;
        match method {
            LookupMethod::IsPathSupported(share) => {
                self.path_supported_located(ticket, &share, located);
            }
            LookupMethod::IsPathShadowCopied => self.path_shadow_copied_located(ticket, located),
            LookupMethod::AddToShadowCopySet(addition) => {
                self.add_located(now, ticket, addition, located);
            }
        }
    }

    /// Answers the calls whose share could not be looked up in time; a file store that hangs must
    /// not keep its callers for ever.
    pub(crate) fn expire_lookups(&mut self, now: Now) {
        let limit = self.config.reply_limit;
        let over = |lookup: &mut Box<Lookup>| lookup.ticket.arrived.saturating_add(limit) <= now.at;
        let expired: Vec<_> = self
            .jobs
            .values_mut()
            .filter_map(|job| match &mut job.purpose {
                Purpose::Lookup(lookup) => lookup.take_if(over),
                Purpose::Set(_) | Purpose::Orphan | Purpose::Debts(_) | Purpose::Retention(_) => {
                    None
                }
            })
            .collect();
        for lookup in expired {
            self.finish(lookup.ticket, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
        }
    }

    /// "The server MUST look up the ShadowCopySet from GlobalShadowCopysetTable using the index
    /// ShadowCopySetId", then its status: FSRVP_E_BAD_STATE.
    pub(crate) fn set_for(
        &self,
        id: ShadowCopySetId,
        method: Opnum,
    ) -> Result<&ShadowCopySet, Status> {
        // [3.1.4] "if any of the parameters is NULL, the server MUST fail the call with
        // E_INVALIDARG"
        if id.is_null() {
            return Err(Status::E_INVALIDARG);
        }
        let set = self
            .table
            .set(id)
            .ok_or(self.config.profile.unknown_set())?;
        if !self.status_of(set).allows(method) {
            return Err(Status::FSRVP_E_BAD_STATE);
        }
        Ok(set)
    }

    /// "the server MUST wait", at most as long as the client says and `max_wait` allows.
    fn wait_time(&self, timeout_ms: u32) -> Duration {
        Duration::from_millis(timeout_ms.into()).min(self.config.max_wait)
    }

    /// Adds a step to the set's story, after the last Prepare that only memory knows.
    fn note_phase(&self, set: &mut ShadowCopySet, phase: PhaseRecord) {
        let prepare = self.live.get(&set.id).and_then(|live| live.prepare.clone());
        set.phases.retain(|known| known.phase != phase.phase);
        if let Some(prepare) = prepare.filter(|_| phase.phase == Phase::Commit) {
            set.phases.retain(|known| known.phase != Phase::Prepare);
            set.phases.push(prepare);
        }
        set.phases.push(phase);
    }

    /// A set as it is to be stored: with what is still to be undone, and no more.
    pub(crate) fn set_to_store(&self, id: ShadowCopySetId) -> Option<ShadowCopySet> {
        let mut set = self.table.set(id)?.clone();
        set.undo = self
            .live
            .get(&id)
            .map(|live| live.undo.clone())
            .unwrap_or_default();
        Some(set)
    }
}
