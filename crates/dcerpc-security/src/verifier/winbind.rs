//! Samba's winbindd.

use fsrvp_sys::wbclient::{self, Response, UserInfo, WbcError};
use zeroize::Zeroize;

use super::{Account, Logon, Ticket, Verified, Verifier, VerifyError};
use crate::Key16;

/// NT_STATUS_NO_SUCH_USER.
const NO_SUCH_USER: u32 = 0xc000_0064;
/// NT_STATUS_NO_SUCH_DOMAIN.
const NO_SUCH_DOMAIN: u32 = 0xc000_00df;
/// NT_STATUS_WRONG_PASSWORD.
const WRONG_PASSWORD: u32 = 0xc000_006a;
/// NT_STATUS_NO_LOGON_SERVERS.
const NO_LOGON_SERVERS: u32 = 0xc000_005e;

/// Asks winbindd, who also knows the groups. Needs its privileged pipe: root, or the group
/// `winbindd_priv`.
#[derive(Debug, Clone)]
pub struct Winbind {
    standalone_name: Option<String>,
}

impl Winbind {
    /// `standalone_name` is the NetBIOS name of a stand-alone server and `None` elsewhere.
    #[must_use]
    pub fn new(standalone_name: Option<String>) -> Self {
        Self { standalone_name }
    }

    fn ask(&self, logon: &Logon<'_>, domain: &str) -> Result<UserInfo, WbcError> {
        wbclient::authenticate_response(&Response {
            account: logon.user,
            domain,
            workstation: logon.workstation,
            challenge: logon.challenge,
            lm: logon.lm_response,
            nt: logon.nt_response,
        })
    }
}

impl Verifier for Winbind {
    fn verify(&self, logon: &Logon<'_>) -> Result<Verified, VerifyError> {
        let mut outcome = self.ask(logon, logon.domain);
        // winbindd of a stand-alone server knows no domain but its own, where smbd takes every
        // domain for its own.
        if let (Err(WbcError::Authentication { nt_status, .. }), Some(name)) =
            (&outcome, &self.standalone_name)
            && [NO_LOGON_SERVERS, NO_SUCH_DOMAIN].contains(nt_status)
            && logon.domain.to_lowercase() != name.to_lowercase()
        {
            outcome = self.ask(logon, name);
            // The response covers the domain that the client named, and winbindd checked it with
            // another: this says nothing about the password.
            if let Err(WbcError::Authentication {
                nt_status: WRONG_PASSWORD,
                ..
            }) = &outcome
            {
                let text = format!("winbind cannot check logons to domain {:?}", logon.domain);
                return Err(VerifyError::Unavailable(text));
            }
        }
        let mut info = outcome.map_err(|error| self.refusal(error, logon.user))?;
        let base_key = Key16::from(info.session_key);
        info.session_key.zeroize();
        Ok(Verified {
            base_key,
            account: account(info)?,
        })
    }

    fn resolve(&self, ticket: &Ticket<'_>) -> Result<Account, VerifyError> {
        let unknown = || VerifyError::UnknownAccount(ticket.principal.to_owned());
        let info = match wbclient::authenticate_pac(ticket.pac.ok_or_else(unknown)?) {
            Ok(info) => info,
            Err(error @ WbcError::NotAvailable) => {
                return Err(VerifyError::Unavailable(error.to_string()));
            }
            Err(error) => {
                tracing::debug!(%error, principal = ticket.principal, "winbind cannot read the PAC");
                return Err(unknown());
            }
        };
        account(info)
    }
}

impl Winbind {
    fn refusal(&self, error: WbcError, user: &str) -> VerifyError {
        match &error {
            WbcError::Authentication {
                nt_status: NO_SUCH_USER | NO_SUCH_DOMAIN,
                ..
            } => VerifyError::UnknownAccount(user.to_owned()),
            // On a stand-alone server this, too, means that the domain is not known.
            WbcError::Authentication {
                nt_status: NO_LOGON_SERVERS,
                ..
            } => VerifyError::Unavailable(error.to_string()),
            WbcError::Authentication { .. } => VerifyError::Refused(error.to_string()),
            _ => VerifyError::Unavailable(error.to_string()),
        }
    }
}

/// The account with the SIDs of its groups and BUILTIN aliases.
fn account(info: UserInfo) -> Result<Account, VerifyError> {
    let name = format!("{}\\{}", info.domain, info.account);
    if info.guest {
        return Err(VerifyError::Refused(format!("{name} is a guest")));
    }
    // Groups occur more than once, the primary group always.
    let mut sids = Vec::new();
    for sid in info.sids.into_iter().chain(info.builtin_aliases) {
        if !sids.contains(&sid) {
            sids.push(sid);
        }
    }
    Ok(Account {
        has_authority: !sids.is_empty(),
        name,
        sids,
    })
}
