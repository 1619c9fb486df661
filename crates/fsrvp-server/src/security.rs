//! The security packages of a server, from its configuration and from what Samba calls itself.

use crate::config::{MinAuthLevel, ServerConfig};
use crate::environment::SambaIdentity;
use dcerpc_security::verifier::{UsersFileError, VerifierConfig};
use dcerpc_security::{Packages, Provider, ProviderConfig, ServerNames};
use std::sync::Arc;

/// Builds the provider; what it cannot do is logged.
///
/// # Errors
/// The users file cannot be used.
pub fn provider(
    config: &ServerConfig,
    server: &str,
    samba: &SambaIdentity,
) -> Result<Provider, UsersFileError> {
    let security = &config.security;
    let verifiers = VerifierConfig {
        users_file: security.users_file.clone(),
        winbind: security.winbind && samba.is_samba,
        samba_passwords: security.samba_passwords && samba.is_samba,
        smb_conf: samba.is_samba.then(|| config.smb_conf.clone()),
        standalone: samba.is_standalone,
        netbios_name: samba.netbios_name.clone(),
    };
    let (chain, unable) = verifiers.build()?;
    let names = ServerNames {
        netbios_name: samba.netbios_name.clone(),
        netbios_domain: samba.workgroup.clone(),
        dns_name: match samba.realm.as_str() {
            "" => samba.netbios_name.to_lowercase(),
            realm => format!("{}.{}", samba.netbios_name, realm).to_lowercase(),
        },
        dns_domain: samba.realm.to_lowercase(),
    };
    let provider = Provider::new(ProviderConfig {
        packages: Packages {
            kerberos: security.kerberos,
            ..Packages::default()
        },
        require_mic: security.require_mic,
        keytab: security.keytab.clone(),
        allow_unsigned: config.min_auth_level == MinAuthLevel::None,
        ..ProviderConfig::new(Arc::new(chain), names)
    });
    for limitation in unable.iter().chain(provider.limitations()) {
        tracing::warn!(server, limitation = %limitation, "RPC security is limited");
    }
    Ok(provider)
}
