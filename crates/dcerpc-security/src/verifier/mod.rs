//! Who checks a logon and says which SIDs the account has.

mod chain;
mod ntlmv2;
mod samba_passwords;
#[cfg(test)]
mod tests;
mod users_file;
#[cfg(feature = "winbind")]
mod winbind;

use std::fmt;

use dcerpc_proto::security::SecurityError;

use crate::Key16;

pub use chain::{Chain, VerifierConfig};
pub use samba_passwords::SambaPasswords;
pub use users_file::{UsersFile, UsersFileError};
#[cfg(feature = "winbind")]
pub use winbind::Winbind;

/// An NTLMv2 logon as it came over the wire; nothing in it is proven yet.
#[derive(Clone, Copy)]
pub struct Logon<'a> {
    /// UserName of the AUTHENTICATE_MESSAGE.
    pub user: &'a str,
    /// DomainName of the AUTHENTICATE_MESSAGE.
    pub domain: &'a str,
    /// Workstation of the AUTHENTICATE_MESSAGE.
    pub workstation: &'a str,
    /// Our ServerChallenge.
    pub challenge: [u8; 8],
    /// LmChallengeResponse.
    pub lm_response: &'a [u8],
    /// NtChallengeResponse: NTProofStr and the NTLMv2_CLIENT_CHALLENGE.
    pub nt_response: &'a [u8],
}

impl fmt::Debug for Logon<'_> {
    /// Without the responses: passwords can be guessed from them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logon")
            .field("user", &self.user)
            .field("domain", &self.domain)
            .field("workstation", &self.workstation)
            .finish_non_exhaustive()
    }
}

/// A Kerberos client that GSSAPI has authenticated with our key.
#[derive(Debug, Clone, Copy)]
pub struct Ticket<'a> {
    /// The client's principal, `name@REALM`.
    pub principal: &'a str,
    /// The whole PAC (`urn:mspac:`); only ever one that GSSAPI marked authenticated.
    pub pac: Option<&'a [u8]>,
}

/// The account behind a logon, in the verifier's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `DOMAIN\account`.
    pub name: String,
    /// The user's SID and all group SIDs as `S-1-…` text, BUILTIN aliases included.
    pub sids: Vec<String>,
    /// Whether the SIDs come from an authority; `false`: only the name is known.
    pub has_authority: bool,
}

/// A logon whose password is proven.
#[derive(Debug, Clone)]
pub struct Verified {
    /// \[MS-NLMP 3.3.2\] SessionBaseKey.
    pub base_key: Key16,
    /// The account.
    pub account: Account,
}

/// Refuses accounts that stand for nobody: anonymous, the built-in guests and the Guest account of
/// any domain.
pub(crate) fn refuse_guests(account: &Account) -> Result<(), SecurityError> {
    let is_guest = |sid: &String| {
        sid == "S-1-5-7"
            || sid == "S-1-5-32-546"
            || (sid.starts_with("S-1-5-21-") && sid.ends_with("-501"))
    };
    match account.sids.iter().find(|sid| is_guest(sid)) {
        Some(sid) => Err(SecurityError::Refused(format!(
            "{} is a guest ({sid})",
            account.name
        ))),
        None => Ok(()),
    }
}

/// Why a verifier did not say yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The account is not one of this verifier's; another one may know it.
    #[error("no such account: {0}")]
    UnknownAccount(String),
    /// The account is this verifier's and the logon is refused for good.
    #[error("{0}")]
    Refused(String),
    /// The verifier could not be asked; another one may be able to answer.
    #[error("{0}")]
    Unavailable(String),
}

impl From<VerifyError> for SecurityError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::UnknownAccount(_) => Self::Refused(error.to_string()),
            VerifyError::Refused(reason) => Self::Refused(reason),
            VerifyError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

/// Checks logons. Calls may block; contexts call it only from
/// [`SecurityContext::step`](dcerpc_proto::security::SecurityContext::step).
pub trait Verifier: Send + Sync + fmt::Debug {
    /// Checks the NTLMv2 response and returns the account and its session base key. The account
    /// is the verifier's, never the wire's text.
    ///
    /// # Errors
    /// See [`VerifyError`].
    fn verify(&self, logon: &Logon<'_>) -> Result<Verified, VerifyError>;

    /// Finds the account and SIDs of an authenticated Kerberos client.
    ///
    /// # Errors
    /// See [`VerifyError`]; [`VerifyError::UnknownAccount`] where the verifier cannot tell.
    fn resolve(&self, ticket: &Ticket<'_>) -> Result<Account, VerifyError> {
        Err(VerifyError::UnknownAccount(ticket.principal.to_owned()))
    }
}
