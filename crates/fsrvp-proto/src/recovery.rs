//! What is done at start: the store against the backends and the share directory. A pure decision.

use crate::action::{Edit, Now};
use crate::directory::ExposedShare;
use crate::durable::Table;
use crate::job::{Artefact, CopyRef, Exposure};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};

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
/// found or with those of `remove` gone, it decides the same or nothing.
#[must_use]
pub fn recover(table: Table, _found: Found, _boot_id: &str, _now: Now) -> Recovered {
    Recovered {
        table,
        edits: Vec::new(),
        remove: Vec::new(),
        publish: Vec::new(),
        report: Vec::new(),
    }
}
