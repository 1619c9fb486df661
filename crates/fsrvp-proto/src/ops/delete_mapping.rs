//! \[3.1.4.12\] DeleteShareMapping (Opnum 11)
//!
//! The share is withdrawn first, then one commit takes the mapping out of the table, then the
//! snapshot goes if it was the copy's last mapping. As long as the commit has not happened the
//! record still wants the share, so that whatever goes wrong before, a crash included, ends with
//! nothing changed.

use crate::action::{Action, Call, Caller, Now};
use crate::agent::Agent;
use crate::calls::{Ticket, parse};
use crate::durable::Change;
use crate::event::{EndReason, Event};
use crate::job::{Artefact, Failure, FailureKind, Job};
use crate::live_set::SetJobKind;
use crate::removal::RemovalEnd;
use crate::set::SetStatus;
use fsrvp_idl::{Opnum, ShadowCopyId, ShadowCopySetId, ShareName, Status};
use std::time::Duration;

/// A DeleteShareMapping whose share is being withdrawn.
#[derive(Debug)]
pub(crate) struct Withdrawal {
    pub(crate) ticket: Ticket,
    copy: ShadowCopyId,
    share: ShareName,
    /// When the reply goes out all the same.
    pub(crate) until: Duration,
    /// It holds the set's Message Sequence Timer.
    pub(crate) holds_timer: bool,
}

impl Agent {
    pub(super) fn delete_mapping(
        &mut self,
        now: Now,
        ticket: Ticket,
        (id, copy): (ShadowCopySetId, ShadowCopyId),
        share_name: &str,
        call: &Call,
    ) {
        let (share, name) = match self.mapping_to_delete(&call.caller, id, copy, share_name) {
            Ok(found) => found,
            Err(status) => return self.finish(ticket, status),
        };
        if self.live.entry(id).or_default().running.is_some() {
            return self.defer(id, call.clone(), ticket.arrived);
        }
        // The timer of an Exposed set goes on as it was when the call has ended.
        let holds_timer = self.is_exposed(id);
        if holds_timer {
            self.timer_of(id).hold();
        }
        // "The server MUST delete the file share identified by MappedShare.ShadowCopyShareName."
        let job = Job::Remove {
            artefacts: vec![Artefact::Share(name)],
        };
        let until = ticket.arrived.saturating_add(self.config.reply_limit);
        let withdrawal = Withdrawal {
            ticket,
            copy,
            share,
            until,
            holds_timer,
        };
        self.run_for(now, id, SetJobKind::Withdraw(withdrawal), job, [copy]);
    }

    fn mapping_to_delete(
        &self,
        caller: &Caller,
        id: ShadowCopySetId,
        copy: ShadowCopyId,
        share_name: &str,
    ) -> Result<(ShareName, String), Status> {
        // "The server MUST fail the call with E_INVALIDARG if ShadowCopySetId, ShadowCopyId, or
        // ShareName is set to NULL."
        let path = parse(share_name)?;
        if id.is_null() || copy.is_null() {
            return Err(Status::E_INVALIDARG);
        }
        // "If no shadow copy set is found, the server MUST fail the call with
        // FSRVP_E_OBJECT_NOT_FOUND. If ShadowCopySet.Status is not "Exposed" or "Recovered", the
        // server MUST fail the call with FSRVP_E_BAD_STATE."
        let set = self.table.set(id).ok_or(Status::FSRVP_E_OBJECT_NOT_FOUND)?;
        if !self.status_of(set).allows(Opnum::DeleteShareMapping) {
            return Err(Status::FSRVP_E_BAD_STATE);
        }
        // "If no entry is found, the server MUST fail the call with FSRVP_E_OBJECT_NOT_FOUND."
        let unknown = self.config.profile.unknown_mapping();
        let mapping = set
            .copy(copy)
            .and_then(|copy| copy.mapping(&path.share))
            .filter(|_| self.own_names.owns(&path.host, caller))
            .ok_or(unknown)?;
        let name = mapping.shadow_copy_share_name.clone();
        Ok((mapping.share.clone(), name))
    }

    /// The share is out of sight, or cannot be.
    pub(crate) fn share_withdrawn(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        withdrawal: Withdrawal,
        result: Result<(), Failure>,
    ) {
        match result {
            Ok(()) => self.delete_record(now, id, withdrawal, None),
            // Rule 14: "Share cannot be withdrawn: error, nothing changed."
            Err(failure) => {
                self.release_exposed(now, id);
                // A job that was lost may have withdrawn it: the record still wants it.
                if failure.kind == FailureKind::Lost {
                    self.republish(now, id, withdrawal.copy, &withdrawal.share);
                }
                let status = failure.status();
                let failure = failure.in_share(&withdrawal.share);
                self.report_failure(id, "withdraw", failure);
                self.finish(withdrawal.ticket, status);
            }
        }
    }

    /// Deletions that cannot wait any longer for their share to be withdrawn: the share becomes a
    /// debt, and the job goes on without the set.
    pub(crate) fn expire_withdrawals(&mut self, now: Now) {
        let expired = self.live.iter_mut().find_map(|(id, live)| {
            let job = live.running.take_if(|job| match &job.kind {
                SetJobKind::Withdraw(withdrawal) => withdrawal.until <= now.at,
                SetJobKind::Wanted { .. }
                | SetJobKind::Undo
                | SetJobKind::Keep
                | SetJobKind::Restore { .. } => false,
            })?;
            Some((*id, job.id, job.kind.into_withdrawal()?))
        });
        let Some((id, job, withdrawal)) = expired else {
            return;
        };
        self.jobs.disown(job);
        let share = self
            .table
            .set(id)
            .and_then(|set| set.copy(withdrawal.copy))
            .and_then(|copy| copy.mapping(&withdrawal.share))
            .map(|mapping| Artefact::Share(mapping.shadow_copy_share_name.clone()));
        self.delete_record(now, id, withdrawal, share);
        self.resume_deferred(id);
    }

    /// Takes the mapping out of the table, with the copy and the set that it leaves empty. `owed`
    /// is the share, if it is not known to be gone.
    fn delete_record(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        withdrawal: Withdrawal,
        owed: Option<Artefact>,
    ) {
        let Withdrawal {
            ticket,
            copy,
            share,
            ..
        } = withdrawal;
        let Some(mut set) = self.set_to_store(id) else {
            return self.finish(ticket, Status::FSRVP_E_OBJECT_NOT_FOUND);
        };
        let mut artefacts: Vec<_> = owed.map(|share| (copy, share)).into_iter().collect();
        if let Some(entry) = set.copies.iter_mut().find(|entry| entry.id == copy) {
            entry.mappings.retain(|mapping| mapping.share != share);
        }
        // "If ShadowCopy.ShareMappingList is now empty, the server SHOULD remove the shadow copy
        // [...] and MUST delete ShadowCopy from ShadowCopySet.ShadowCopyList". "If the
        // ShadowCopySet.ShadowCopyList is now empty, the server MUST remove the ShadowCopySet".
        let empty = set.copies.extract_if(.., |copy| copy.mappings.is_empty());
        artefacts.extend(empty.map(|copy| (copy.id, Artefact::Copy(copy.reference()))));
        let set_ends = set.copies.is_empty();
        // ≠ "The last mapping of an Exposed set ends the set like Abort": else the context would
        // lock other clients out until the timer fires.
        let aside = self.is_aside(id);
        let context_ends = set_ends && set.status == SetStatus::Exposed && !aside;
        let mut change = Change {
            context: context_ends.then(|| self.table.context().cleared()),
            sets: [(id, (!set_ends).then_some(set))].into(),
            ..Change::default()
        };
        let numbers = self.record_debts(now, id, artefacts, &mut change);
        let callers = vec![ticket.pending()];
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                agent.release_exposed(now, id);
                // Withdrawn, or by now perhaps: the record still wants it.
                agent.republish(now, id, copy, &share);
                return agent.finish(ticket, failure.status());
            }
            // A set that ends takes a timer of its own along.
            if context_ends {
                agent.timer.stop();
                agent.timer.release(now.at, None);
            } else {
                agent.release_exposed(now, id);
            }
            let set = id;
            agent.push(Action::Report(Event::MappingDeleted { set, copy, share }));
            if set_ends {
                agent.sets_removed(now, &[id], EndReason::Deleted, None);
            }
            agent.answer_when_paid(now, ticket, &numbers, RemovalEnd::Outcome);
        });
    }

    fn is_exposed(&self, id: ShadowCopySetId) -> bool {
        let status = self.table.set(id).map(|set| set.status);
        status == Some(SetStatus::Exposed)
    }

    fn release_exposed(&mut self, now: Now, id: ShadowCopySetId) {
        if self.is_exposed(id) {
            self.timer_of(id).release(now.at, None);
        }
    }

    /// Whether the set has a deadline of its own and nothing to do with the context (ws2012,
    /// Exposed).
    pub(crate) fn is_aside(&self, id: ShadowCopySetId) -> bool {
        self.is_exposed(id) && self.config.profile.sets_exposed_aside()
    }
}
