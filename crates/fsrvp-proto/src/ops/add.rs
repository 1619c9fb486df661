//! \[3.1.4.4\] AddToShadowCopySet (Opnum 3)

use super::LookupMethod;
use crate::action::{Action, Caller, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::durable::Change;
use crate::event::Event;
use crate::job::{Failure, FailureKind, Located};
use crate::set::{MappedShare, SetStatus, ShadowCopy, ShadowCopySet};
use fsrvp_idl::{
    ClientShadowCopyId, FileTime, Opnum, Response, ShadowCopyId, ShadowCopySetId, ShareName, Status,
};

/// What an AddToShadowCopySet asks for.
#[derive(Debug)]
pub(crate) struct Addition {
    set: ShadowCopySetId,
    client_id: ClientShadowCopyId,
    share_name_unc: String,
    share: ShareName,
}

impl Agent {
    pub(super) fn add(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        (set, client_id): (ShadowCopySetId, ClientShadowCopyId),
        share_name_unc: String,
    ) {
        // [3.1.4] "if any of the parameters is NULL, the server MUST fail the call with
        // E_INVALIDARG"; <8> "Windows-based servers ignore" ClientShadowCopyId: it is for events alone.
        if set.is_null() {
            return self.finish(ticket, Status::E_INVALIDARG);
        }
        let share = match self.own_share(&share_name_unc, caller) {
            Ok(share) => share,
            Err(status) => return self.finish(ticket, status),
        };
        // A copy of a copy would be one of a share that we take away.
        if self.is_exposed_by_us(&share) {
            return self.finish(ticket, Status::FSRVP_E_NOT_SUPPORTED);
        }
        // "The server MUST verify that the share identified by ShareName exists on the server" and
        // "MUST identify the object store on which the ShareName is hosted".
        let addition = Addition {
            set,
            client_id,
            share_name_unc,
            share: share.clone(),
        };
        self.locate(
            now,
            ticket,
            share,
            LookupMethod::AddToShadowCopySet(addition),
        );
    }

    /// The share is looked up, which took time: only now the set counts.
    pub(super) fn add_located(
        &mut self,
        now: Now,
        ticket: Ticket,
        addition: Addition,
        located: Result<Located, Failure>,
    ) {
        // "If the share does not exist, the server MUST fail the call with
        // FSRVP_E_OBJECT_NOT_FOUND"; "If the object store contains mount points below the share
        // root directory, or if the object store is not supported [...] FSRVP_E_NOT_SUPPORTED."
        let located = match located {
            Ok(located) => located,
            Err(failure) => return self.finish(ticket, failure.status()),
        };
        if addition.share.check_exposable().is_err() {
            return self.finish(ticket, Status::FSRVP_E_NOT_SUPPORTED);
        }
        // "If no shadow copy set is found, the server MUST fail the call with
        // FSRVP_E_SHADOWCOPYSET_ID_MISMATCH. If ShadowCopySet.Status is not "Started" or "Added",
        // the server MUST fail the call with FSRVP_E_BAD_STATE."
        let set = match self.set_for(addition.set, Opnum::AddToShadowCopySet) {
            Ok(set) => set,
            Err(status) => return self.finish(ticket, status),
        };
        // "If an entry is found, the server MUST fail the call with FSRVP_E_OBJECT_ALREADY_EXISTS
        // and start the Message Sequence Timer with a time-out value of 180 seconds."
        let joined = match self.place(now, set, &addition.share, &located) {
            Ok(joined) => joined,
            Err(status) => {
                self.timer.start(now.at, self.config.short_timer);
                return self.finish(ticket, status);
            }
        };
        let copy = joined.unwrap_or_else(|| self.new_copy_id());
        let Some(mut set) = self.set_to_store(addition.set) else {
            return self.finish(ticket, self.config.profile.unknown_set());
        };
        let (id, share) = (set.id, addition.share.clone());
        insert(&mut set, copy, addition, located, now.wall);
        let change = Change {
            sets: [(id, Some(set))].into(),
            ..Change::default()
        };
        let callers = vec![ticket.pending()];
        self.persist(now, change, callers, move |agent, now, stored| {
            if let Err(failure) = stored {
                agent.timer.start(now.at, agent.config.short_timer);
                return agent.finish(ticket, failure.status());
            }
            // "start the Message Sequence Timer with a time-out value of 1800 seconds, and return
            // ZERO"
            agent.timer.start(now.at, agent.config.long_timer);
            let set = id;
            agent.push(Action::Report(Event::ShareAdded { set, copy, share }));
            agent.reply(
                ticket,
                Response::AddToShadowCopySet {
                    shadow_copy_id: copy,
                    status: Status::ZERO,
                },
            );
        });
    }

    /// Where a share belongs in the set: the copy of its volume that it joins, or none yet.
    fn place(
        &self,
        now: Now,
        set: &ShadowCopySet,
        share: &ShareName,
        located: &Located,
    ) -> Result<Option<ShadowCopyId>, Status> {
        if set.mappings().any(|(_, mapping)| mapping.share == *share) {
            return Err(Status::FSRVP_E_OBJECT_ALREADY_EXISTS);
        }
        let of_volume = set
            .copies
            .iter()
            .find(|copy| copy.backend == located.backend && copy.volume == located.volume);
        // ≠ under ws2012 and allow_shared_volume: one snapshot, two mappings, as Windows does it
        // and as a virtual machine on two shares needs it.
        if of_volume.is_some() && !self.config.shares_volumes() {
            return Err(Status::FSRVP_E_OBJECT_ALREADY_EXISTS);
        }
        // Rule 18: "the volume refuses until the old job has ended".
        let volume = (located.backend.clone(), located.volume.clone());
        if self.jobs.is_busy(now.at, &volume) {
            return Err(Failure::new(FailureKind::Busy, "").status());
        }
        Ok(of_volume.map(|copy| copy.id))
    }

    /// "ShadowCopyId is set to a unique GUID generated by the server."
    fn new_copy_id(&mut self) -> ShadowCopyId {
        loop {
            let id = ShadowCopyId(self.new_id());
            if !id.is_null() && !self.table.has_copy(id) {
                return id;
            }
        }
    }
}

fn insert(
    set: &mut ShadowCopySet,
    copy: ShadowCopyId,
    addition: Addition,
    located: Located,
    now: FileTime,
) {
    let mapping = MappedShare {
        shadow_copy_share_name: addition.share.exposed(copy),
        share_name_unc: addition.share_name_unc,
        share: addition.share,
        path: located.path,
        inner: located.inner,
        client_id: Some(addition.client_id),
    };
    set.status = SetStatus::Added;
    set.changed = now;
    match set.copies.iter_mut().find(|known| known.id == copy) {
        Some(known) => known.mappings.push(mapping),
        None => set.copies.push(ShadowCopy {
            id: copy,
            backend: located.backend,
            volume: located.volume,
            created: now,
            mappings: vec![mapping],
        }),
    }
}
