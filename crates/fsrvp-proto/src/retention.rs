//! The bounded life of Recovered sets that nobody deletes. Off unless it is configured.
//!
//! A set that has been kept for long enough goes when the share directory says that no SMB client
//! has any of its copies open. When that cannot be said it stays, and is looked at again later.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::ages::{Ages, between};
use crate::event::{EndReason, Event};
use crate::job::{Exposure, Failure, Job};
use crate::jobs::Purpose;
use crate::set::{SetStatus, ShadowCopySet};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, ShareName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longest time between two looks while a rule is configured: the wall clock may jump.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);
/// Shortest time between two looks.
const SOONEST: Duration = Duration::from_secs(1);
/// Pause after which a set is looked at again that was in use, or of which that could not be said.
const HOLD: Duration = Duration::from_secs(600);
/// Sets that one job asks about.
const MAX_BATCH: usize = 64;

/// How long Recovered sets are kept. A set goes when either rule says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Sets that were recovered longer ago go.
    pub age: Option<Duration>,
    /// A set goes when every share in it has this many newer Recovered copies. What was recovered in
    /// the future, by a clock that was ahead, counts as newer than nothing.
    pub count: Option<usize>,
}

impl Retention {
    /// Whether nothing ever goes by itself.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.age.is_none() && self.count.is_none()
    }
}

/// What the agent remembers between two looks.
#[derive(Debug)]
pub(crate) struct RetentionState {
    /// When to look next; `None` while no rule asks for it.
    due: Option<Duration>,
    /// The rule of one order, for one look.
    ordered: Option<Retention>,
    /// Whether ages are believed.
    ages: Ages,
    /// Sets that are not looked at again before this time.
    held: BTreeMap<ShadowCopySetId, Duration>,
    /// Sets that a job asks about.
    asked: BTreeSet<ShadowCopySetId>,
}

impl RetentionState {
    pub(crate) const fn new(now: Now) -> Self {
        Self {
            due: None,
            ordered: None,
            ages: Ages::new(now),
            held: BTreeMap::new(),
            asked: BTreeSet::new(),
        }
    }
}

impl Agent {
    /// The rule has changed.
    pub(crate) fn retention_changed(&mut self, now: Now) {
        self.retention.due = (!self.config.retention.is_off()).then_some(now.at);
    }

    /// When to look for sets that have been kept for long enough.
    pub(crate) fn next_retention(&self) -> Option<Duration> {
        self.retention.due
    }

    /// An operator wants the look now. Gives the sets that it is about.
    pub(crate) fn prune(&mut self, now: Now, rule: Option<Retention>) -> Vec<ShadowCopySetId> {
        let rule = rule.unwrap_or(self.config.retention);
        self.retention.held.clear();
        let sets = self.kept_long_enough(rule, now);
        if !sets.is_empty() {
            self.retention.ordered = Some(rule);
            self.retention.due = Some(now.at);
        }
        sets
    }

    /// Asks the share directory about the sets that have been kept for long enough.
    pub(crate) fn look_at_retention(&mut self, now: Now) {
        if self.retention.due.is_none_or(|due| due > now.at) {
            return;
        }
        let ordered = self.retention.ordered.take();
        let jumped = self.retention.ages.look(now);
        let mut rule = ordered.unwrap_or(self.config.retention);
        // An operator who orders it has seen the ages.
        if ordered.is_none() && !self.retention.ages.doubt(now).is_zero() {
            if jumped && rule.age.is_some() {
                self.push(Action::Report(Event::ClockJumped));
            }
            rule.age = None;
        }
        self.retention.held.retain(|_, until| *until > now.at);
        let sets = self.kept_long_enough(rule, now);
        let more = sets.len() > MAX_BATCH;
        self.ask_about(now, sets.into_iter().take(MAX_BATCH).collect());
        let next = if more {
            self.retention.ordered = ordered;
            Some(SOONEST)
        } else {
            self.until_next(now)
        };
        self.retention.due = next.map(|next| now.at.saturating_add(next));
    }

    fn ask_about(&mut self, now: Now, sets: Vec<ShadowCopySetId>) {
        let exposures = |id: &ShadowCopySetId| Some(self.table.set(*id)?.exposures());
        let shares: Vec<Exposure> = sets.iter().filter_map(exposures).flatten().collect();
        if shares.is_empty() {
            return;
        }
        self.retention.asked.extend(&sets);
        self.run(now, Purpose::Retention(sets), Job::InUse { shares }, []);
    }

    /// The share directory has answered, or cannot.
    pub(crate) fn use_known(
        &mut self,
        now: Now,
        sets: Vec<ShadowCopySetId>,
        used: Result<BTreeSet<ShadowCopyId>, Failure>,
    ) {
        let mut gone = Vec::new();
        for id in sets {
            self.retention.asked.remove(&id);
            let Some(set) = self.table.set(id) else {
                continue;
            };
            let failure = match &used {
                Ok(used) => {
                    if !set.copies.iter().any(|copy| used.contains(&copy.id)) {
                        gone.push(id);
                        continue;
                    }
                    None
                }
                Err(failure) => Some(failure.clone()),
            };
            let until = now.at.saturating_add(HOLD);
            self.retention.held.insert(id, until);
            self.retention.due = self.retention.due.map(|due| due.min(until));
            self.push(Action::Report(Event::RetentionHeld { set: id, failure }));
        }
        // A call works on it: whatever it does, the next look finds out.
        gone.retain(|id| self.live.get(id).is_none_or(|live| live.running.is_none()));
        if !gone.is_empty() {
            self.remove_recovered(now, None, gone, EndReason::Expired);
        }
    }

    /// The Recovered sets that a rule no longer keeps, oldest first.
    fn kept_long_enough(&self, rule: Retention, now: Now) -> Vec<ShadowCopySetId> {
        let mut recovered: Vec<&ShadowCopySet> = self
            .table
            .sets()
            .filter(|set| set.status == SetStatus::Recovered)
            .collect();
        recovered.sort_by_key(|set| std::cmp::Reverse((set.changed, set.id)));
        let mut newer: BTreeMap<&ShareName, usize> = BTreeMap::new();
        let mut sets = Vec::new();
        for set in recovered {
            let mut surplus = true;
            for (_, mapping) in set.mappings() {
                let seen = newer.entry(&mapping.share).or_default();
                surplus &= rule.count.is_some_and(|count| *seen >= count);
                if set.changed <= now.wall {
                    *seen = seen.saturating_add(1);
                }
            }
            let aged = rule.age.is_some_and(|age| age_of(set, now) >= age);
            if (aged || surplus) && self.may_be_asked_about(set) {
                sets.push(set.id);
            }
        }
        sets.reverse();
        sets
    }

    /// Not while a snapshot of it is still to be kept, which ends with the set.
    fn may_be_asked_about(&self, set: &ShadowCopySet) -> bool {
        let id = set.id;
        !set.mappings()
            .any(|(_, mapping)| set.keep.contains(&mapping.share))
            && !self.retention.held.contains_key(&id)
            && !self.retention.asked.contains(&id)
    }

    /// Time until the next set may have been kept for long enough by the configured rule.
    fn until_next(&self, now: Now) -> Option<Duration> {
        let rule = self.config.retention;
        if rule.is_off() {
            return None;
        }
        let ages = self.table.sets().filter_map(|set| {
            let age = rule.age?;
            let counts = set.status == SetStatus::Recovered && self.may_be_asked_about(set);
            let doubt = self.retention.ages.doubt(now);
            counts.then(|| age.saturating_sub(age_of(set, now)).max(doubt))
        });
        let held = self.retention.held.values();
        let held = held.map(|until| until.saturating_sub(now.at));
        let next = ages.chain(held).min().unwrap_or(LOOK_AGAIN);
        Some(next.clamp(SOONEST, LOOK_AGAIN))
    }

    /// A set was recovered: it may be one too many for the rule.
    pub(crate) fn retention_may_be_due(&mut self, now: Now) {
        if !self.config.retention.is_off() {
            let soon = now.at.saturating_add(SOONEST);
            let due = self.retention.due.map_or(soon, |due| due.min(soon));
            self.retention.due = Some(due);
        }
    }
}

fn age_of(set: &ShadowCopySet, now: Now) -> Duration {
    between(set.changed, now.wall)
}
