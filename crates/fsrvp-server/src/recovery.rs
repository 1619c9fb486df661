//! What happens at start, before the first client is served: the store is compared with the
//! backends and the share directory, and the agent's decision is carried out.

use crate::store::{StateStore, StoreError};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId, ShareName};
use fsrvp_proto::directory::{ExposedShare, Publication};
use fsrvp_proto::durable::{Table, TableError};
use fsrvp_proto::job::{Artefact, BackendName, CopyRef, Exposure, Failure};
use fsrvp_proto::recovery::{Found, RecoveryNote, ends_with_boot, recover};
use fsrvp_proto::set::{SetStatus, ShadowCopySet};
use fsrvp_proto::{Now, ShareDirectory};
use fsrvp_snapshot::{BackendError, Backends};
use fsrvp_sys::crash;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Why the daemon must not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is damaged or newer.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A backend cannot say what it holds.
    #[error("backend {backend} cannot list its copies: {failure}")]
    Backend {
        /// The backend.
        backend: String,
        /// Why.
        failure: Failure,
    },
    /// There was no store, but there are copies.
    #[error(
        "there is no table in the state directory, but {copies} snapshots and {shares} exposed \
         shares of this server exist: restore the state directory from its backup, or start once \
         with --begin-anew to remove them and begin with an empty table"
    )]
    StoreLost {
        /// Snapshots that exist.
        copies: usize,
        /// Exposed shares that exist.
        shares: usize,
    },
    /// The share directory cannot be read.
    #[error("the exposed shares cannot be listed: {0}")]
    Directory(Failure),
}

/// What recovery leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// The table to build the agent with.
    pub table: Table,
    /// Names of exposed shares whose file systems cannot be reached now: for
    /// [`Agent::handle_unreachable`](fsrvp_proto::Agent::handle_unreachable).
    pub unreachable: BTreeSet<String>,
    /// Names of shares that should be offered and could not be: for
    /// [`Agent::handle_unpublished`](fsrvp_proto::Agent::handle_unpublished).
    pub unpublished: BTreeSet<String>,
    /// Sets that have not outlived a reboot: for
    /// [`Agent::handle_rebooted`](fsrvp_proto::Agent::handle_rebooted).
    pub rebooted: Vec<ShadowCopySetId>,
}

/// What recovery looks at.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The snapshot backends.
    pub backends: &'a Backends,
    /// The shares.
    pub directory: &'a dyn ShareDirectory,
    /// Id of the running boot.
    pub boot_id: &'a str,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("boot_id", &self.boot_id)
            .finish_non_exhaustive()
    }
}

/// Recovers the table: what it decides is durable and published on return; what has to be removed
/// stands in the table as debts, which the agent pays.
///
/// `begun_anew` says that there was no store and an empty one was made: copies that exist then
/// mean that the store was lost, and are an error.
///
/// # Errors
/// The store, a backend or the directory cannot be read: nothing has been changed then.
pub fn run(
    store: &dyn StateStore,
    begun_anew: bool,
    surroundings: Surroundings<'_>,
    now: Now,
) -> Result<Outcome, RecoveryError> {
    let Surroundings {
        backends,
        directory,
        boot_id,
    } = surroundings;
    let table = Table::load(store.load()?)?;
    let mut found = Found::default();
    let kept = kept(&table);
    for backend in backends.iter() {
        let copies = backend
            .enumerate_beside(&kept)
            .map_err(|error| RecoveryError::Backend {
                backend: backend.name().to_string(),
                failure: error.into(),
            })?;
        found.copies.extend(copies);
    }
    found.shares = directory.exposed().map_err(RecoveryError::Directory)?;
    if begun_anew && !(found.copies.is_empty() && found.shares.is_empty()) {
        return Err(RecoveryError::StoreLost {
            copies: found.copies.len(),
            shares: found.shares.len(),
        });
    }
    crash::point("recovery.look.after");
    let unseen = unseen(&table, &found, backends);
    found.copies.extend(unseen);
    let lingering = remove_remains(&table, &found, boot_id, directory);
    found.shares.extend(lingering);
    let recorded: BTreeMap<_, _> = recorded(&table)
        .map(|exposure| (exposure.copy.copy, exposure.copy))
        .collect();
    let recovered = recover(table, found, boot_id, now);
    let mut rebooted = Vec::new();
    for note in &recovered.report {
        report(note);
        if let RecoveryNote::NotPersistent(set) = note {
            rebooted.push(*set);
        }
        if let RecoveryNote::CopyVanished { copy, .. } = note
            && let Some(copy) = recorded.get(copy)
        {
            forget(copy, backends);
        }
    }
    if !recovered.edits.is_empty() {
        store.commit(&recovered.edits)?;
    }
    crash::point("recovery.store.after");
    let unreachable = reach(&recovered.table, backends);
    let mut unpublished = BTreeSet::new();
    crash::point("recovery.reach.after");
    for exposure in &recovered.publish {
        if let Err(failure) = publish(backends, directory, exposure) {
            tracing::error!(
                share = exposure.name,
                error = %failure,
                "a shadow copy could not be offered again; will be tried again"
            );
            unpublished.insert(exposure.name.clone());
        }
        crash::point("recovery.publish.after");
    }
    Ok(Outcome {
        table: recovered.table,
        unreachable,
        unpublished,
        rebooted,
    })
}

/// Shares that nobody will want any more, and that the directory does not list: those that were
/// being published or withdrawn when the agent or the machine died, of sets that go, or of copies
/// that are lost. A part of them that is not listed, as a security descriptor, may be there. Gives
/// those that could not be removed, which count as found.
fn remove_remains(
    table: &Table,
    found: &Found,
    boot_id: &str,
    directory: &dyn ShareDirectory,
) -> Vec<ExposedShare> {
    let listed: BTreeSet<String> = found
        .shares
        .iter()
        .map(|share| ShareName::new(&share.name).folded())
        .collect();
    let there: BTreeSet<ShadowCopyId> = found.copies.iter().map(|copy| copy.copy).collect();
    let unwanted = table
        .sets()
        .flat_map(|set| {
            let ends = ends_with_boot(table, set, boot_id);
            let exposures = set.exposures();
            exposures
                .into_iter()
                .map(move |exposure| (set, ends, exposure))
        })
        .filter(|(set, ends, exposure)| match set.status {
            SetStatus::Started | SetStatus::Added | SetStatus::CreationInProgress => false,
            SetStatus::Committed => true,
            SetStatus::Exposed | SetStatus::Recovered => {
                *ends || !there.contains(&exposure.copy.copy)
            }
        })
        .map(|(_, _, exposure)| exposure.name);
    let owed = table.debts().filter_map(|(_, debt)| match &debt.artefact {
        Artefact::Share(name) => Some(name.clone()),
        Artefact::Copy(_) => None,
    });
    let remains = |name: String| match directory.withdraw(&name) {
        Ok(()) => None,
        Err(failure) => {
            tracing::warn!(share = name, error = %failure, "recovery: remains of a share stay");
            Some(ExposedShare {
                name,
                path: PathBuf::new(),
                read_only: false,
            })
        }
    };
    unwanted
        .chain(owed)
        .filter(|name| !listed.contains(&ShareName::new(name).folded()))
        .filter_map(remains)
        .collect()
}

/// Recorded copies that no backend lists and that nevertheless are not known to be gone: their
/// file system may not be mounted yet. They must not be taken for lost. Copies that are to be
/// deleted count too, for the agent's own attempt to delete them tells what is left of them.
fn unseen(table: &Table, found: &Found, backends: &Backends) -> Vec<CopyRef> {
    let seen: BTreeSet<ShadowCopyId> = found.copies.iter().map(|copy| copy.copy).collect();
    let may_exist = |exposure: &Exposure| {
        let Some(backend) = backends.get(&exposure.copy.backend) else {
            return true;
        };
        match backend.expose(exposure) {
            Ok(_) => true,
            Err(BackendError::NotFound(_)) => false,
            Err(error) => {
                tracing::error!(
                    copy = %exposure.copy.copy,
                    volume = %exposure.copy.volume,
                    error = %Failure::from(error),
                    "recovery: a shadow copy cannot be reached now and is kept in the table"
                );
                true
            }
        }
    };
    let recorded = recorded(table)
        .filter(|exposure| !seen.contains(&exposure.copy.copy))
        .filter(may_exist)
        .map(|exposure| exposure.copy);
    let owed = table.debts().filter_map(|(_, debt)| match &debt.artefact {
        Artefact::Copy(copy) if !seen.contains(&copy.copy) => Some(copy.clone()),
        _ => None,
    });
    recorded
        .chain(owed)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// A copy that does not exist any more may have left links to it, which go while its record is
/// still there.
fn forget(copy: &CopyRef, backends: &Backends) {
    if let Some(backend) = backends.get(&copy.backend)
        && let Err(error) = backend.delete(copy)
    {
        tracing::warn!(
            copy = %copy.copy,
            error = %Failure::from(error),
            "recovery: links to a shadow copy that does not exist any more may be left"
        );
    }
}

/// What sets expose, or will expose. Those short of Committed count too: a cut that was made and
/// not recorded must not be taken for the next Commit's, nor be forgotten with the set.
fn recorded(table: &Table) -> impl Iterator<Item = Exposure> {
    table.sets().flat_map(ShadowCopySet::exposures)
}

/// The copies of sets whose snapshots are recorded as made. Those of other sets are looked into:
/// they may be of a Commit that was cut short, and have to go.
fn kept(table: &Table) -> Vec<CopyRef> {
    table
        .sets()
        .filter(|set| match set.status {
            SetStatus::Started | SetStatus::Added | SetStatus::CreationInProgress => false,
            SetStatus::Committed | SetStatus::Exposed | SetStatus::Recovered => true,
        })
        .flat_map(ShadowCopySet::exposures)
        .map(|exposure| exposure.copy)
        .collect()
}

/// Makes every exposed copy reachable for smbd again: mounts do not survive a reboot. Gives those
/// that cannot be reached now.
fn reach(table: &Table, backends: &Backends) -> BTreeSet<String> {
    let mut exposures: BTreeMap<BackendName, Vec<Exposure>> = BTreeMap::new();
    let sets = table.sets();
    for exposure in sets
        .filter(|set| matches!(set.status, SetStatus::Exposed | SetStatus::Recovered))
        .flat_map(ShadowCopySet::exposures)
    {
        let of_backend = exposures.entry(exposure.copy.backend.clone()).or_default();
        of_backend.push(exposure);
    }
    let mut unreachable = BTreeSet::new();
    for (name, exposures) in exposures {
        let Some(backend) = backends.get(&name) else {
            unreachable.extend(exposures.into_iter().map(|exposure| exposure.name));
            continue;
        };
        let results = backend.reach(&exposures);
        let missed = exposures.into_iter().zip(results);
        let missed = missed.filter_map(|(exposure, result)| {
            (!is_reached(&exposure, result)).then_some(exposure.name)
        });
        unreachable.extend(missed);
    }
    unreachable
}

/// Whether there is nothing more to try for this exposure: it can be reached, or has gone.
fn is_reached(exposure: &Exposure, result: Result<(), BackendError>) -> bool {
    match result {
        Ok(()) | Err(BackendError::NotFound(_)) => true,
        Err(error) => {
            tracing::error!(
                share = exposure.name,
                error = %Failure::from(error),
                "an exposed shadow copy cannot be reached; will be tried again"
            );
            false
        }
    }
}

fn publish(
    backends: &Backends,
    directory: &dyn ShareDirectory,
    exposure: &Exposure,
) -> Result<(), Failure> {
    let name = &exposure.copy.backend;
    let backend = backends.get(name).ok_or_else(|| {
        let detail = format!("backend {name} does not exist in this fsrvpd");
        Failure::new(fsrvp_proto::job::FailureKind::Other, detail)
    })?;
    let path = backend.expose(exposure)?;
    directory.publish(&[Publication {
        exposure: exposure.clone(),
        path,
    }])?;
    if !exposure.writable {
        directory.make_read_only(std::slice::from_ref(&exposure.name))?;
    }
    Ok(())
}

fn report(note: &RecoveryNote) {
    match note {
        RecoveryNote::OrphanCopy(copy) => {
            tracing::warn!(copy = %copy.copy, volume = %copy.volume, "recovery: a snapshot that no set owns is removed");
        }
        RecoveryNote::OrphanShare(share) => {
            tracing::warn!(
                share,
                "recovery: an exposed share that no set owns is removed"
            );
        }
        RecoveryNote::Undone { set, artefacts } => {
            tracing::warn!(%set, ?artefacts, "recovery: the set was in the making and is undone to its last durable state");
        }
        RecoveryNote::CopyVanished { set, copy } => {
            tracing::error!(%set, %copy, "recovery: a recorded shadow copy does not exist any more");
        }
        RecoveryNote::SetVanished(set) => {
            tracing::error!(%set, "recovery: no copy of the set exists any more");
        }
        RecoveryNote::ShareVanished { set, share } => {
            tracing::warn!(%set, share, "recovery: an exposed share was gone and is offered again");
        }
        RecoveryNote::ShareWritable { set, share } => {
            tracing::warn!(%set, share, "recovery: the share of a recovered set was writable and is made read-only");
        }
        RecoveryNote::NotPersistent(set) => {
            tracing::info!(%set, "recovery: the set does not outlive a reboot and is removed");
        }
        RecoveryNote::DebtPaid(artefact) => {
            tracing::info!(?artefact, "recovery: what was left over is gone");
        }
        other => tracing::info!(note = ?other, "recovery"),
    }
}
