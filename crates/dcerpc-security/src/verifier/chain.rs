//! Several verifiers, asked in turn.

use std::path::PathBuf;
use std::sync::Arc;

use super::{
    Account, Logon, SambaPasswords, Ticket, UsersFile, UsersFileError, Verified, Verifier,
    VerifyError,
};
use crate::Limitation;

/// Asks one verifier after the other until one knows the account.
///
/// A refusal is final. Another verifier is asked only where the account is unknown or the verifier
/// cannot be asked.
#[derive(Debug, Clone, Default)]
pub struct Chain(Vec<Arc<dyn Verifier>>);

impl Chain {
    /// A chain in the order given.
    #[must_use]
    pub fn new(verifiers: Vec<Arc<dyn Verifier>>) -> Self {
        Self(verifiers)
    }

    fn ask<T>(
        &self,
        ask: impl Fn(&dyn Verifier) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        let mut last = VerifyError::Unavailable("no verifier is configured".to_owned());
        for (index, verifier) in self.0.iter().enumerate() {
            match ask(verifier.as_ref()) {
                Ok(answer) => return Ok(answer),
                Err(error @ VerifyError::Refused(_)) => return Err(error),
                Err(error @ VerifyError::Unavailable(_)) => last = error,
                // Somebody who could not be asked may have known the account.
                Err(error @ VerifyError::UnknownAccount(_)) => {
                    if index == 0 || matches!(last, VerifyError::UnknownAccount(_)) {
                        last = error;
                    }
                }
            }
        }
        Err(last)
    }
}

impl Verifier for Chain {
    fn verify(&self, logon: &Logon<'_>) -> Result<Verified, VerifyError> {
        self.ask(|verifier| verifier.verify(logon))
    }

    fn resolve(&self, ticket: &Ticket<'_>) -> Result<Account, VerifyError> {
        self.ask(|verifier| verifier.resolve(ticket))
    }
}

/// Which verifiers a server uses; asked in the order of the fields.
#[derive(Debug, Clone, Default)]
pub struct VerifierConfig {
    /// Users file of a laboratory.
    pub users_file: Option<PathBuf>,
    /// Ask winbindd.
    pub winbind: bool,
    /// Read NT hashes from Samba's own account database (needs root).
    pub samba_passwords: bool,
    /// Samba's configuration file; `None`: Samba's own default.
    pub smb_conf: Option<PathBuf>,
    /// Whether Samba is a stand-alone server: every domain that a client names is then its own.
    pub standalone: bool,
    /// Samba's NetBIOS name.
    pub netbios_name: String,
}

impl VerifierConfig {
    /// Builds the chain, and says what this build or system cannot do now.
    ///
    /// # Errors
    /// [`UsersFileError`] if the users file cannot be used.
    pub fn build(&self) -> Result<(Chain, Vec<Limitation>), UsersFileError> {
        let mut verifiers: Vec<Arc<dyn Verifier>> = Vec::new();
        let mut limitations = Vec::new();
        let mut limited = |text: &str| limitations.push(Limitation(text.to_owned()));
        if let Some(path) = &self.users_file {
            verifiers.push(Arc::new(UsersFile::load(path)?));
        }
        if self.winbind {
            #[cfg(feature = "winbind")]
            {
                if let Err(error) = ping() {
                    limited(&format!(
                        "logons cannot be checked by winbind until it answers: {error}"
                    ));
                }
                verifiers.push(Arc::new(super::Winbind::new(
                    self.standalone.then(|| self.netbios_name.clone()),
                )));
            }
            #[cfg(not(feature = "winbind"))]
            limited("logons cannot be checked by winbind: built without it");
        }
        if self.samba_passwords {
            verifiers.push(Arc::new(SambaPasswords::new(
                self.smb_conf.clone(),
                self.netbios_name.clone(),
                self.standalone,
            )));
        }
        if verifiers.is_empty() {
            limited("no logon can be checked: no verifier is configured");
        }
        Ok((Chain::new(verifiers), limitations))
    }
}

/// Whether winbindd answers now. One that hangs must not hold up the start.
#[cfg(feature = "winbind")]
fn ping() -> Result<(), String> {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(2);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(fsrvp_sys::wbclient::ping()));
    match receiver.recv_timeout(LIMIT) {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("it hangs".to_owned()),
    }
}
