//! What records want and what is not there: shares that a deletion withdrew and could not be
//! stored, or that the start could not publish, and copies whose file systems the start did not
//! find. They are brought back as soon as that succeeds or the record goes. Nothing of it is
//! durable: the next start finds them missing by itself.

use crate::action::Now;
use crate::agent::Agent;
use crate::debts::pause;
use crate::job::{Exposure, Failure, FailureKind, Job};
use crate::live_set::SetJobKind;
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, ShareName};
use std::collections::BTreeSet;
use std::time::Duration;

/// Attempts, over about two hours, after which a copy or base share that does not exist is taken to
/// be gone for good; the next start looks again.
const MOST_NOT_FOUND: u32 = 20;

/// Longest pause between two looks for a file system.
const REACH_PAUSE: Duration = Duration::from_secs(30);

/// A share that is to be brought back.
#[derive(Debug)]
pub(crate) struct Missing {
    what: What,
    copy: ShadowCopyId,
    share: ShareName,
    attempts: u32,
    due: Duration,
}

/// What of it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The share.
    Share,
    /// The way to the copy; the share is there.
    Way,
}

impl What {
    /// The longest pause between two attempts.
    fn pause(self, attempts: u32) -> Duration {
        match self {
            Self::Share => pause(attempts),
            Self::Way => pause(attempts).min(REACH_PAUSE),
        }
    }

    const fn operation(self) -> &'static str {
        match self {
            Self::Share => "offer again",
            Self::Way => "reach",
        }
    }
}

impl Agent {
    /// Exposed shares that recovery could not publish, by their names: the agent tries again, with
    /// growing pauses, as long as its table wants them.
    pub fn handle_unpublished(&mut self, now: Now, names: &BTreeSet<String>) {
        self.miss_all(now, What::Share, names);
    }

    /// Exposed shares whose copies the SMB server cannot reach, as their file systems are not
    /// there: the agent looks for them as long as its table wants them.
    pub fn handle_unreachable(&mut self, now: Now, names: &BTreeSet<String>) {
        self.miss_all(now, What::Way, names);
    }

    fn miss_all(&mut self, now: Now, what: What, names: &BTreeSet<String>) {
        let missing: Vec<_> = self
            .table
            .sets()
            .filter(|set| set.is_exposed())
            .flat_map(|set| {
                set.mappings()
                    .map(move |(copy, mapping)| (set.id, copy, mapping))
            })
            .filter(|(_, _, mapping)| names.contains(&mapping.shadow_copy_share_name))
            .map(|(set, copy, mapping)| (set, copy.id, mapping.share.clone()))
            .collect();
        let due = now.at.saturating_add(pause(0));
        for (set, copy, share) in missing {
            self.miss(set, what, copy, share, due);
        }
        self.handle_timeout(now);
    }

    /// The share was withdrawn, and the record that wants it could not be changed.
    pub(crate) fn republish(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        copy: ShadowCopyId,
        share: &ShareName,
    ) {
        self.miss(id, What::Share, copy, share.clone(), now.at);
    }

    fn miss(
        &mut self,
        id: ShadowCopySetId,
        what: What,
        copy: ShadowCopyId,
        share: ShareName,
        due: Duration,
    ) {
        let missing = &mut self.live.entry(id).or_default().missing;
        missing.retain(|known| known.copy != copy || known.share != share);
        missing.push(Missing {
            what,
            copy,
            share,
            attempts: 0,
            due,
        });
    }

    /// Offers again what is due. Only while nothing is being stored: the record that wants the
    /// share may be about to go.
    pub(crate) fn restore_due(&mut self, now: Now) {
        let due: Vec<_> = self
            .live
            .iter()
            .filter(|(_, live)| live.running.is_none())
            .filter(|(_, live)| live.missing.iter().any(|missing| self.is_due(missing, now)))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.restore(now, id);
        }
    }

    /// A withdrawal that the set has not waited for may still take the share away.
    fn is_due(&self, missing: &Missing, now: Now) -> bool {
        missing.due <= now.at && !self.jobs.hold(missing.copy)
    }

    fn restore(&mut self, now: Now, id: ShadowCopySetId) {
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        let set = self.table.set(id).filter(|set| set.is_exposed());
        // Rule 12: "share stays read-only".
        let writable = !live.is_closed && set.is_some_and(|set| set.is_writable());
        let wanted = |missing: &Missing| -> Option<Exposure> {
            let copy = set?.copy(missing.copy)?;
            Some(copy.mapping(&missing.share)?.exposure(copy, writable))
        };
        live.missing.retain(|missing| wanted(missing).is_some());
        let jobs = &self.jobs;
        let is_due = |missing: &&Missing| missing.due <= now.at && !jobs.hold(missing.copy);
        let due = live.missing.iter().find(is_due);
        let next = due.and_then(|due| Some((due.what, wanted(due)?, due.copy, due.share.clone())));
        match next {
            Some((what, exposure, copy, share)) => {
                let job = match what {
                    What::Share => Job::Expose {
                        set: id,
                        shares: vec![exposure],
                    },
                    What::Way => Job::Reach { share: exposure },
                };
                self.run_for(now, id, SetJobKind::Restore { copy, share }, job, []);
            }
            None => self.forget_recovered(id),
        }
    }

    /// A share was offered again, or could not be.
    pub(crate) fn restored(
        &mut self,
        now: Now,
        id: ShadowCopySetId,
        (copy, share): (ShadowCopyId, ShareName),
        result: Result<(), Failure>,
    ) {
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        let is_it = |known: &Missing| known.copy == copy && known.share == share;
        let Some(at) = live.missing.iter().position(is_it) else {
            return;
        };
        let Some(missing) = live.missing.get_mut(at) else {
            return;
        };
        let Err(failure) = result else {
            live.missing.remove(at);
            return;
        };
        let operation = missing.what.operation();
        // A copy that a file system does not hold any more is gone; what Samba says may change.
        let most = match missing.what {
            What::Share => MOST_NOT_FOUND,
            What::Way => 0,
        };
        if failure.kind == FailureKind::NotFound && missing.attempts >= most {
            live.missing.remove(at);
        } else {
            missing.due = now.at.saturating_add(missing.what.pause(missing.attempts));
            missing.attempts = missing.attempts.saturating_add(1);
        }
        self.report_failure(id, operation, failure.in_share(&share));
    }

    /// When a share can be offered again.
    pub(crate) fn next_restore(&self) -> Option<Duration> {
        let idle = self.live.values().filter(|live| live.running.is_none());
        idle.flat_map(|live| &live.missing)
            .filter(|missing| !self.jobs.hold(missing.copy))
            .map(|missing| missing.due)
            .min()
    }
}
