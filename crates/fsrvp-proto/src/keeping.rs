//! Kept snapshots: when a set is recovered, a read-only snapshot of each copy stays behind whose
//! share has a policy for it, as SnapManager keeps one.
//!
//! The wish is stored with the recovery itself; a job fulfils it, again after a restart, until it
//! is stored that it was done. The copy is not deleted while that job runs; a client that deletes
//! it before ends the wish. What is kept belongs to the backend's list of kept snapshots, not to
//! the table.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::debts::pause;
use crate::durable::Change;
use crate::event::Event;
use crate::job::{Failure, FailureKind, Job, KeepSource};
use crate::live_set::{LiveSet, SetJobKind};
use crate::set::{Phase, PhaseRecord, SetStatus, ShadowCopySet};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, ShareName};
use std::collections::BTreeSet;
use std::time::Duration;

/// Attempts, over about two hours, after which a snapshot is given up.
const MOST_ATTEMPTS: u32 = 20;

/// A snapshot that is still to be kept.
#[derive(Debug)]
pub(crate) struct Keeping {
    attempts: u32,
    due: Duration,
}

impl Agent {
    /// The shares of a set that is being recovered of which a snapshot is to be kept.
    pub(crate) fn to_keep(&self, set: &ShadowCopySet) -> BTreeSet<ShareName> {
        set.mappings()
            .map(|(_, mapping)| &mapping.share)
            .filter(|share| self.config.keep.contains(*share))
            .cloned()
            .collect()
    }

    /// Goes on with what the table still wants kept.
    pub(crate) fn resume_keeping(&mut self, now: Now) {
        let wanted: Vec<_> = self.table.sets().filter(|set| wants(set)).collect();
        let ids: Vec<_> = wanted.into_iter().map(|set| set.id).collect();
        for id in ids {
            self.keep_now(now, id);
        }
    }

    /// The set was recovered: its snapshots are kept as soon as nothing else works on it.
    pub(crate) fn keep_now(&mut self, now: Now, id: ShadowCopySetId) {
        if self.table.set(id).is_some_and(wants) {
            let due = now.at;
            let keeping = Keeping { attempts: 0, due };
            self.live.entry(id).or_default().keeping = Some(keeping);
        }
    }

    /// When a snapshot can be kept next.
    pub(crate) fn next_keep(&self) -> Option<Duration> {
        let waiting = self
            .live
            .iter()
            .filter(|(id, live)| self.may_keep(**id, live));
        waiting
            .filter_map(|(_, live)| Some(live.keeping.as_ref()?.due))
            .min()
    }

    fn may_keep(&self, id: ShadowCopySetId, live: &LiveSet) -> bool {
        let held = |set: &ShadowCopySet| set.copies.iter().any(|copy| self.jobs.hold(copy.id));
        live.running.is_none() && !self.table.set(id).is_some_and(held)
    }

    pub(crate) fn keep_due(&mut self, now: Now) {
        let is_due = |live: &LiveSet| live.keeping.as_ref().is_some_and(|keep| keep.due <= now.at);
        let due: Vec<_> = self
            .live
            .iter()
            .filter(|(id, live)| is_due(live) && self.may_keep(**id, live))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let sources = self.table.set(id).map(sources).unwrap_or_default();
            if sources.is_empty() {
                if let Some(live) = self.live.get_mut(&id) {
                    live.keeping = None;
                }
                self.forget_recovered(id);
                self.retention_may_be_due(now);
                continue;
            }
            let job = Job::Keep {
                set: id,
                copies: sources,
            };
            self.run_for(now, id, SetJobKind::Keep, job, []);
        }
    }

    /// The job has ended.
    pub(crate) fn kept(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        result: Result<BTreeSet<ShadowCopyId>, Failure>,
        took: Duration,
    ) {
        let Some(keeping) = self
            .live
            .get_mut(&id)
            .and_then(|live| live.keeping.as_mut())
        else {
            return;
        };
        let failure = match result {
            Ok(copies) => return self.record_kept(now, id, copies, took),
            Err(failure) => failure,
        };
        keeping.due = now.at.saturating_add(pause(keeping.attempts));
        keeping.attempts = keeping.attempts.saturating_add(1);
        let hopeless = matches!(
            failure.kind,
            FailureKind::Unsupported | FailureKind::NotFound
        );
        let is_last = hopeless || keeping.attempts >= MOST_ATTEMPTS;
        let set = id;
        self.push(Action::Report(Event::KeepFailed {
            set,
            failure,
            is_last,
        }));
        if is_last {
            self.record_kept(now, id, BTreeSet::new(), took);
        }
    }

    /// Stores that the wish is over: fulfilled for these copies, given up for all others.
    fn record_kept(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        copies: BTreeSet<ShadowCopyId>,
        took: Duration,
    ) {
        let Some(mut set) = self.set_to_store(id) else {
            return;
        };
        let mut kept = sources(&set);
        kept.retain(|source| copies.contains(&source.copy.copy));
        set.keep.clear();
        if !kept.is_empty() {
            set.phases
                .push(PhaseRecord::new(Phase::Keep, now.wall, took));
        }
        let change = Change {
            sets: [(id, Some(set))].into(),
            ..Change::default()
        };
        self.persist(now, change, Vec::new(), move |agent, now, stored| {
            let Some(live) = agent.live.get_mut(&id) else {
                return;
            };
            if stored.is_err() {
                // To keep it again changes nothing.
                if let Some(keeping) = &mut live.keeping {
                    keeping.due = now.at.saturating_add(pause(keeping.attempts));
                }
                return;
            }
            live.keeping = None;
            for source in kept {
                agent.push(Action::Report(Event::Kept {
                    set: id,
                    copy: source.copy.copy,
                    share: source.share,
                }));
            }
            agent.forget_recovered(id);
            // It may have gone already but for the wish.
            agent.retention_may_be_due(now);
        });
    }
}

fn wants(set: &ShadowCopySet) -> bool {
    set.status == SetStatus::Recovered && !set.keep.is_empty()
}

fn sources(set: &ShadowCopySet) -> Vec<KeepSource> {
    set.mappings()
        .filter(|(_, mapping)| set.keep.contains(&mapping.share))
        .map(|(copy, mapping)| KeepSource {
            copy: copy.reference(),
            share: mapping.share.clone(),
            inner: mapping.inner.clone(),
            created: copy.created,
        })
        .collect()
}
