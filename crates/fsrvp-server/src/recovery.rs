//! What happens at start, before the first client is served: the store is compared with the
//! backends and the share directory, and the agent's decision is carried out.

use crate::store::{StateStore, StoreError};
use fsrvp_proto::directory::Publication;
use fsrvp_proto::durable::{Table, TableError};
use fsrvp_proto::job::{Exposure, Failure};
use fsrvp_proto::recovery::{Found, RecoveryNote, recover};
use fsrvp_proto::{Now, ShareDirectory};
use fsrvp_snapshot::Backends;

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
    /// The share directory cannot be read.
    #[error("the exposed shares cannot be listed: {0}")]
    Directory(Failure),
}

/// Recovers the table: what it decides is durable and published on return; what has to be removed
/// stands in the table as debts, which the agent pays.
///
/// # Errors
/// The store, a backend or the directory cannot be read: nothing has been changed then.
pub fn run(
    store: &dyn StateStore,
    backends: &Backends,
    directory: &dyn ShareDirectory,
    boot_id: &str,
    now: Now,
) -> Result<Table, RecoveryError> {
    let table = Table::load(store.load()?)?;
    let mut found = Found::default();
    for backend in backends.iter() {
        let copies = backend
            .enumerate()
            .map_err(|error| RecoveryError::Backend {
                backend: backend.name().to_string(),
                failure: error.into(),
            })?;
        found.copies.extend(copies);
    }
    found.shares = directory.exposed().map_err(RecoveryError::Directory)?;
    let recovered = recover(table, found, boot_id, now);
    for note in &recovered.report {
        report(note);
    }
    if !recovered.edits.is_empty() {
        store.commit(&recovered.edits)?;
    }
    for exposure in &recovered.publish {
        if let Err(failure) = publish(backends, directory, exposure) {
            tracing::error!(
                share = exposure.name,
                error = %failure,
                "a shadow copy could not be offered again; restart fsrvpd when this is mended"
            );
        }
    }
    Ok(recovered.table)
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
