//! `trait ShareDirectory`: what the agent's driver needs of the SMB server's shares.

use crate::job::{Exposure, Failure, FailureKind};
use fsrvp_idl::ShareName;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A share as the SMB server defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseShare {
    /// The name as the server spells it.
    pub name: ShareName,
    /// Its directory.
    pub path: PathBuf,
}

/// An exposed share that the directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedShare {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// An exposure with the directory that the backend has given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What is exposed.
    pub exposure: Exposure,
    /// The share's directory in the snapshot, as smbd sees it.
    pub path: PathBuf,
}

/// The shares of one SMB server. All methods may block and may be called from several threads.
///
/// Every method is idempotent: repeating it after a crash at any point ends in the same state.
pub trait ShareDirectory: Send + Sync {
    /// Reads the definition of a base share, whatever file it stands in, without case.
    ///
    /// # Errors
    /// [`FailureKind::NotFound`] if there is no such share.
    fn lookup(&self, share: &ShareName) -> Result<BaseShare, Failure>;

    /// Clones the base shares under their new names, definition and security descriptor as they
    /// are at this moment, all in one step: after an error none of the new shares is left.
    ///
    /// # Errors
    /// `NotFound` if a base share has gone.
    fn publish(&self, shares: &[Publication]) -> Result<(), Failure>;

    /// Turns exposed shares read-only and cuts every connection to them; when it returns no
    /// client has a handle that was opened while the share was writable.
    ///
    /// # Errors
    /// `NotFound` if one of them does not exist.
    fn make_read_only(&self, names: &[String]) -> Result<(), Failure>;

    /// Removes an exposed share, its security descriptor and its connections. Absent is success.
    ///
    /// # Errors
    /// The share is still there.
    fn withdraw(&self, name: &str) -> Result<(), Failure>;

    /// All shares that bear the mark of an exposed share of this agent.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn exposed(&self) -> Result<Vec<ExposedShare>, Failure>;

    /// All base shares that can be looked up, by the names that the server gives them.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn bases(&self) -> Result<Vec<ShareName>, Failure> {
        Err(cannot("list its shares"))
    }

    /// Which of these exposed shares an SMB client has connected, or has a file below their
    /// directories open, through whatever share.
    ///
    /// # Errors
    /// It cannot be said: they have to be taken for used.
    fn in_use(&self, names: &[String]) -> Result<BTreeSet<String>, Failure> {
        let _ = names;
        Err(cannot("tell which shares are in use"))
    }

    /// The process whose mount namespace the SMB clients are served from, if it runs: a seal is
    /// tried through `/proc/<pid>/root`.
    fn serving_process(&self) -> Option<u32>;

    /// The SMB server's own names: NetBIOS name, aliases, additional DNS host names.
    ///
    /// # Errors
    /// The configuration cannot be read.
    fn server_names(&self) -> Result<Vec<String>, Failure>;
}

fn cannot(what: &str) -> Failure {
    let detail = format!("this share directory cannot {what}");
    Failure::new(FailureKind::Unsupported, detail)
}
