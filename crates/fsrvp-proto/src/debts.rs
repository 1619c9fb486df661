//! Debts: what has left the table and may still be there (PROTOCOL.md rules 13 and 18). They are
//! durable, the agent pays them by itself, and they never block the next set.

use crate::action::{Action, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::durable::{Change, DebtRecord};
use crate::event::Event;
use crate::job::{Artefact, Failure, FailureKind, Job};
use crate::jobs::{Purpose, Volume};
use crate::order::{OrderDone, OrderError};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Debts that one job tries again.
const MAX_BATCH: usize = 64;

/// Everything owed, by the number of its record.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    next: u64,
    entries: BTreeMap<u64, Debt>,
}

#[derive(Debug)]
pub(crate) struct Debt {
    pub(crate) attempts: u32,
    pub(crate) failure: Option<Failure>,
    /// When it is tried next; `None` while a job tries it.
    pub(crate) due: Option<Duration>,
}

impl Debts {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Debt)> {
        self.entries.iter().map(|(number, debt)| (*number, debt))
    }

    fn is_due(&self, number: u64, now: Duration) -> bool {
        let due = self.entries.get(&number).and_then(|debt| debt.due);
        due.is_some_and(|due| due <= now)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }
}

impl Agent {
    /// Takes over the debts of the table that the agent starts with.
    pub(crate) fn load_debts(&mut self, now: Now) {
        self.debts.next = self.table.next_debt();
        let numbers: Vec<_> = self.table.debts().map(|(number, _)| number).collect();
        self.owe(now, &numbers);
    }

    /// Makes debts of artefacts in `change`; they count once the change is stored and
    /// [`Self::owe`] is called with the numbers.
    pub(crate) fn record_debts(
        &mut self,
        now: Now,
        set: ShadowCopySetId,
        artefacts: impl IntoIterator<Item = (ShadowCopyId, Artefact)>,
        change: &mut Change,
    ) -> Vec<u64> {
        artefacts
            .into_iter()
            .map(|(copy, artefact)| {
                let number = self.debts.number();
                let record = DebtRecord {
                    artefact,
                    copy: Some(copy),
                    set: Some(set),
                    since: now.wall,
                };
                change.debts.insert(number, Some(record));
                number
            })
            .collect()
    }

    /// The debts are durable: they are due at once.
    pub(crate) fn owe(&mut self, now: Now, numbers: &[u64]) {
        for number in numbers {
            let debt = Debt {
                attempts: 0,
                failure: None,
                due: Some(now.at),
            };
            self.debts.entries.insert(*number, debt);
        }
    }

    /// Tries those of `numbers` that are due, in one job; gives those that it tries. What a job
    /// still works on stays due until that has ended.
    pub(crate) fn pay(&mut self, now: Now, numbers: &[u64]) -> BTreeSet<u64> {
        let mut tried = BTreeSet::new();
        let mut artefacts = Vec::new();
        let mut copies = BTreeSet::new();
        for number in numbers {
            let Some(record) = self.table.debt(*number) else {
                continue;
            };
            let copy = copy_of(record);
            if !self.debts.is_due(*number, now.at) || copy.is_some_and(|c| self.jobs.hold(c)) {
                continue;
            }
            tried.insert(*number);
            artefacts.push(record.artefact.clone());
            copies.extend(copy);
        }
        if tried.is_empty() {
            return tried;
        }
        for number in &tried {
            if let Some(debt) = self.debts.entries.get_mut(number) {
                debt.due = None;
            }
        }
        let purpose = Purpose::Debts(tried.iter().copied().collect());
        self.run(now, purpose, Job::Remove { artefacts }, copies);
        tried
    }

    /// Everything owed is due now. Gives how many there are.
    pub(crate) fn hurry_debts(&mut self, now: Now) -> usize {
        for debt in self.debts.entries.values_mut() {
            debt.due = debt.due.map(|_| now.at);
        }
        self.debts.entries.len()
    }

    /// Tries again what is due: the shares, and then volume by volume, one job for each at a time,
    /// so that a store that hangs holds up nobody else.
    pub(crate) fn pay_due(&mut self, now: Now) {
        if self.next_due().is_none_or(|due| due > now.at) {
            return;
        }
        let mut groups: BTreeMap<Option<Volume>, Vec<u64>> = BTreeMap::new();
        for (number, debt) in self.debts.iter() {
            let Some(record) = self.table.debt(number) else {
                continue;
            };
            let is_held = copy_of(record).is_some_and(|copy| self.jobs.hold(copy));
            if !is_held && debt.due.is_some_and(|due| due <= now.at) {
                groups.entry(volume_of(record)).or_default().push(number);
            }
        }
        for (volume, mut group) in groups {
            if !self.jobs.pays(volume.as_ref()) {
                group.truncate(MAX_BATCH);
                self.pay(now, &group);
            }
        }
    }

    /// When a debt can be tried next that no job holds up.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.debts
            .iter()
            .filter_map(|(number, debt)| Some((self.table.debt(number)?, debt.due?)))
            .filter(|(record, _)| {
                !copy_of(record).is_some_and(|copy| self.jobs.hold(copy))
                    && !self.jobs.pays(volume_of(record).as_ref())
            })
            .map(|(_, due)| due)
            .min()
    }

    /// An operator gives a debt up. Not while a job tries it, which may pay it.
    pub(crate) fn forget_debt(&mut self, now: Now, ticket: Ticket, number: u64) {
        let debt = self.debts.entries.get(&number);
        let Some(debt) = debt.filter(|_| self.table.debt(number).is_some()) else {
            return self.answer(ticket, Err(OrderError::NotFound));
        };
        if debt.due.is_none() {
            let detail = "its removal is being tried at this moment: give the order again when \
                          that has ended";
            let failure = Failure::new(FailureKind::Busy, detail);
            return self.answer(ticket, Err(OrderError::Failed(failure)));
        }
        let mut change = Change::default();
        change.debts.insert(number, None);
        let callers = vec![ticket.pending()];
        self.persist(now, change, callers, move |agent, _, stored| match stored {
            Ok(()) => {
                agent.debts.entries.remove(&number);
                agent.answer(ticket, Ok(OrderDone::default()));
            }
            Err(failure) => agent.fail(ticket, &failure),
        });
    }

    /// A job has tried debts: what did not fail is paid.
    pub(crate) fn debts_tried(
        &mut self,
        now: Now,
        numbers: &[u64],
        failed: Vec<(Artefact, Failure)>,
    ) {
        let failed: BTreeMap<_, _> = failed.into_iter().collect();
        let mut failures = BTreeMap::new();
        for number in numbers {
            let Some(artefact) = self.table.debt(*number).map(|debt| debt.artefact.clone()) else {
                continue;
            };
            match failed.get(&artefact) {
                Some(failure) => {
                    failures.insert(*number, failure.clone());
                    self.debt_kept(now, *number, artefact, failure.clone());
                }
                None => self.debt_paid(*number, artefact),
            }
        }
        self.removals_progress(now, numbers, &failures);
    }

    fn debt_kept(&mut self, now: Now, number: u64, artefact: Artefact, failure: Failure) {
        let Some(debt) = self.debts.entries.get_mut(&number) else {
            return;
        };
        debt.due = Some(now.at.saturating_add(pause(debt.attempts)));
        debt.attempts = debt.attempts.saturating_add(1);
        debt.failure = Some(failure.clone());
        let attempts = debt.attempts;
        self.push(Action::Report(Event::DebtKept {
            artefact,
            failure,
            attempts,
        }));
    }

    fn debt_paid(&mut self, number: u64, artefact: Artefact) {
        let paid = self.debts.entries.remove(&number);
        self.storing.debt_paid(number);
        if paid.is_some_and(|debt| debt.attempts > 0) {
            self.push(Action::Report(Event::DebtPaid { artefact }));
        }
    }
}

fn copy_of(record: &DebtRecord) -> Option<ShadowCopyId> {
    match &record.artefact {
        Artefact::Copy(copy) => Some(copy.copy),
        Artefact::Share(name) => record.copy.or_else(|| copy_in(name)),
    }
}

/// The copy that an exposed share's name tells: no record knows it of a share that recovery found.
fn copy_in(name: &str) -> Option<ShadowCopyId> {
    let (_, guid) = name.rsplit_once("@{")?;
    let (guid, _) = guid.split_once('}')?;
    guid.parse().ok().map(ShadowCopyId)
}

/// What a job on the debt keeps busy; `None` is the share directory.
fn volume_of(record: &DebtRecord) -> Option<Volume> {
    match &record.artefact {
        Artefact::Copy(copy) => Some((copy.backend.clone(), copy.volume.clone())),
        Artefact::Share(_) => None,
    }
}

/// 1 s, doubled each time, at most ten minutes.
pub(crate) fn pause(attempts: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempts).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_ten_minutes() {
        let seconds: Vec<_> = (0..12).map(|attempts| pause(attempts).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600],);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
