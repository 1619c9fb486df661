//! Time, restarts, and what the methods are made of.

use super::*;

impl Model {
    /// Time goes on to `end`; what is due on the way happens in order.
    pub(crate) fn advance(&mut self, end: Duration) {
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.now = next;
            let over: Vec<CallId> = self
                .calls
                .iter()
                .filter(|(_, call)| call.until() <= next)
                .map(|(id, _)| *id)
                .collect();
            for id in over {
                self.wait_ends(id);
            }
            self.timers_fire();
        }
        self.now = end;
    }

    pub(super) fn next_event(&self) -> Option<Duration> {
        let waits = self.calls.values().map(Pending::until);
        let own = self.sets.values().map(|set| set.deadline);
        let timers = own
            .chain([self.timer])
            .filter_map(|deadline| match deadline {
                Deadline::At(at) => Some(at),
                Deadline::None | Deadline::Open => None,
            });
        waits.chain(timers).min()
    }

    /// Rule 8: "every set short of Recovered goes with snapshots and shares, ContextSet off".
    pub(super) fn timers_fire(&mut self) {
        let due = |deadline: Deadline, now| matches!(deadline, Deadline::At(at) if at <= now);
        if due(self.timer, self.now) {
            if self.store_broken {
                self.timer = Deadline::Open;
            } else {
                self.drop_current();
            }
        }
        let own: Vec<_> = self
            .sets
            .iter()
            .filter(|(_, set)| due(set.deadline, self.now))
            .map(|(id, _)| *id)
            .collect();
        for id in own {
            if self.store_broken {
                *self.deadline_of(id) = Deadline::Open;
            } else {
                self.drop_set(id);
            }
        }
    }

    // ---- restarts

    /// Rule 17: what comes back from the store.
    ///
    /// Whether a context that does not outlive a reboot is still set after one is left open:
    /// `context` is the agent's.
    pub(crate) fn restart(&mut self, reboot: bool, context: Option<u32>) {
        self.calls.clear();
        self.due.clear();
        if reboot {
            // Contexts without ATTR_PERSISTENT do not outlive a reboot.
            self.sets.retain(|_, set| set.context & 1 != 0);
            if context.is_none() && self.context.is_some_and(|context| context & 1 == 0) {
                self.context_off();
            }
        }
        let own = self.profile == Profile::Ws2012;
        let mut unfinished = self.context.is_some();
        for set in self.sets.values_mut() {
            if set.status == SetStatus::CreationInProgress {
                set.status = SetStatus::Added;
            }
            for work in [
                &mut set.prepare,
                &mut set.commit,
                &mut set.expose,
                &mut set.seal,
            ] {
                *work = Work::Idle;
            }
            set.deadline = Deadline::None;
            if set.status == SetStatus::Exposed && own {
                set.deadline = Deadline::At(self.now + SHORT);
            } else if set.status != SetStatus::Recovered {
                unfinished = true;
            }
        }
        self.timer = if unfinished {
            Deadline::At(self.now + SHORT)
        } else {
            Deadline::None
        };
    }

    // ---- parts

    /// The set that belongs to the context: unfinished, and not put aside.
    pub(super) fn current(&self) -> Option<ShadowCopySetId> {
        self.sets
            .iter()
            .find(|(id, set)| set.status != SetStatus::Recovered && !self.is_aside(**id))
            .map(|(id, _)| *id)
    }

    /// Rule 15: under ws2012 an Exposed set counts as finished.
    pub(super) fn is_aside(&self, id: ShadowCopySetId) -> bool {
        self.profile == Profile::Ws2012
            && self
                .sets
                .get(&id)
                .is_some_and(|set| set.status == SetStatus::Exposed)
    }

    /// The context and its set go.
    pub(super) fn drop_current(&mut self) {
        if let Some(id) = self.current() {
            self.drop_set(id);
        }
        self.context_off();
    }

    /// A set short of Recovered goes; whoever waits for it gets WAIT_FAILED.
    pub(super) fn drop_set(&mut self, id: ShadowCopySetId) {
        let aside = self.is_aside(id);
        let waiting: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| matches!(call, Pending::Wait { set, .. } if *set == id))
            .map(|(call, _)| *call)
            .collect();
        for call in waiting {
            self.calls.remove(&call);
            self.answer(call, Status::FSRVP_E_WAIT_FAILED);
        }
        self.sets.remove(&id);
        if !aside {
            self.context_off();
        }
    }

    pub(super) fn context_off(&mut self) {
        self.context = None;
        self.address = None;
        self.timer = Deadline::None;
    }

    /// The timer that guards a set.
    pub(super) fn deadline_of(&mut self, id: ShadowCopySetId) -> &mut Deadline {
        if self.is_aside(id)
            && let Some(set) = self.sets.get_mut(&id)
        {
            return &mut set.deadline;
        }
        &mut self.timer
    }

    /// Callers that wait for jobs of the set.
    pub(super) fn waits_in(&self, id: ShadowCopySetId) -> usize {
        self.calls
            .values()
            .filter(|call| matches!(call, Pending::Wait { set, .. } if *set == id))
            .count()
    }

    /// "The end of the last wait starts it."
    pub(super) fn wait_over(&mut self, id: ShadowCopySetId, value: Duration) {
        if self.waits_in(id) == 0 {
            let at = Deadline::At(self.now + value);
            *self.deadline_of(id) = at;
        }
    }

    /// Starts the timer, unless "any caller waits".
    pub(super) fn restart_timer(&mut self, value: Duration) {
        let waits = self.current().map_or(0, |id| self.waits_in(id));
        self.timer = if waits == 0 {
            Deadline::At(self.now + value)
        } else {
            Deadline::None
        };
    }

    pub(super) fn open_timer(&self) -> Deadline {
        let waits = self.current().map_or(0, |id| self.waits_in(id));
        if waits == 0 {
            Deadline::Open
        } else {
            Deadline::None
        }
    }

    pub(super) fn unknown_set(&self) -> Status {
        match self.profile {
            Profile::Spec => Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH,
            Profile::Ws2012 => Status::E_INVALIDARG,
        }
    }

    /// Rule 10: recognised by our records, those of what is still to be removed included.
    pub(super) fn is_exposed_share(&self, share: &str) -> bool {
        self.exposed.contains(share)
    }

    pub(super) fn answer(&mut self, call: CallId, status: Status) {
        self.push(call, vec![status], None);
    }

    pub(super) fn push(
        &mut self,
        call: CallId,
        allowed: Vec<Status>,
        present: Option<(bool, i32)>,
    ) {
        self.due.push(Due {
            call,
            allowed,
            present,
            at: self.now,
        });
    }
}
