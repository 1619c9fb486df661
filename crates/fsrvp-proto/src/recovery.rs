//! What is done at start: the store against the backends and the share directory. A pure decision.

use crate::action::{Edit, Now};
use crate::directory::ExposedShare;
use crate::durable::{Change, DebtRecord, Table};
use crate::job::{Artefact, CopyRef, Exposure};
use crate::set::{SetStatus, ShadowCopySet};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, ShareName};
use std::collections::BTreeMap;

/// What exists and bears our mark. Foreign things never appear here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// All snapshots of all backends, partial forms too.
    pub copies: Vec<CopyRef>,
    /// All exposed shares.
    pub shares: Vec<ExposedShare>,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The table to build the agent with, once `edits` are stored.
    pub table: Table,
    /// What changes in the store; commit before the agent is built.
    pub edits: Vec<Edit>,
    /// What nobody owns. For the log: each is a debt, or the undo of a set, in `table`, and the
    /// agent removes it by itself.
    pub remove: Vec<Artefact>,
    /// Shares that should be there and are not, or are not as read-only as they should be: for
    /// the driver to publish.
    pub publish: Vec<Exposure>,
    /// What was found and decided.
    pub report: Vec<RecoveryNote>,
}

/// One finding, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryNote {
    /// A snapshot that no record owns is removed.
    OrphanCopy(CopyRef),
    /// A share that no record owns is removed.
    OrphanShare(String),
    /// The set was being created when the agent died: undone to its last durable status.
    Undone {
        /// The set.
        set: ShadowCopySetId,
        /// What is removed.
        artefacts: Vec<Artefact>,
    },
    /// A recorded copy does not exist any more and was dropped from its set.
    CopyVanished {
        /// The set.
        set: ShadowCopySetId,
        /// The copy.
        copy: ShadowCopyId,
    },
    /// A set without copies was dropped.
    SetVanished(ShadowCopySetId),
    /// An exposed share does not exist any more and is published again.
    ShareVanished {
        /// The set.
        set: ShadowCopySetId,
        /// The share.
        share: String,
    },
    /// The share of a recovered set was writable and is made read-only.
    ShareWritable {
        /// The set.
        set: ShadowCopySetId,
        /// The share.
        share: String,
    },
    /// A set whose context does not outlive a reboot was dropped.
    NotPersistent(ShadowCopySetId),
    /// A debt of an earlier run turned out to be paid.
    DebtPaid(Artefact),
}

/// Decides what becomes of the table. Idempotent: applied to its own result, with the same things
/// found or with those of `remove` gone and those of `publish` there, it changes nothing more than
/// to drop what is paid.
#[must_use]
pub fn recover(table: Table, found: Found, boot_id: &str, now: Now) -> Recovered {
    let mut recovery = Recovery {
        copies: found
            .copies
            .into_iter()
            .map(|copy| (copy.copy, copy))
            .collect(),
        shares: found
            .shares
            .into_iter()
            .map(|share| (fold(&share.name), share))
            .collect(),
        change: Change::default(),
        remove: Vec::new(),
        publish: Vec::new(),
        report: Vec::new(),
    };
    let rebooted = has_rebooted(&table, boot_id);
    if table.boot_id() != Some(boot_id) {
        recovery.change.boot_id = Some(boot_id.to_owned());
    }
    if rebooted {
        recovery.end_context(&table);
    }
    // Copies and shares that a set accounts for leave `recovery`; the rest belongs to nobody.
    for set in table.sets() {
        if ends_with_boot(&table, set, boot_id) {
            recovery.report.push(RecoveryNote::NotPersistent(set.id));
            recovery.change.sets.insert(set.id, None);
            continue;
        }
        match set.status {
            SetStatus::Started | SetStatus::Added | SetStatus::CreationInProgress => {
                recovery.undo_creation(set);
            }
            SetStatus::Committed => recovery.keep_committed(&table, set),
            SetStatus::Exposed | SetStatus::Recovered => recovery.keep_exposed(set),
        }
    }
    recovery.keep_debts(&table);
    recovery.owe_the_rest(&table, now);
    recovery.end(table)
}

fn has_rebooted(table: &Table, boot_id: &str) -> bool {
    table.boot_id().is_some_and(|known| known != boot_id)
}

/// Rule 17: "Contexts without ATTR_PERSISTENT do not outlive a reboot": whether that ends the set.
#[must_use]
pub fn ends_with_boot(table: &Table, set: &ShadowCopySet, boot_id: &str) -> bool {
    has_rebooted(table, boot_id) && !set.context.is_persistent()
}

/// A recovery under way: what was found and not yet accounted for, and what was decided.
struct Recovery {
    copies: BTreeMap<ShadowCopyId, CopyRef>,
    shares: BTreeMap<String, ExposedShare>,
    change: Change,
    remove: Vec<Artefact>,
    publish: Vec<Exposure>,
    report: Vec<RecoveryNote>,
}

impl Recovery {
    /// Rule 17: "Contexts without ATTR_PERSISTENT do not outlive a reboot".
    fn end_context(&mut self, table: &Table) {
        let context = table.context();
        if context
            .current
            .is_some_and(|context| !context.is_persistent())
        {
            self.change.context = Some(context.cleared());
        }
    }

    /// A set that is recorded as short of Committed has no snapshot: what exists under its ids is
    /// of a Commit that was not recorded, and goes before the next one.
    fn undo_creation(&mut self, set: &ShadowCopySet) {
        let mut undo = self.take_shares(set);
        undo.extend(
            set.copies
                .iter()
                .filter_map(|copy| self.copies.remove(&copy.id))
                .map(Artefact::Copy),
        );
        self.undo(set, undo);
    }

    /// A committed set has its snapshots; a share is of an Expose that was not recorded.
    fn keep_committed(&mut self, table: &Table, set: &ShadowCopySet) {
        let Some(kept) = self.keep_copies(set) else {
            // The set is over, and with it the context under which it was being made.
            self.change.context = Some(table.context().cleared());
            return;
        };
        let undo = self.take_shares(set);
        self.undo(&kept, undo);
    }

    /// An exposed set has its snapshots and its shares.
    fn keep_exposed(&mut self, set: &ShadowCopySet) {
        let Some(kept) = self.keep_copies(set) else {
            return;
        };
        for exposure in kept.exposures() {
            let (id, share) = (set.id, exposure.name.clone());
            match self.shares.remove(&fold(&share)) {
                None => {
                    self.report
                        .push(RecoveryNote::ShareVanished { set: id, share });
                    self.publish.push(exposure);
                }
                // A seal that was under way leaves a read-only share of a writable set: so it
                // stays. The other way round it was never meant to be.
                Some(found) if !found.read_only && !exposure.writable => {
                    self.report
                        .push(RecoveryNote::ShareWritable { set: id, share });
                    self.publish.push(exposure);
                }
                Some(_) => {}
            }
        }
        self.undo(&kept, Vec::new());
    }

    /// The set with the copies that exist; `None` if none does, and the set is dropped.
    fn keep_copies(&mut self, set: &ShadowCopySet) -> Option<ShadowCopySet> {
        let mut kept = set.clone();
        kept.copies
            .retain(|copy| self.copies.remove(&copy.id).is_some());
        for copy in &set.copies {
            if kept.copy(copy.id).is_none() {
                let (set, copy) = (set.id, copy.id);
                self.report.push(RecoveryNote::CopyVanished { set, copy });
            }
        }
        if kept.copies.is_empty() {
            self.report.push(RecoveryNote::SetVanished(set.id));
            self.change.sets.insert(set.id, None);
            return None;
        }
        if kept.copies.len() < set.copies.len() {
            self.change.sets.insert(set.id, Some(kept.clone()));
        }
        Some(kept)
    }

    /// The shares that exist under the names of the set's mappings.
    fn take_shares(&mut self, set: &ShadowCopySet) -> Vec<Artefact> {
        set.mappings()
            .filter_map(|(_, mapping)| self.shares.remove(&fold(&mapping.shadow_copy_share_name)))
            .map(|share| Artefact::Share(share.name))
            .collect()
    }

    /// Lets the set remove `undo` before it goes on.
    fn undo(&mut self, set: &ShadowCopySet, undo: Vec<Artefact>) {
        if !undo.is_empty() {
            self.remove.extend(undo.iter().cloned());
            self.report.push(RecoveryNote::Undone {
                set: set.id,
                artefacts: undo.clone(),
            });
        }
        if set.undo != undo {
            let set = ShadowCopySet {
                undo,
                ..set.clone()
            };
            self.change.sets.insert(set.id, Some(set));
        }
    }

    /// A debt whose artefact is still there stays; one whose artefact is not is paid.
    fn keep_debts(&mut self, table: &Table) {
        for (number, debt) in table.debts() {
            let exists = match &debt.artefact {
                Artefact::Share(name) => self.shares.remove(&fold(name)).is_some(),
                Artefact::Copy(copy) => self.copies.remove(&copy.copy).is_some(),
            };
            if exists {
                self.remove.push(debt.artefact.clone());
            } else {
                self.report
                    .push(RecoveryNote::DebtPaid(debt.artefact.clone()));
                self.change.debts.insert(number, None);
            }
        }
    }

    /// What is left bears our mark and is in no record: it goes.
    fn owe_the_rest(&mut self, table: &Table, now: Now) {
        let mut rest = Vec::new();
        for share in std::mem::take(&mut self.shares).into_values() {
            self.report
                .push(RecoveryNote::OrphanShare(share.name.clone()));
            rest.push((None, Artefact::Share(share.name)));
        }
        for (id, copy) in std::mem::take(&mut self.copies) {
            self.report.push(RecoveryNote::OrphanCopy(copy.clone()));
            rest.push((Some(id), Artefact::Copy(copy)));
        }
        for (number, (copy, artefact)) in (table.next_debt()..).zip(rest) {
            self.remove.push(artefact.clone());
            let debt = DebtRecord {
                artefact,
                copy,
                set: None,
                since: now.wall,
            };
            self.change.debts.insert(number, Some(debt));
        }
    }

    fn end(self, mut table: Table) -> Recovered {
        let Self {
            change,
            remove,
            publish,
            report,
            ..
        } = self;
        let edits = change.edits();
        table.apply(change);
        Recovered {
            table,
            edits,
            remove,
            publish,
            report,
        }
    }
}

fn fold(name: &str) -> String {
    ShareName::new(name).folded()
}
