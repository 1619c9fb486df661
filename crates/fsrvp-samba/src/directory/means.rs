//! The two ways to change Samba's registry: a resident helper, and Samba's own tools.

use super::definition::Definition;
use crate::command::CommandError;
use fsrvp_proto::job::{Failure, FailureKind};

/// Why a change did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum MeansError {
    /// The registry has no such share.
    #[error("the share {0:?} does not exist in Samba's registry; was it deleted by hand?")]
    NotFound(String),
    /// A share of this name exists and does not bear our mark: it is left alone.
    #[error("the share {0:?} exists and is not ours; rename it")]
    Foreign(String),
    /// The means cannot be used now; another may.
    #[error("{0}")]
    Unavailable(String),
    /// A tool failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Samba refused.
    #[error("{0}")]
    Failed(String),
}

impl From<MeansError> for Failure {
    fn from(error: MeansError) -> Self {
        let kind = match &error {
            MeansError::NotFound(_) => FailureKind::NotFound,
            MeansError::Foreign(_)
            | MeansError::Unavailable(_)
            | MeansError::Command(_)
            | MeansError::Failed(_) => FailureKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

/// Reads and changes the shares of Samba's registry and the share security descriptors.
///
/// Every method is idempotent. Only shares with our mark are ever replaced or removed.
pub(super) trait Means: Send + Sync {
    /// A share of the registry, without case.
    fn share(&self, name: &str) -> Result<Option<Definition>, MeansError>;

    /// All shares of the registry.
    fn shares(&self) -> Result<Vec<Definition>, MeansError>;

    /// Creates shares, or replaces ours, all or none. No client ever sees one of them without
    /// the security descriptor of its base share.
    fn publish(&self, clones: &[Published]) -> Result<(), MeansError>;

    /// Replaces the definitions of shares that exist and are ours; descriptors stay.
    fn redefine(&self, shares: &[Definition]) -> Result<(), MeansError>;

    /// Removes a share of ours and its security descriptor, and gives what it was. Absent is
    /// success.
    fn remove(&self, name: &str) -> Result<Option<Definition>, MeansError>;
}

/// A share to be published.
#[derive(Debug)]
pub(super) struct Published {
    /// Its definition.
    pub(super) definition: Definition,
    /// The share whose security descriptor it gets.
    pub(super) base: String,
}
