//! The client's side: a context that proves who we are.

use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, AuthType, SecurityContext, SecurityError};

use crate::environment::System;
use crate::mechanism::Mechanism;
use crate::ntlm::NtlmInitiator;
use crate::spnego::{Package, SpnegoInitiator};
use crate::{Key16, Secret};

/// How to log on with NTLM.
#[derive(Debug, Clone)]
pub struct NtlmCredentials {
    /// Account name.
    pub user: String,
    /// Domain; may be empty.
    pub domain: String,
    /// Name of this computer; may be empty.
    pub workstation: String,
    /// NT hash (MD4 of the UTF-16 password); see [`NtlmCredentials::with_password`].
    pub nt_hash: Key16,
}

impl NtlmCredentials {
    /// Credentials from a password.
    #[must_use]
    pub fn with_password(user: String, domain: String, password: &Secret) -> Self {
        let nt_hash = crate::ntlm::crypto::nt_hash(password.expose());
        Self {
            user,
            domain,
            workstation: String::new(),
            nt_hash,
        }
    }
}

/// How to log on with Kerberos.
#[derive(Debug, Clone, Default)]
pub struct KerberosCredentials {
    /// Our principal; `None`: the credential cache's.
    pub principal: Option<String>,
    /// Credential cache (`FILE:…`); `None`: the system's.
    pub ccache: Option<String>,
    /// Password to get a ticket with instead of a cache.
    pub password: Option<Secret>,
}

/// What an initiator needs.
#[derive(Debug, Clone)]
pub struct InitiatorConfig {
    /// Package: SPNEGO offers those whose credentials are given, Kerberos first.
    pub auth_type: AuthType,
    /// Level of the association: no more is asked for than it needs.
    pub level: AuthLevel,
    /// Host name of the server, for the service principal `host/NAME`.
    pub target_host: String,
    /// Credentials for NTLM.
    pub ntlm: Option<NtlmCredentials>,
    /// Credentials for Kerberos.
    pub kerberos: Option<KerberosCredentials>,
}

/// A fresh initiator; its first `step` takes an empty token.
///
/// # Errors
/// [`SecurityError::Unavailable`] if the package is unknown, not built in or without credentials.
pub fn initiator(config: &InitiatorConfig) -> Result<Box<dyn SecurityContext>, SecurityError> {
    let missing = || {
        let text = format!(
            "auth_type {}: not built in or no credentials",
            config.auth_type.0
        );
        SecurityError::Unavailable(text)
    };
    let context: Box<dyn SecurityContext> = match config.auth_type {
        AuthType::WINNT => config.mechanism(Package::Ntlm).ok_or_else(missing)?,
        AuthType::GSS_KERBEROS => config.mechanism(Package::Kerberos).ok_or_else(missing)?,
        AuthType::GSS_NEGOTIATE => {
            let offers: Vec<_> = [Package::Kerberos, Package::Ntlm]
                .into_iter()
                .filter_map(|package| Some((package, config.mechanism(package)?)))
                .collect();
            if offers.is_empty() {
                return Err(missing());
            }
            Box::new(SpnegoInitiator::new(offers))
        }
        _ => return Err(missing()),
    };
    Ok(context)
}

impl InitiatorConfig {
    fn mechanism(&self, package: Package) -> Option<Box<dyn Mechanism>> {
        match package {
            Package::Ntlm => Some(Box::new(NtlmInitiator::new(
                self.ntlm.clone()?,
                format!("host/{}", self.target_host),
                self.level,
                Arc::new(System),
            ))),
            #[cfg(feature = "kerberos")]
            Package::Kerberos => Some(Box::new(crate::kerberos::KerberosInitiator::new(
                self.kerberos.clone()?,
                &self.target_host,
                self.level,
            ))),
            #[cfg(not(feature = "kerberos"))]
            Package::Kerberos => None,
        }
    }
}
