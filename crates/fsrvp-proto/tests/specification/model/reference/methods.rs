//! The methods that name a set.

use super::*;

impl Model {
    /// Rule 6: start the job or join it, and wait; or return what it has left.
    pub(super) fn wait_for(
        &mut self,
        id: CallId,
        method: Method,
        set_id: ShadowCopySetId,
        wait: Duration,
        seen: &dyn Seen,
    ) {
        let Some(set) = self.sets.get_mut(&set_id) else {
            return self.answer(id, self.unknown_set());
        };
        let legal: &[SetStatus] = match method {
            Method::Prepare => &[SetStatus::Added],
            Method::Commit => &[SetStatus::Added, SetStatus::CreationInProgress],
            Method::Expose => &[SetStatus::Committed],
            Method::Seal => &[SetStatus::Exposed],
        };
        if !legal.contains(&set.status) {
            return self.answer(id, Status::FSRVP_E_BAD_STATE);
        }
        if method == Method::Commit {
            set.status = SetStatus::CreationInProgress;
            if set.commit == Work::Idle && set.prepare == Work::Running {
                set.commit = Work::Queued;
            }
            if let Work::Done(result) = set.prepare {
                set.prepare = Work::Used(result);
            }
        }
        // Rule 12: contexts without AUTO_RECOVERY need no seal.
        let no_job = method == Method::Seal && set.context & 0x0040_0000 == 0;
        let work = set.work(method);
        if let Work::Used(result) = *work {
            let anew = seen.runs(method, set_id);
            *work = if anew { Work::Idle } else { Work::Done(result) };
        }
        match *work {
            Work::Done(result) | Work::Used(result) => {
                *work = Work::Idle;
                self.finish(method, set_id, result, &[id]);
                return;
            }
            Work::Idle if no_job => {
                self.finish(method, set_id, Ok(()), &[id]);
                return;
            }
            Work::Idle => *work = Work::Running,
            Work::Queued | Work::Running => {}
        }
        let until = self.now + wait.min(MAX_WAIT);
        self.calls.insert(
            id,
            Pending::Wait {
                method,
                set: set_id,
                until,
            },
        );
        *self.deadline_of(set_id) = Deadline::None;
        if until == self.now {
            self.wait_ends(id);
        }
    }

    /// The wait has ended before the work.
    pub(super) fn wait_ends(&mut self, id: CallId) {
        let (method, set) = match self.calls.remove(&id) {
            Some(Pending::Wait { method, set, .. }) => (method, set),
            // The rules name no code for a look-up that takes too long either.
            Some(Pending::Lookup { .. }) => return self.push(id, TOO_LONG.to_vec(), None),
            None => return,
        };
        let allowed = match method {
            Method::Prepare | Method::Expose => vec![Status::FSRVP_E_WAIT_TIMEOUT],
            Method::Commit => vec![Status::FSSAGENT_E_TIMEOUT],
            // The rules name no code for a seal that takes too long.
            Method::Seal => TOO_LONG.to_vec(),
        };
        self.push(id, allowed, None);
        self.wait_over(set, SHORT);
    }

    /// A job of a set has ended.
    pub(crate) fn job_ended(
        &mut self,
        method: Method,
        set_id: ShadowCopySetId,
        result: Result<(), Status>,
        seen: &dyn Seen,
    ) {
        let Some(set) = self.sets.get_mut(&set_id) else {
            return; // Rule 18: a job under a set that has gone.
        };
        let waiting: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, pending)| {
                matches!(pending, Pending::Wait { method: other, set, .. }
                    if *other == method && *set == set_id)
            })
            .map(|(id, _)| *id)
            .collect();
        let queued = set.commit == Work::Queued;
        // A Commit that waits for Prepare is a caller too: it takes the outcome.
        let taken = !waiting.is_empty() || (method == Method::Prepare && queued);
        *set.work(method) = if taken {
            Work::Idle
        } else {
            Work::Done(result)
        };
        for id in &waiting {
            self.calls.remove(id);
        }
        if !waiting.is_empty() {
            self.finish(method, set_id, result, &waiting);
        }
        if method == Method::Prepare && queued {
            self.queued_commit(set_id, result, seen);
        }
    }

    /// "Commit during a Prepare job first waits for it." A Prepare that failed leaves open
    /// whether Commit does its work or returns its error.
    pub(super) fn queued_commit(
        &mut self,
        set_id: ShadowCopySetId,
        prepared: Result<(), Status>,
        seen: &dyn Seen,
    ) {
        let Some(set) = self.sets.get_mut(&set_id) else {
            return;
        };
        if prepared.is_ok() || seen.runs(Method::Commit, set_id) {
            set.commit = Work::Running;
        } else {
            set.commit = Work::Running;
            self.job_ended(Method::Commit, set_id, prepared, seen);
        }
    }

    /// The outcome of a method reaches its callers.
    pub(super) fn finish(
        &mut self,
        method: Method,
        set_id: ShadowCopySetId,
        result: Result<(), Status>,
        callers: &[CallId],
    ) {
        let aside = self.is_aside(set_id);
        let broken = self.store_broken && method != Method::Prepare;
        let result = if broken && result.is_ok() {
            Err(STORE_FAILED)
        } else {
            result
        };
        for id in callers {
            self.answer(*id, result.err().unwrap_or(Status::ZERO));
        }
        let Some(set) = self.sets.get_mut(&set_id) else {
            return;
        };
        match (method, result) {
            (Method::Prepare, Ok(())) => self.wait_over(set_id, LONG),
            (Method::Commit, Ok(())) => {
                set.status = SetStatus::Committed;
                self.wait_over(set_id, SHORT);
            }
            (Method::Commit, Err(_)) => {
                set.status = SetStatus::Added;
                self.wait_over(set_id, SHORT);
            }
            (Method::Expose, Ok(())) => {
                set.status = SetStatus::Exposed;
                if self.profile == Profile::Ws2012 {
                    self.context_off();
                }
                self.wait_over(set_id, SHORT);
            }
            (Method::Seal, Ok(())) => {
                set.status = SetStatus::Recovered;
                set.deadline = Deadline::None;
                if !aside {
                    self.context_off();
                }
            }
            (Method::Prepare | Method::Expose | Method::Seal, Err(_)) => {
                self.wait_over(set_id, SHORT);
            }
        }
    }

    /// Rule 13.
    pub(super) fn abort(&mut self, id: CallId, set_id: ShadowCopySetId, seen: &dyn Seen) {
        let Some(set) = self.sets.get(&set_id) else {
            return self.answer(id, self.unknown_set());
        };
        if set.status == SetStatus::Recovered {
            return self.answer(id, Status::FSRVP_E_BAD_STATE);
        }
        if self.store_broken {
            if self.waits_in(set_id) == 0 {
                *self.deadline_of(set_id) = Deadline::Open;
            }
            return self.answer(id, STORE_FAILED);
        }
        let failed = seen.share_removal_failed().or(seen.copy_removal_failed());
        self.answer(id, failed.unwrap_or(Status::ZERO));
        self.drop_set(set_id);
    }

    /// Rules 9 and 15.
    pub(super) fn share_mapping(
        &mut self,
        id: CallId,
        set_id: ShadowCopySetId,
        copy: ShadowCopyId,
        named: &Named,
        level: u32,
    ) {
        if level != 1 {
            return self.answer(id, Status::E_INVALIDARG);
        }
        let Some(set) = self.sets.get(&set_id) else {
            return match named {
                // Rule 0 leaves open when a malformed name is noticed.
                Named::Malformed => {
                    self.push(id, vec![Status::E_INVALIDARG, self.unknown_set()], None);
                }
                _ => self.answer(id, self.unknown_set()),
            };
        };
        let (legal, early): (&[SetStatus], _) = match self.profile {
            Profile::Spec => (&[SetStatus::Exposed], Status::FSRVP_E_BAD_STATE),
            Profile::Ws2012 => (
                &[SetStatus::Exposed, SetStatus::Recovered],
                Status::FSRVP_E_NOT_EXPOSED,
            ),
        };
        if !legal.contains(&set.status) {
            return match named {
                Named::Malformed => self.push(id, vec![Status::E_INVALIDARG, early], None),
                _ => self.answer(id, early),
            };
        }
        if set.mapped(copy, named).is_none() {
            return self.answer(id, Status::E_INVALIDARG);
        }
        if set.status == SetStatus::Exposed {
            let aside = self.is_aside(set_id);
            if aside && self.waits_in(set_id) == 0 {
                *self.deadline_of(set_id) = Deadline::At(self.now + LONG);
            } else if !aside {
                self.restart_timer(LONG);
            }
        }
        self.answer(id, Status::ZERO);
    }

    /// Rule 14.
    pub(super) fn delete(
        &mut self,
        id: CallId,
        set_id: ShadowCopySetId,
        copy: ShadowCopyId,
        named: &Named,
        seen: &dyn Seen,
    ) {
        let refused = match self.sets.get(&set_id) {
            None => Some(Status::FSRVP_E_OBJECT_NOT_FOUND),
            Some(set) if set.status < SetStatus::Exposed => Some(Status::FSRVP_E_BAD_STATE),
            Some(set) if set.mapped(copy, named).is_none() => Some(match self.profile {
                Profile::Spec => Status::FSRVP_E_OBJECT_NOT_FOUND,
                Profile::Ws2012 => Status::E_INVALIDARG,
            }),
            Some(_) => None,
        };
        if let Some(status) = refused {
            return match named {
                Named::Malformed => self.push(id, vec![status, Status::E_INVALIDARG], None),
                _ => self.answer(id, status),
            };
        }
        if self.store_broken {
            if self.sets[&set_id].status == SetStatus::Exposed && self.waits_in(set_id) == 0 {
                *self.deadline_of(set_id) = Deadline::Open;
            }
            return self.answer(id, STORE_FAILED);
        }
        if let Some(failed) = seen.share_removal_failed() {
            return self.answer(id, failed);
        }
        match seen.copy_removal_failed() {
            // The mapping is gone and the snapshot a debt; the rules leave the code open.
            Some(failed) => self.push(id, vec![Status::ZERO, failed], None),
            None => self.answer(id, Status::ZERO),
        }
        let Some(set) = self.sets.get_mut(&set_id) else {
            return;
        };
        if let Named::Share(share) = named {
            for entry in set.copies.iter_mut().filter(|entry| entry.id == copy) {
                entry.shares.retain(|mapped| mapped.share != *share);
            }
        }
        set.copies.retain(|copy| !copy.shares.is_empty());
        if set.copies.is_empty() {
            if set.status == SetStatus::Recovered {
                self.sets.remove(&set_id);
            } else {
                self.drop_set(set_id);
            }
        }
    }
}
