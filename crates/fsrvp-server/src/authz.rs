//! Who may call. Two identities, never merged: the one that the pipe's hand-over gives (the SMB
//! session's user) and the one that the RPC security context proves.

use dcerpc_proto::security::Identity;
use std::collections::BTreeSet;

/// BUILTIN\Administrators.
const ADMINISTRATORS: &str = "S-1-5-32-544";
/// BUILTIN\Backup Operators.
const BACKUP_OPERATORS: &str = "S-1-5-32-551";
/// SIDs of callers whom nobody has authenticated: ANONYMOUS LOGON, BUILTIN\Guests.
const UNAUTHENTICATED: [&str; 2] = ["S-1-5-7", "S-1-5-32-546"];

/// The SMB session's user, as smbd hands it over with the pipe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PipeIdentity {
    /// `DOMAIN\account`.
    pub account: String,
    /// User, primary group and all other SIDs; flag SIDs stripped.
    pub sids: Vec<String>,
    /// Whether the token holds SeBackupPrivilege.
    pub has_backup_privilege: bool,
}

impl PipeIdentity {
    /// Who it is, whatever the account is called: the SID of the user, which comes first.
    #[must_use]
    pub fn user(&self) -> &str {
        self.sids.first().unwrap_or(&self.account)
    }
}

/// The rule of one server.
#[derive(Debug, Clone)]
pub struct Authorizer {
    admitted: BTreeSet<String>,
    backup_privilege: bool,
}

/// Why a caller is refused; for the log, never for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Neither the pipe nor a security context says who calls.
    #[error("the caller has no identity")]
    NoIdentity,
    /// Anonymous or guest.
    #[error("anonymous and guest callers are never admitted")]
    Unauthenticated,
    /// The security context proves an account, but nobody can tell its groups.
    #[error("the groups of the account cannot be told, and the pipe belongs to another account")]
    UnknownGroups,
    /// An ordinary user.
    #[error("not a member of Administrators, Backup Operators or a configured group")]
    NotAMember,
}

impl Authorizer {
    /// Admits Administrators, Backup Operators and `admin_sids`; with `backup_privilege` also
    /// whoever holds SeBackupPrivilege.
    #[must_use]
    pub fn new(admin_sids: &[String], backup_privilege: bool) -> Self {
        let admitted = [ADMINISTRATORS, BACKUP_OPERATORS]
            .into_iter()
            .map(str::to_owned)
            .chain(admin_sids.iter().map(|sid| sid.to_uppercase()))
            .collect();
        Self {
            admitted,
            backup_privilege,
        }
    }

    /// # Errors
    /// The caller must get E_ACCESSDENIED; the reason is for the log.
    pub fn check(
        &self,
        pipe: Option<&PipeIdentity>,
        context: Option<&Identity>,
    ) -> Result<(), Refusal> {
        let same_account = match (pipe, context) {
            (Some(pipe), Some(context)) => is_same_account(pipe, context),
            _ => true,
        };
        let sids: &[String] = match (pipe, context) {
            (_, Some(context)) if context.has_authority => &context.sids,
            (Some(pipe), Some(_)) if same_account => &pipe.sids,
            (_, Some(_)) => return Err(Refusal::UnknownGroups),
            (Some(pipe), None) => &pipe.sids,
            (None, None) => return Err(Refusal::NoIdentity),
        };
        if sids
            .iter()
            .any(|sid| UNAUTHENTICATED.contains(&sid.as_str()))
        {
            return Err(Refusal::Unauthenticated);
        }
        let by_privilege = self.backup_privilege
            && same_account
            && pipe.is_some_and(|pipe| pipe.has_backup_privilege);
        if by_privilege || sids.iter().any(|sid| self.admitted.contains(sid.as_str())) {
            Ok(())
        } else {
            Err(Refusal::NotAMember)
        }
    }
}

/// By SID where both have one, else by name without case.
fn is_same_account(pipe: &PipeIdentity, context: &Identity) -> bool {
    match (pipe.sids.first(), context.sids.first()) {
        (Some(a), Some(b)) if context.has_authority => a == b,
        _ => !pipe.account.is_empty() && pipe.account.eq_ignore_ascii_case(&context.account),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "S-1-5-21-1-2-3-1000";

    fn pipe(sids: &[&str], privilege: bool) -> PipeIdentity {
        PipeIdentity {
            account: "LAB\\backup".into(),
            sids: sids.iter().map(|s| (*s).to_owned()).collect(),
            has_backup_privilege: privilege,
        }
    }

    fn context(account: &str, sids: &[&str]) -> Identity {
        Identity {
            account: account.into(),
            sids: sids.iter().map(|s| (*s).to_owned()).collect(),
            has_authority: !sids.is_empty(),
            package: "ntlm",
        }
    }

    #[test]
    fn each_way_in_and_each_way_out() {
        let rule = Authorizer::new(&["S-1-5-21-9-9-9-512".to_owned()], true);
        let strict = Authorizer::new(&[], false);
        let plain = pipe(&[USER], false);
        let operator = pipe(&[USER, BACKUP_OPERATORS], false);
        let privileged = pipe(&[USER], true);
        let same = context("lab\\BACKUP", &[]);
        let other = context("LAB\\mallory", &[]);
        let other_sids = context("LAB\\mallory", &["S-1-5-21-1-2-3-1001"]);
        assert_eq!(rule.check(None, None), Err(Refusal::NoIdentity));
        assert_eq!(rule.check(Some(&plain), None), Err(Refusal::NotAMember));
        assert_eq!(rule.check(Some(&operator), None), Ok(()));
        assert_eq!(
            rule.check(Some(&pipe(&[USER, ADMINISTRATORS], false)), None),
            Ok(())
        );
        assert_eq!(
            rule.check(Some(&pipe(&[USER, "S-1-5-21-9-9-9-512"], false)), None),
            Ok(())
        );
        assert_eq!(rule.check(Some(&privileged), None), Ok(()));
        assert_eq!(
            strict.check(Some(&privileged), None),
            Err(Refusal::NotAMember)
        );
        for guest in UNAUTHENTICATED {
            let refused = rule.check(Some(&pipe(&[guest, ADMINISTRATORS], true)), None);
            assert_eq!(refused, Err(Refusal::Unauthenticated));
        }
        assert_eq!(rule.check(Some(&operator), Some(&same)), Ok(()));
        assert_eq!(
            rule.check(Some(&operator), Some(&other)),
            Err(Refusal::UnknownGroups)
        );
        assert_eq!(rule.check(None, Some(&same)), Err(Refusal::UnknownGroups));
        // What the pipe's user may do never adds to what the context's user may do.
        assert_eq!(
            rule.check(Some(&operator), Some(&other_sids)),
            Err(Refusal::NotAMember)
        );
        assert_eq!(
            rule.check(Some(&privileged), Some(&other_sids)),
            Err(Refusal::NotAMember)
        );
        let proven = context("LAB\\mallory", &["S-1-5-21-1-2-3-1001", BACKUP_OPERATORS]);
        assert_eq!(rule.check(Some(&plain), Some(&proven)), Ok(()));
        let proven_same = context("LAB\\backup", &[USER]);
        assert_eq!(rule.check(Some(&privileged), Some(&proven_same)), Ok(()));
    }
}
