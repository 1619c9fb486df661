//! Kept snapshots and the retention of recovered sets: nothing goes before its time, nothing goes
//! that somebody uses, and what is to be kept is kept first.

use crate::drive::{Phase, Simulation};
use crate::plan::Plan;
use crate::random::Draw;
use crate::strand::{Fate, Work};
use crate::world::World;
use fsrvp_idl::{FileTime, ShadowCopyId, ShadowCopySetId, ShareName};
use fsrvp_proto::durable::Table;
use fsrvp_proto::job::Job;
use fsrvp_proto::set::{SetStatus, ShadowCopySet};
use fsrvp_proto::{Event, Now};
use fsrvp_server::executor::KeepPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A clock that was set is believed after this time.
const DOUBT: Duration = Duration::from_secs(3_600);
/// Wall clock and monotonic clock may differ by this in that time.
const DRIFT: u128 = 600;

/// Folded share and name of a kept snapshot.
type KeptKey = (String, String);

/// A kept snapshot as it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) copy: ShadowCopyId,
    pub(crate) created: FileTime,
    pub(crate) content: Vec<Option<Vec<u8>>>,
}

/// What the simulation holds retention to.
#[derive(Debug, Default)]
pub(crate) struct KeepWitness {
    kept: BTreeMap<KeptKey, Seen>,
    /// Copies of which a snapshot was ever kept, by folded share.
    ever: BTreeSet<(ShadowCopyId, String)>,
    /// Shares of Recovered sets of which a snapshot was still to be kept at the last look.
    wishes: BTreeMap<ShadowCopySetId, BTreeSet<ShareName>>,
    /// Sets of which the agent has said that a snapshot cannot be kept.
    given_up: BTreeSet<ShadowCopySetId>,
    /// When the wall clock was set, and how far it was ahead of the monotonic one from then on.
    clocks: Vec<(Duration, i128)>,
}

/// One look of the pruning, from its beginning to its end.
pub(crate) struct Pruning {
    now: Now,
    /// Whether the clock was right by what the simulation knows of it.
    is_right: bool,
    pub(crate) work: Work<()>,
}

impl KeepWitness {
    /// # Errors
    /// A kept snapshot has changed or gone before its time, or a wish was forgotten.
    pub(crate) fn look(
        &mut self,
        believed: &Table,
        world: &World,
        policies: &BTreeMap<ShareName, KeepPolicy>,
        pruning: Option<&Pruning>,
    ) -> Result<(), String> {
        let present = world.kept();
        for (key, seen) in &self.kept {
            match present.get(key) {
                Some(found) if found == seen => {}
                Some(found) => {
                    return Err(format!(
                        "kept is never altered: {key:?}: {seen:?}, {found:?}"
                    ));
                }
                None if self.may_go(key, seen, policies, pruning) => {}
                None => return Err(format!("kept is kept for its time: {key:?} has gone")),
            }
        }
        let copies = |(key, seen): (&KeptKey, &Seen)| (seen.copy, key.0.clone());
        self.ever.extend(present.iter().map(copies));
        self.kept = present;
        self.wishes_are_fulfilled(believed)
    }

    /// Whether a policy no longer keeps a snapshot.
    fn may_go(
        &self,
        key: &KeptKey,
        seen: &Seen,
        policies: &BTreeMap<ShareName, KeepPolicy>,
        pruning: Option<&Pruning>,
    ) -> bool {
        let policy = policies.iter().find(|(share, _)| share.folded() == key.0);
        let (Some((_, policy)), Some(pruning)) = (policy, pruning) else {
            return false;
        };
        // What a clock made that was ahead is newer than nothing, and does not go.
        let is_past = |seen: &Seen| seen.created <= pruning.now.wall;
        let is_newer = |other: &(&KeptKey, &Seen)| {
            other.0.0 == key.0
                && is_past(other.1)
                && (other.1.created, &other.0.1) > (seen.created, &key.1)
        };
        let newer = self.kept.iter().filter(is_newer).count();
        let age = between(seen.created, pruning.now.wall);
        (is_past(seen) && policy.count.is_some_and(|count| newer >= count))
            || (pruning.is_right && policy.age.is_some_and(|limit| age > limit))
    }

    /// What was to be kept of a set was kept before the wish was struck out, unless it was given up.
    fn wishes_are_fulfilled(&mut self, believed: &Table) -> Result<(), String> {
        for (id, shares) in std::mem::take(&mut self.wishes) {
            let Some(set) = believed.set(id) else {
                continue;
            };
            let is_kept = |(copy, share): (ShadowCopyId, &ShareName)| {
                !shares.contains(share) || self.ever.contains(&(copy, share.folded()))
            };
            let mut mapped = set
                .mappings()
                .map(|(copy, mapping)| (copy.id, &mapping.share));
            if !wants(set) && !self.given_up.contains(&id) && !mapped.all(is_kept) {
                return Err(format!("what is to be kept is kept: {shares:?} of {id}"));
            }
        }
        let wanting = believed.sets().filter(|set| wants(set));
        self.wishes = wanting.map(|set| (set.id, set.keep.clone())).collect();
        Ok(())
    }

    /// The agent has told of something.
    pub(crate) fn told(&mut self, event: &Event) {
        if let Event::KeepFailed {
            set, is_last: true, ..
        } = event
        {
            self.given_up.insert(*set);
        }
    }

    /// The wall clock has been set, or a process has started: its clock may be wrong.
    pub(crate) fn clock_was_set(&mut self, now: Now) {
        self.clocks.push((now.at, ahead(now)));
    }

    /// Whether the wall clock goes as it did an hour ago.
    fn is_right(&self, now: Now) -> bool {
        let before = now.at.saturating_sub(DOUBT);
        let then = self.clocks.iter().rev().find(|(at, _)| *at <= before);
        then.is_some_and(|(_, then)| then.abs_diff(ahead(now)) <= DRIFT * 10_000_000)
    }
}

/// Whether a snapshot of what is left of a set is still to be kept.
pub(crate) fn wants(set: &ShadowCopySet) -> bool {
    set.mappings()
        .any(|(_, mapping)| set.keep.contains(&mapping.share))
}

/// How far the wall clock is ahead of the monotonic one, in ticks.
fn ahead(now: Now) -> i128 {
    i128::from(now.wall.0) - i128::try_from(now.at.as_nanos() / 100).unwrap_or_default()
}

fn between(from: FileTime, to: FileTime) -> Duration {
    Duration::from_nanos(to.0.saturating_sub(from.0).saturating_mul(100))
}

impl Simulation {
    /// The timer of kept snapshots fires.
    pub(crate) fn begin_pruning(&mut self) {
        let now = self.now;
        let served_from = self.served_from;
        let is_right = self.keeping.is_right(now) && served_from + DOUBT <= now.at;
        let world = Arc::clone(&self.world);
        let life = self.life();
        life.ages.look(now);
        let is_believed = life.ages.doubt(now).is_zero();
        let executor = Arc::clone(&life.executor);
        let work = Work::start(&world.forks, &[], move || {
            executor.prune_kept(now, is_believed);
        });
        let work = Pruning {
            now,
            is_right,
            work,
        };
        life.pruning = Some(work);
        self.note(format_args!(
            "kept snapshots are pruned, ages: {is_believed}"
        ));
    }

    /// One step of it.
    pub(crate) fn prune(&mut self, fate: Fate) -> Result<(), String> {
        let Some(pruning) = &mut self.life().pruning else {
            return Ok(());
        };
        let strand = pruning.work.waiting().next();
        if let Some((strand, point)) = strand {
            pruning.work.go_on(strand, fate);
            self.note(format_args!("pruning: {point}: {fate:?}"));
        }
        Ok(())
    }

    /// It has ended, and what it did has been looked at.
    pub(crate) fn end_pruning(&mut self) {
        if let Phase::Up(life) = &mut self.phase
            && let Some(pruning) = &life.pruning
            && pruning.work.has_ended()
        {
            life.pruning = None;
        }
    }

    /// When nothing fails any more, one look leaves what the policies keep and no more.
    pub(crate) fn pruned_at_rest(&mut self) -> Result<(), String> {
        self.begin_pruning();
        self.check()?;
        while self.life().pruning.is_some() {
            self.prune(Fate::Done)?;
            self.check()?;
        }
        for (share, policy) in &self.plan.keep {
            let of_share = |(key, seen): &(&KeptKey, &Seen)| {
                key.0 == share.folded() && seen.created <= self.now.wall
            };
            let count = self.keeping.kept.iter().filter(of_share).count();
            if policy.count.is_some_and(|most| count > most) {
                return Err(format!(
                    "a policy is obeyed: {count} of {share}: {policy:?}"
                ));
            }
        }
        Ok(())
    }

    /// Retention asks who uses shares: only of sets that have been kept for long enough.
    ///
    /// # Errors
    /// One of them has not.
    pub(crate) fn asks_about(&mut self, job: &Job) -> Result<(), String> {
        let Job::InUse { shares } = job else {
            return Ok(());
        };
        self.read_tables();
        let is_right = self.keeping.is_right(self.now) && self.served_from + DOUBT <= self.now.at;
        let believed = self.believed();
        let copies: BTreeSet<_> = shares.iter().map(|share| share.copy.copy).collect();
        for set in believed.sets() {
            let is_asked = set.copies.iter().any(|copy| copies.contains(&copy.id));
            if is_asked && !may_expire(set, believed, &self.plan, self.now, is_right) {
                return Err(format!("a set is kept for its time: {} is to go", set.id));
            }
        }
        Ok(())
    }

    /// The answer has come: sets of which nothing was used may go from here on.
    pub(crate) fn use_is_known(&mut self, job: &Job, is_known: bool) {
        let Job::InUse { shares } = job else {
            return;
        };
        if !is_known {
            return;
        }
        let names: Vec<_> = shares.iter().map(|share| share.name.clone()).collect();
        let used = self.world.used(&names);
        self.read_tables();
        let copies: BTreeSet<_> = shares.iter().map(|share| share.copy.copy).collect();
        let mut expiring = Vec::new();
        for set in self.believed().sets() {
            let is_asked = set.copies.iter().any(|copy| copies.contains(&copy.id));
            let mut names = set
                .mappings()
                .map(|(_, mapping)| &mapping.shadow_copy_share_name);
            if is_asked && !wants(set) && !names.any(|name| used.contains(name)) {
                let keys = set.mappings();
                expiring.extend(keys.map(|(copy, of)| (set.id, copy.id, of.share.folded())));
            }
        }
        self.witness.may_expire(expiring);
    }

    /// A client opens an exposed share, or closes one.
    pub(crate) fn shares_are_used(&mut self) {
        let shares: Vec<_> = self.world.exposed().into_keys().collect();
        if shares.is_empty() {
            return;
        }
        let share = self.random.one_of(&shares).clone();
        let is_used = self.random.percent(50);
        self.world.shares.set_in_use(&share, is_used);
        self.note(format_args!("a client has {share} open: {is_used}"));
    }
}

/// Whether the rule no longer keeps a set.
fn may_expire(
    set: &ShadowCopySet,
    believed: &Table,
    plan: &Plan,
    now: Now,
    is_right: bool,
) -> bool {
    let rule = plan.retention;
    let is_recovered = |set: &&ShadowCopySet| set.status == SetStatus::Recovered;
    let aged = rule
        .age
        .is_some_and(|age| between(set.changed, now.wall) >= age);
    let newer = |share: &ShareName| {
        let is_newer = |other: &&ShadowCopySet| {
            // What a clock made that was ahead is newer than nothing.
            other.changed <= now.wall
                && (other.changed, other.id) > (set.changed, set.id)
                && other.mappings().any(|(_, mapping)| mapping.share == *share)
        };
        believed
            .sets()
            .filter(is_recovered)
            .filter(is_newer)
            .count()
    };
    let surplus = rule.count.is_some_and(|count| {
        let mut shares = set.mappings().map(|(_, mapping)| &mapping.share);
        shares.all(|share| newer(share) >= count)
    });
    is_recovered(&set) && !wants(set) && (surplus || (aged && is_right))
}
