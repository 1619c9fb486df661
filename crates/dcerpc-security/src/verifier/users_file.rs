//! A file of users, for laboratories.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::ntlmv2::prove;
use super::samba_passwords::parse_hash;
use super::{Account, Logon, Ticket, Verified, Verifier, VerifyError};
use crate::Key16;
use crate::ntlm::crypto::nt_hash;

/// Users from a TOML file:
///
/// ```toml
/// [[user]]
/// name = "backup"
/// domain = "LAB"                       # optional: any domain fits without it
/// password = "…"                       # or nt_hash = "32 hexadecimal digits"
/// sids = ["S-1-5-21-1-2-3-1000", "S-1-5-32-551"]
/// principals = ["backup@LAB.EXAMPLE"]  # optional: for Kerberos
/// disabled = false                     # optional
/// ```
#[derive(Debug)]
pub struct UsersFile {
    users: Vec<User>,
}

#[derive(Debug)]
struct User {
    name: String,
    domain: Option<String>,
    nt_hash: Option<Key16>,
    sids: Vec<String>,
    principals: Vec<String>,
    disabled: bool,
}

/// Why a users file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersFileError {
    /// It cannot be read.
    #[error("users file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be. The text never quotes the file: it holds passwords.
    #[error("users file {path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContents {
    #[serde(default)]
    user: Vec<UserEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    domain: Option<String>,
    password: Option<Zeroizing<String>>,
    nt_hash: Option<Zeroizing<String>>,
    #[serde(default)]
    sids: Vec<String>,
    #[serde(default)]
    principals: Vec<String>,
    #[serde(default)]
    disabled: bool,
}

impl UsersFile {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`UsersFileError`].
    pub fn load(path: &Path) -> Result<Self, UsersFileError> {
        let read = |source| UsersFileError::Read {
            path: path.to_owned(),
            source,
        };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(read)?);
        let mode = std::fs::metadata(path).map_err(read)?.mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "users file can be read by others than its owner");
        }
        Self::parse(&text).map_err(|reason| UsersFileError::Invalid {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong, without quoting the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let contents: FileContents = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.lines().count().max(1));
            // Messages about values quote them, and the value may be a password.
            let message = error.message();
            let quotable = ["unknown field", "missing field", "duplicate"]
                .iter()
                .any(|start| message.starts_with(start));
            let message = if quotable {
                message
            } else {
                "syntax or type error"
            };
            format!("line {line}: {message}")
        })?;
        let mut seen = BTreeSet::new();
        let mut users = Vec::new();
        for entry in contents.user {
            let name = entry.name.clone();
            if !seen.insert((
                name.to_lowercase(),
                entry.domain.as_ref().map(|d| d.to_lowercase()),
            )) {
                return Err(format!("user {name:?} occurs twice"));
            }
            let user = entry
                .check()
                .map_err(|reason| format!("user {name:?}: {reason}"))?;
            users.push(user);
        }
        Ok(Self { users })
    }
}

impl UserEntry {
    fn check(self) -> Result<User, String> {
        if self.name.is_empty() {
            return Err("name is empty".to_owned());
        }
        let nt_hash = match (&self.password, &self.nt_hash) {
            (Some(_), Some(_)) => return Err("password and nt_hash exclude each other".to_owned()),
            (Some(password), None) => Some(nt_hash(password)),
            (None, Some(text)) => {
                Some(parse_hash(text).ok_or("nt_hash is not 32 hexadecimal digits")?)
            }
            (None, None) if self.principals.is_empty() => {
                return Err("password, nt_hash or principals is missing".to_owned());
            }
            (None, None) => None,
        };
        if let Some(sid) = self.sids.iter().find(|sid| !is_sid(sid)) {
            return Err(format!("{sid:?} is not a SID"));
        }
        Ok(User {
            name: self.name,
            domain: self.domain,
            nt_hash,
            sids: self.sids,
            principals: self.principals,
            disabled: self.disabled,
        })
    }
}

impl User {
    fn account(&self) -> Account {
        let name = match &self.domain {
            Some(domain) => format!("{domain}\\{}", self.name),
            None => self.name.clone(),
        };
        Account {
            name,
            sids: self.sids.clone(),
            has_authority: true,
        }
    }

    fn matches(&self, logon: &Logon<'_>) -> bool {
        let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        let domain_fits = match &self.domain {
            Some(domain) => logon.domain.is_empty() || same(domain, logon.domain),
            None => true,
        };
        same(&self.name, logon.user) && domain_fits
    }

    fn check_enabled(&self) -> Result<(), VerifyError> {
        if self.disabled {
            return Err(VerifyError::Refused("account is disabled".to_owned()));
        }
        Ok(())
    }
}

impl Verifier for UsersFile {
    fn verify(&self, logon: &Logon<'_>) -> Result<Verified, VerifyError> {
        let user = self
            .users
            .iter()
            .find(|user| user.matches(logon))
            .ok_or_else(|| VerifyError::UnknownAccount(logon.user.to_owned()))?;
        let base_key = user
            .nt_hash
            .as_ref()
            .and_then(|nt_hash| prove(nt_hash, logon))
            .ok_or_else(|| VerifyError::Refused("wrong password".to_owned()))?;
        user.check_enabled()?;
        Ok(Verified {
            base_key,
            account: user.account(),
        })
    }

    fn resolve(&self, ticket: &Ticket<'_>) -> Result<Account, VerifyError> {
        let user = self
            .users
            .iter()
            .find(|user| {
                user.principals
                    .iter()
                    .any(|principal| principal == ticket.principal)
            })
            .ok_or_else(|| VerifyError::UnknownAccount(ticket.principal.to_owned()))?;
        user.check_enabled()?;
        Ok(user.account())
    }
}

/// `S-1-` and at least one more number.
fn is_sid(text: &str) -> bool {
    text.strip_prefix("S-1-").is_some_and(|rest| {
        rest.split('-').all(|part| {
            !part.is_empty() && part.len() <= 15 && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    })
}
