//! `trait SnapshotBackend`, its contract and its errors.

use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::job::{
    BackendName, CopyRef, CopySource, Exposure, Failure, FailureKind, KeepSource, VolumeId,
};
use rustix::io::Errno;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a backend says of a share's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Unit of a snapshot.
    pub volume: VolumeId,
    /// Path of the directory below the volume's root.
    pub inner: PathBuf,
    /// \[2.2.2.3\] SHADOW_COPY_COMPATIBILITY_VALUES.
    pub compatibility: i32,
}

/// What `vssadmin list providers` shows of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFacts {
    /// Name for people.
    pub name: Cow<'static, str>,
    /// "Software", "Hardware" or "File share".
    pub kind: &'static str,
    /// The provider's id, fixed for ever.
    pub id: uuid::Uuid,
    /// Its version.
    pub version: Cow<'static, str>,
}

/// A snapshot that is kept of a recovered copy: read-only, and no part of any set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The backend that has it.
    pub backend: BackendName,
    /// The volume of the copy that it was made of.
    pub volume: VolumeId,
    /// The base share for whose sake it is kept.
    pub share: ShareName,
    /// Its name among the share's.
    pub name: String,
    /// Creation time of the copy.
    pub created: FileTime,
    /// The copy that it was made of; may have gone long since.
    pub copy: ShadowCopyId,
    /// The share's directory in it.
    pub path: PathBuf,
}

/// What a copy takes of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that would be free without it.
    pub exclusive: u64,
    /// Bytes that its files have, shared ones too.
    pub referenced: u64,
}

/// A time limit and a cancel flag that long work looks at between its steps.
#[derive(Debug, Clone, Default)]
pub struct Deadline {
    /// Past this instant the work stops with [`BackendError::Deadline`].
    pub at: Option<Instant>,
    /// Set by the owner of a set that has gone.
    pub cancelled: std::sync::Arc<AtomicBool>,
}

impl Deadline {
    /// Ends `limit` from now; `None` for no limit.
    #[must_use]
    pub fn within(limit: Option<Duration>) -> Self {
        Self {
            at: limit.and_then(|limit| Instant::now().checked_add(limit)),
            cancelled: std::sync::Arc::default(),
        }
    }

    /// # Errors
    /// [`BackendError::Cancelled`] or [`BackendError::Deadline`] once the work must stop.
    pub fn check(&self) -> Result<(), BackendError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(BackendError::Cancelled);
        }
        match self.at {
            Some(at) if Instant::now() >= at => Err(BackendError::Deadline),
            _ => Ok(()),
        }
    }
}

/// Why a backend refused; each says what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The directory cannot be snapshotted: the reason names the path in the way.
    #[error("{path}: {reason}")]
    Unsupported {
        /// The offending path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What should be mounted there is not: the directory would be taken for something else, so that
    /// no other backend may have it either.
    #[error("{path}: {reason}")]
    Absent {
        /// Where it should be.
        path: PathBuf,
        /// What.
        reason: String,
    },
    /// The directory does not exist.
    #[error("{0} does not exist")]
    NotFound(PathBuf),
    /// No space or quota left.
    #[error("no space for a snapshot of {0}")]
    NoSpace(String),
    /// The limit has passed; everything was undone.
    #[error("the time limit passed")]
    Deadline,
    /// The owner of the work told it to stop; everything was undone.
    #[error("cancelled")]
    Cancelled,
    /// Somebody still holds the artefact; worth repeating.
    #[error("{0} is still in use")]
    Busy(String),
    /// The name exists but is not what this backend made: never touched.
    #[error("{0} exists and is not ours")]
    Conflict(PathBuf),
    /// The process lacks a right that the backend needs.
    #[error("{operation} on {path}: permission denied; run fsrvpd as root")]
    Denied {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// A seal that was tried and did not hold.
    #[error("the copy at {0} can still be written")]
    NotSealed(PathBuf),
    /// A program that was asked refused, failed, or was not understood.
    #[error("{program}: {detail}")]
    Tool {
        /// Which, and what it was asked to do.
        program: String,
        /// What it said.
        detail: String,
    },
    /// A program was killed or died: what it has done is not known until the copies are enumerated.
    #[error("{program}: {detail}; what it has done is not known")]
    Indeterminate {
        /// Which, and what it was asked to do.
        program: String,
        /// What happened to it.
        detail: String,
    },
    /// A system call failed.
    #[error("{operation} on {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl BackendError {
    /// The path in the way, or the one that could not be worked on.
    #[must_use]
    pub fn object(&self) -> Option<&Path> {
        match self {
            Self::Unsupported { path, .. }
            | Self::Absent { path, .. }
            | Self::NotFound(path)
            | Self::Conflict(path)
            | Self::Denied { path, .. }
            | Self::NotSealed(path)
            | Self::Io { path, .. } => Some(path),
            Self::NoSpace(_)
            | Self::Deadline
            | Self::Cancelled
            | Self::Busy(_)
            | Self::Tool { .. }
            | Self::Indeterminate { .. } => None,
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let kind = match &error {
            BackendError::Unsupported { .. } | BackendError::Absent { .. } => {
                FailureKind::Unsupported
            }
            BackendError::NotFound(_) => FailureKind::NotFound,
            BackendError::NoSpace(_) => FailureKind::NoSpace,
            BackendError::Deadline => FailureKind::Deadline,
            BackendError::Cancelled => FailureKind::Lost,
            BackendError::Busy(_) => FailureKind::Busy,
            BackendError::Conflict(_)
            | BackendError::Denied { .. }
            | BackendError::NotSealed(_)
            | BackendError::Tool { .. }
            | BackendError::Indeterminate { .. }
            | BackendError::Io { .. } => FailureKind::Other,
        };
        let mut detail = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            detail = format!("{detail}: {cause}");
            source = cause.source();
        }
        if let Some(hint) = hint(&error) {
            detail = format!("{detail}; {hint}");
        }
        Self {
            object: error.object().map(Path::to_owned),
            ..Self::new(kind, detail)
        }
    }
}

/// What an operator can do, where the error does not say it.
fn hint(error: &BackendError) -> Option<&'static str> {
    match error {
        BackendError::NotFound(_) => Some("was it deleted, renamed or not mounted?"),
        BackendError::NoSpace(_) => Some("free some there, or raise its quota"),
        BackendError::Deadline => Some(
            "everything was undone: let the volume do less at that time, or raise commit_limit",
        ),
        BackendError::Busy(_) => Some("look for what has it open"),
        BackendError::Conflict(_) => Some("it is left alone: move it away"),
        BackendError::NotSealed(_) => Some(
            "something on this server writes to it by a path of its own, or smbd does not see our \
             mounts",
        ),
        BackendError::Io { source, .. } => match Errno::from_io_error(source)? {
            Errno::ROFS => Some("remount its file system for writing"),
            Errno::IO | Errno::UCLEAN => {
                Some("its disk or file system is damaged: look at the kernel's log")
            }
            Errno::NODEV | Errno::NXIO => Some("mount its file system"),
            _ => None,
        },
        BackendError::Unsupported { .. }
        | BackendError::Absent { .. }
        | BackendError::Cancelled
        | BackendError::Denied { .. }
        | BackendError::Tool { .. }
        | BackendError::Indeterminate { .. } => None,
    }
}

/// A snapshot backend. All methods may block and may be called from several threads; the caller
/// never runs two of `commit`, `seal` and `delete` for one copy at the same time.
pub trait SnapshotBackend: Send + Sync {
    /// The name in configuration and store.
    fn name(&self) -> BackendName;

    /// What an operator sees of the provider.
    fn facts(&self) -> ProviderFacts;

    /// Identifies the volume of a share's directory and refuses what a snapshot would not hold:
    /// mounts and nested volumes below it. No side effects.
    ///
    /// # Errors
    /// `Unsupported` with the path in the way, `NotFound`.
    fn probe(&self, directory: &Path) -> Result<Probe, BackendError>;

    /// The same for the directory of a share for which something special may be configured.
    ///
    /// # Errors
    /// As `probe`.
    fn probe_share(&self, directory: &Path, _share: &ShareName) -> Result<Probe, BackendError> {
        self.probe(directory)
    }

    /// Everything that can be done before writers are frozen: flush, space, area. Repeatable, may
    /// be abandoned; leaves nothing but what `delete` removes.
    ///
    /// # Errors
    /// As `probe`; `NoSpace`.
    fn prepare(&self, copies: &[CopySource], deadline: &Deadline) -> Result<(), BackendError>;

    /// Makes the snapshots of all `copies`, durable on return, all or none: after an error nothing
    /// bears any of their ids. Idempotent by id.
    ///
    /// # Errors
    /// As `prepare`; `Deadline`, `Cancelled`.
    fn commit(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError>;

    /// Makes a copy reachable for smbd and for previous versions; gives the share's directory in
    /// it. Idempotent; to be called again for every exposure when the service starts, for mounts
    /// do not outlive a reboot.
    ///
    /// # Errors
    /// `NotFound` if the copy does not exist; `Io` if that cannot be said, because its volume
    /// cannot be reached.
    fn expose(&self, exposure: &Exposure) -> Result<PathBuf, BackendError>;

    /// Makes a copy read-only for good: after success no write by any handle reaches it, and what
    /// auto-recovery wrote is durable. Idempotent.
    ///
    /// # Errors
    /// `Busy` while a writer cannot be shut out.
    fn seal(&self, copy: &CopyRef) -> Result<(), BackendError>;

    /// Tries the seal by attempt through `via` (a directory of the copy as the SMB server sees
    /// it): opens a file for writing, creates and removes a probe; never writes data.
    ///
    /// # Errors
    /// `NotSealed` if an attempt succeeded.
    fn verify_sealed(&self, copy: &CopyRef, via: &Path) -> Result<(), BackendError>;

    /// Deletes a copy in every form it may have, with its links and mounts; durable on return as
    /// far as sight goes, space may come back later. Absent is success.
    ///
    /// # Errors
    /// `Busy`, `Conflict`, `Io`.
    fn delete(&self, copy: &CopyRef) -> Result<(), BackendError>;

    /// As [`Self::delete`], and calls `out_of_sight` as soon as nobody finds the copy any more,
    /// even if a power cut could still bring it back. Not called when the copy is still there.
    ///
    /// # Errors
    /// As [`Self::delete`].
    fn delete_telling(
        &self,
        copy: &CopyRef,
        out_of_sight: &mut dyn FnMut(),
    ) -> Result<(), BackendError> {
        self.delete(copy)?;
        out_of_sight();
        Ok(())
    }

    /// All copies of this backend, partial forms too, on the volumes that it knows or finds. A copy
    /// that is not listed may be on a volume that is not there now: `expose` tells.
    ///
    /// # Errors
    /// `Io`.
    fn enumerate(&self) -> Result<Vec<CopyRef>, BackendError>;

    /// As [`enumerate`](Self::enumerate), at a start with thousands of `recorded` copies: one of
    /// them that is there by its name may be given as it is recorded, without a look into it.
    ///
    /// # Errors
    /// As [`enumerate`](Self::enumerate).
    fn enumerate_beside(&self, recorded: &[CopyRef]) -> Result<Vec<CopyRef>, BackendError> {
        let _ = recorded;
        self.enumerate()
    }

    /// Makes copies reachable again that [`expose`](Self::expose) was called for before the service
    /// started, one result each. A copy that is there by its name, with all that leads to it, needs
    /// no look into it.
    ///
    /// # Errors
    /// As [`expose`](Self::expose).
    fn reach(&self, exposures: &[Exposure]) -> Vec<Result<(), BackendError>> {
        exposures
            .iter()
            .map(|exposure| self.expose(exposure).map(drop))
            .collect()
    }

    /// Keeps a read-only snapshot of a sealed copy under `name`, durable on return. It outlives the
    /// copy, and neither [`enumerate`](Self::enumerate) nor recovery ever takes it for one.
    /// Idempotent: the same copy under the same name is kept once. A crash leaves it whole or not
    /// at all to [`list_kept`](Self::list_kept).
    ///
    /// # Errors
    /// `Unsupported` if this backend keeps none, `NotFound` if the copy does not exist, `NotSealed`
    /// if it can still be written, `Conflict` if the share has another of that name.
    fn keep(&self, source: &KeepSource, name: &str) -> Result<(), BackendError> {
        Err(BackendError::Unsupported {
            path: PathBuf::from(&source.copy.volume.0),
            reason: format!("backend {} cannot keep {name}", self.name()),
        })
    }

    /// All kept snapshots, on the volumes that it knows or finds.
    ///
    /// # Errors
    /// `Io`.
    fn list_kept(&self) -> Result<Vec<Kept>, BackendError> {
        Ok(Vec::new())
    }

    /// Deletes a kept snapshot that [`list_kept`](Self::list_kept) gave. Absent is success.
    ///
    /// # Errors
    /// `Busy`, `Conflict`, `Io`.
    fn delete_kept(&self, kept: &Kept) -> Result<(), BackendError> {
        Err(BackendError::NotFound(kept.path.clone()))
    }

    /// What a copy whose directory is `path` takes of the disk; `None` if that cannot be said. May
    /// take long, for it looks at every file.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    fn usage(&self, path: &Path) -> Result<Option<Usage>, BackendError> {
        let _ = path;
        Ok(None)
    }

    /// Waits until what is done in the background is done, `limit` at most; whether it is. What is
    /// left is done after the next start.
    fn finish(&self, limit: Duration) -> bool {
        let _ = limit;
        true
    }

    /// The folder in which the previous versions of a share show, for `shadow:snapdir`.
    fn previous_versions(&self, directory: &Path, share: &ShareName) -> Option<PathBuf>;
}
