//! What must hold at every reply, at every job, and whenever the agent rests.

use super::*;

impl Bench {
    /// Replies: one each, of the right kind, in full form, and not before the table is durable.
    pub(super) fn check_reply(&mut self, id: CallId, response: &Response) {
        let call = self.calls.remove(&id);
        let call = call.unwrap_or_else(|| panic!("{id:?} has no call\n{}", self.story()));
        let (opnum, status) = opnum_and_status(response);
        assert_eq!(opnum, call.opnum, "{}", self.story());
        check_form(response);
        let durable = self.commits > call.commits;
        assert!(
            !status.is_ok() || !changes_table(opnum) || durable,
            "{opnum:?} answers ZERO before anything is durable\n{}",
            self.story()
        );
        for id in new_ids(response) {
            assert!(
                self.ids_given.insert(id),
                "the id {id} twice\n{}",
                self.story()
            );
        }
    }

    /// Jobs: all or none, never two hands on one copy, and nothing is made that no durable record
    /// names.
    pub(super) fn check_job(&self, job: &Job) {
        let view = self.agent.view(self.now);
        let set_of = |id: &ShadowCopySetId| {
            view.sets
                .iter()
                .find(|set| set.id == *id)
                .unwrap_or_else(|| panic!("a job for a set that is not there\n{}", self.story()))
        };
        match job {
            Job::Locate { .. }
            | Job::Reach { .. }
            | Job::Remove { .. }
            | Job::Keep { .. }
            | Job::InUse { .. } => {}
            Job::Prepare { set, copies } => {
                let all = copy_ids(set_of(set));
                let mine: BTreeSet<_> = copies.iter().map(|copy| copy.copy).collect();
                assert_eq!(mine, all, "Prepare takes all copies\n{}", self.story());
            }
            Job::Commit {
                set,
                copies,
                unprepared,
                writable,
                limit,
            } => {
                let set = set_of(set);
                let mine: BTreeSet<_> = copies.iter().map(|copy| copy.copy).collect();
                assert_eq!(
                    mine,
                    copy_ids(set),
                    "Commit takes all copies\n{}",
                    self.story()
                );
                let shares: usize = copies.iter().map(|copy| copy.shares.len()).sum();
                assert_eq!(shares, mapping_count(set), "{}", self.story());
                let missing: BTreeSet<_> = set
                    .copies
                    .iter()
                    .filter(|copy| !copy.prepared)
                    .map(|copy| copy.id)
                    .collect();
                let unprepared: BTreeSet<_> = unprepared.iter().copied().collect();
                assert!(unprepared.is_superset(&missing), "{}", self.story());
                assert_eq!(
                    *writable,
                    set.context.is_auto_recovery(),
                    "{}",
                    self.story()
                );
                assert_eq!(*limit, self.config.commit_limit);
            }
            Job::Expose { set, shares } | Job::Seal { set, shares } => {
                let set = set_of(set);
                // Putting one share back after a withdrawal that could not be recorded is the
                // only work on a part of a set.
                let again = set.status >= SetStatus::Exposed && kind_of(job) == JobKind::Expose;
                let all = shares.len() == mapping_count(set);
                assert!(all || again, "all shares\n{}", self.story());
                let open = set.context.is_auto_recovery() && set.status < SetStatus::Recovered;
                for share in shares {
                    let writable = open && !self.closed.contains(&share.name);
                    let expose = kind_of(job) == JobKind::Expose;
                    assert!(!expose || share.writable == writable, "{}", self.story());
                    let exists = self.world.snapshots.contains_key(&share.copy.copy);
                    assert!(exists, "no snapshot to expose\n{}", self.story());
                }
            }
        }
        for copy in made_by(job) {
            assert!(
                self.is_owned(copy),
                "{copy} is made without intent\n{}",
                self.story()
            );
        }
        let mine = touched_by(job);
        for other in self.jobs.values() {
            let both: Vec<_> = mine
                .intersection(&touched_by(&other.job))
                .copied()
                .collect();
            assert!(
                both.is_empty(),
                "two jobs work on {both:?}\n{}",
                self.story()
            );
        }
    }

    /// Whether a durable record names the copy: the table or a debt.
    pub(super) fn is_owned(&self, copy: ShadowCopyId) -> bool {
        let text = copy.to_string();
        let text = text.as_bytes();
        self.store
            .values()
            .any(|record| record.windows(text.len()).any(|part| part == text))
    }

    pub(super) fn check_owned(&self) {
        for copy in self.world.snapshots.keys() {
            assert!(
                self.is_owned(*copy),
                "nobody owns snapshot {copy}\n{}",
                self.story()
            );
        }
        for (name, share) in &self.world.exposed {
            assert!(
                self.is_owned(share.copy),
                "nobody owns share {name}\n{}",
                self.story()
            );
        }
    }

    /// What holds whenever the agent rests.
    pub(super) fn check(&mut self) {
        self.check_owned();
        let view = self.agent.view(self.now);
        let creating = view
            .sets
            .iter()
            .filter(|set| is_in_creation(self.config.profile, set));
        assert!(
            creating.count() <= 1,
            "two sets in creation\n{}",
            self.story()
        );
        if self.persists.is_empty() && !self.stopped {
            self.check_deadlines(&view);
            self.check_world(&view);
            self.check_durable(&view);
        }
        let recovered: BTreeMap<_, _> = view
            .sets
            .iter()
            .filter(|set| set.status == SetStatus::Recovered)
            .map(|set| (set.id, set.clone()))
            .collect();
        for (id, new) in &recovered {
            if let Some(old) = self.recovered.get(id) {
                let kept = |copies: &[ShadowCopyId]| {
                    copies
                        .iter()
                        .all(|id| old.copies.iter().any(|copy| copy.id == *id))
                };
                let ids: Vec<_> = new.copies.iter().map(|copy| copy.id).collect();
                assert!(kept(&ids), "a Recovered set has changed\n{}", self.story());
                assert_eq!((old.context, old.started), (new.context, new.started));
            }
        }
        for id in self
            .recovered
            .keys()
            .filter(|id| !recovered.contains_key(id))
        {
            assert!(
                view.sets.iter().all(|set| set.id != *id),
                "Recovered set {id} is something else now\n{}",
                self.story()
            );
        }
        self.recovered = recovered;
    }

    /// "Every set short of Recovered has a deadline or a waiter", and so has the context.
    pub(super) fn check_deadlines(&self, view: &AgentView) {
        let unfinished = view
            .sets
            .iter()
            .any(|set| set.status != SetStatus::Recovered);
        if unfinished || view.context.is_set {
            assert!(
                self.agent.poll_timeout().is_some(),
                "neither a deadline nor a waiter\n{}",
                self.story()
            );
        }
        for set in view
            .sets
            .iter()
            .filter(|set| set.status != SetStatus::Recovered)
        {
            let aside = self.config.profile == Profile::Ws2012 && set.status == SetStatus::Exposed;
            let deadline = if aside {
                set.deadline_ms
            } else {
                view.timer_remaining_ms
            };
            assert!(
                deadline.is_some() || !self.calls.is_empty(),
                "set {} has neither a deadline nor a waiter\n{}",
                set.id,
                self.story()
            );
        }
    }

    /// What the table says exists does exist, unless a job is at work on it.
    pub(super) fn check_world(&self, view: &AgentView) {
        let busy: BTreeSet<ShadowCopyId> = self
            .jobs
            .values()
            .flat_map(|running| touched_by(&running.job))
            .collect();
        for set in view
            .sets
            .iter()
            .filter(|set| set.status >= SetStatus::Committed)
        {
            for copy in set.copies.iter().filter(|copy| !busy.contains(&copy.id)) {
                let snapshot = self.world.snapshots.get(&copy.id);
                assert!(
                    snapshot.is_some(),
                    "{} has no snapshot\n{}",
                    copy.id,
                    self.story()
                );
                if set.status < SetStatus::Exposed {
                    continue;
                }
                for mapping in &copy.mappings {
                    let name = mapping
                        .shadow_copy_share_name
                        .as_deref()
                        .unwrap_or_default();
                    if self.missing.contains(name) {
                        continue;
                    }
                    let share = self.world.exposed.get(name);
                    let share =
                        share.unwrap_or_else(|| panic!("{name:?} is missing\n{}", self.story()));
                    assert!(
                        !share.writable || set.writable,
                        "{name} is writable\n{}",
                        self.story()
                    );
                }
                if set.status == SetStatus::Recovered && set.context.is_auto_recovery() {
                    let sealed = snapshot.is_some_and(|snapshot| snapshot.sealed);
                    assert!(sealed, "{} is not sealed\n{}", copy.id, self.story());
                }
            }
        }
    }

    /// The table that the store holds is the one in memory; CreationInProgress is stored as Added.
    pub(super) fn check_durable(&self, view: &AgentView) {
        let table = Table::load(self.store.clone()).expect("the store holds our own records");
        let shown = |status| match status {
            SetStatus::CreationInProgress => SetStatus::Added,
            other => other,
        };
        let stored: BTreeMap<_, _> = table
            .sets()
            .map(|set| {
                let copies: Vec<_> = set
                    .copies
                    .iter()
                    .map(|copy| (copy.id, copy.mappings.len()))
                    .collect();
                (set.id, (set.status, set.context, copies))
            })
            .collect();
        let memory: BTreeMap<_, _> = view
            .sets
            .iter()
            .map(|set| {
                let copies: Vec<_> = set
                    .copies
                    .iter()
                    .map(|copy| (copy.id, copy.mappings.len()))
                    .collect();
                (set.id, (shown(set.status), set.context, copies))
            })
            .collect();
        assert_eq!(stored, memory, "store and memory differ\n{}", self.story());
        let context = table.context();
        assert_eq!(
            (context.current, context.address, context.retry_count),
            (
                view.context.current,
                view.context.client_address,
                view.context.retry_count
            ),
            "store and memory differ\n{}",
            self.story()
        );
    }

    /// Everything has been done: no job, no waiter, no debt; and what is left of the world is what
    /// the table names.
    pub(crate) fn check_nothing_leaked(&self) {
        assert!(self.jobs.is_empty(), "{:?}\n{}", self.jobs, self.story());
        assert_eq!(self.unanswered(), [], "{}", self.story());
        let view = self.agent.view(self.now);
        assert_eq!(view.debts, [], "debts are left\n{}", self.story());
        let copies: BTreeSet<_> = view
            .sets
            .iter()
            .filter(|set| set.status >= SetStatus::Committed)
            .flat_map(copy_ids)
            .collect();
        let snapshots: BTreeSet<_> = self.world.snapshots.keys().copied().collect();
        assert_eq!(snapshots, copies, "snapshots\n{}", self.story());
        let names: BTreeSet<String> = view
            .sets
            .iter()
            .filter(|set| set.status >= SetStatus::Exposed)
            .flat_map(|set| set.copies.iter().flat_map(|copy| &copy.mappings))
            .filter_map(|mapping| mapping.shadow_copy_share_name.clone())
            .collect();
        let shares: BTreeSet<String> = self.world.exposed.keys().cloned().collect();
        assert_eq!(shares, names, "shares\n{}", self.story());
    }
}

fn new_ids(response: &Response) -> Vec<Uuid> {
    match response {
        Response::StartShadowCopySet {
            shadow_copy_set_id,
            status,
        } if status.is_ok() => {
            vec![shadow_copy_set_id.0]
        }
        _ => Vec::new(),
    }
}

fn is_in_creation(profile: Profile, set: &SetView) -> bool {
    match set.status {
        SetStatus::Recovered => false,
        SetStatus::Exposed => profile == Profile::Spec,
        SetStatus::Started
        | SetStatus::Added
        | SetStatus::CreationInProgress
        | SetStatus::Committed => true,
    }
}
