//! What clients have been told, and so what must be true after a crash.

use crate::Outcome;
use crate::invariants::AUTO_RECOVERY;
use crate::stage::Stage;
use crate::view::{SetView, Status, View};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use std::collections::BTreeMap;

/// The bit of a context whose sets outlive a reboot.
const ATTR_PERSISTENT: u32 = 0x01;

/// The call that was not answered when the agent died.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum InFlight {
    /// None, or one that changes nothing.
    #[default]
    Nothing,
    SetContext,
    Start,
    Add(usize),
    Commit,
    Expose,
    Recover,
    Abort,
    Delete(ShadowCopySetId, ShadowCopyId),
    /// Calls of a client that tells us nothing.
    Unknown,
}

/// A copy of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) id: ShadowCopyId,
    pub(crate) base: usize,
    /// Hash of the share in the copy once it exists.
    pub(crate) hash: Option<String>,
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) status: Status,
    pub(crate) context: u32,
    pub(crate) copies: Vec<Copy>,
    /// A RecoveryComplete was not answered: shares and copies may be sealed already.
    pub(crate) may_be_sealed: bool,
}

/// All that was answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) sets: BTreeMap<ShadowCopySetId, Set>,
    /// The set that is not Recovered.
    pub(crate) current: Option<ShadowCopySetId>,
    pub(crate) in_flight: InFlight,
    /// Hash of each base share; it does not change while a set is being made.
    pub(crate) base_hashes: Vec<String>,
}

impl Ledger {
    /// A reboot: contexts without ATTR_PERSISTENT do not outlive it.
    pub(crate) fn reboot(&mut self) {
        self.sets
            .retain(|_, set| set.context & ATTR_PERSISTENT != 0);
        if self.current.is_some_and(|id| !self.sets.contains_key(&id)) {
            self.current = None;
            self.in_flight = InFlight::Nothing;
        }
    }

    /// Power was lost: what was written to writable copies and not sealed may be lost. Nobody has
    /// written to the others.
    pub(crate) fn forget_unsealed(&mut self, stage: &Stage) -> Outcome {
        for set in self.sets.values_mut() {
            if set.status != Status::Exposed || set.context & AUTO_RECOVERY == 0 {
                continue;
            }
            for copy in &mut set.copies {
                copy.hash = Some(stage.copy_hash(copy.id, copy.base)?);
            }
        }
        Ok(())
    }

    /// Takes the hashes of all base shares.
    pub(crate) fn hash_bases(&mut self, stage: &Stage) -> Outcome {
        self.base_hashes = (0..stage.bases.len())
            .map(|base| stage.base_hash(base))
            .collect::<Outcome<_>>()?;
        Ok(())
    }

    /// The set that is being made.
    pub(crate) fn current_set(&mut self) -> Option<(ShadowCopySetId, &mut Set)> {
        let id = self.current?;
        self.sets.get_mut(&id).map(|set| (id, set))
    }

    /// The current set has gone.
    pub(crate) fn drop_current(&mut self) {
        if let Some(id) = self.current.take() {
            self.sets.remove(&id);
        }
    }

    /// Compares what the agent shows after a restart with what was answered before it, and takes
    /// over what the unanswered call did.
    ///
    /// # Errors
    /// Something that was answered is not true any more, or something appeared that nobody asked
    /// for.
    pub(crate) fn reconcile(&mut self, stage: &Stage, view: &View) -> Outcome {
        for (id, known) in &self.sets.clone() {
            match view.set(*id) {
                Some(found) => self.compare(*id, known, found)?,
                None if self.may_be_gone(*id) => {
                    self.sets.remove(id);
                }
                None => {
                    return Err(format!(
                        "the set {id} was {:?} and is gone; unanswered: {:?}",
                        known.status, self.in_flight
                    )
                    .into());
                }
            }
        }
        for found in &view.sets {
            if !self.sets.contains_key(&found.id) {
                self.adopt(stage, found)?;
            }
        }
        let mut unfinished = view
            .sets
            .iter()
            .filter(|set| set.status < Status::Recovered);
        self.current = unfinished.next().map(|set| set.id);
        if unfinished.next().is_some() {
            return Err("two sets short of Recovered".into());
        }
        self.in_flight = InFlight::Nothing;
        self.take_hashes(stage)
    }

    /// Number of copies of Recovered sets.
    pub(crate) fn recovered_copies(&self) -> usize {
        let recovered = self
            .sets
            .values()
            .filter(|set| set.status == Status::Recovered);
        recovered.map(|set| set.copies.len()).sum()
    }

    fn may_be_gone(&self, id: ShadowCopySetId) -> bool {
        let is_current = self.current == Some(id);
        match self.in_flight {
            InFlight::SetContext | InFlight::Abort | InFlight::Unknown => is_current,
            InFlight::Delete(set, copy) => {
                set == id
                    && self
                        .sets
                        .get(&id)
                        .is_some_and(|set| set.copies.iter().all(|known| known.id == copy))
            }
            _ => false,
        }
    }

    fn compare(&mut self, id: ShadowCopySetId, known: &Set, found: &SetView) -> Outcome {
        let is_current = self.current == Some(id);
        let next = match self.in_flight {
            InFlight::Add(_) if is_current => Some(Status::Added),
            InFlight::Commit if is_current => Some(Status::Committed),
            InFlight::Expose if is_current => Some(Status::Exposed),
            InFlight::Recover if is_current => Some(Status::Recovered),
            _ => None,
        };
        if found.status != known.status && Some(found.status) != next {
            return Err(format!(
                "the set {id} was {:?} and is {:?}; unanswered: {:?}",
                known.status, found.status, self.in_flight
            )
            .into());
        }
        let mut copies = known.copies.clone();
        for copy in &found.copies {
            let is_known = copies.iter().any(|known| known.id == copy.id);
            match self.in_flight {
                _ if is_known => {}
                InFlight::Add(base) if is_current && copies.len() == known.copies.len() => {
                    copies.push(Copy {
                        id: copy.id,
                        base,
                        hash: None,
                    });
                }
                _ => return Err(format!("the set {id} has a new copy {}", copy.id).into()),
            }
        }
        copies.retain(|copy| {
            self.in_flight != InFlight::Delete(id, copy.id)
                || found.copies.iter().any(|found| found.id == copy.id)
        });
        if copies.len() != found.copies.len() {
            return Err(format!(
                "the set {id} has lost a copy: {copies:?}, found {:?}; unanswered: {:?}",
                found.copies, self.in_flight
            )
            .into());
        }
        let set = Set {
            status: found.status,
            context: found.context,
            copies,
            may_be_sealed: known.may_be_sealed
                || (is_current && self.in_flight == InFlight::Recover),
        };
        self.sets.insert(id, set);
        Ok(())
    }

    fn adopt(&mut self, stage: &Stage, found: &SetView) -> Outcome {
        let is_expected = match self.in_flight {
            InFlight::Unknown => true,
            InFlight::Start => found.status == Status::Started,
            _ => false,
        };
        if !is_expected {
            return Err(format!(
                "the set {} came from nowhere, {:?}; unanswered: {:?}",
                found.id, found.status, self.in_flight
            )
            .into());
        }
        let mut copies = Vec::new();
        for copy in &found.copies {
            for mapping in &copy.mappings {
                let base = stage.base_of(&mapping.share_name_unc);
                copies.push(Copy {
                    id: copy.id,
                    base: base.ok_or_else(|| format!("no share {}", mapping.share_name_unc))?,
                    hash: None,
                });
            }
        }
        let set = Set {
            status: found.status,
            context: found.context,
            copies,
            may_be_sealed: false,
        };
        self.sets.insert(found.id, set);
        Ok(())
    }

    /// Copies that have come to be hold what the base shares held.
    pub(crate) fn take_hashes(&mut self, stage: &Stage) -> Outcome {
        for set in self.sets.values_mut() {
            if set.status < Status::Committed {
                continue;
            }
            for copy in &mut set.copies {
                if copy.hash.is_some() {
                    continue;
                }
                let found = stage.copy_hash(copy.id, copy.base)?;
                if self.base_hashes.get(copy.base) != Some(&found) {
                    return Err(format!(
                        "the copy {} is not what its share was at Commit",
                        copy.id
                    )
                    .into());
                }
                copy.hash = Some(found);
            }
        }
        Ok(())
    }
}
