//! The server's side: which packages are offered, and an acceptor for each association.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use dcerpc_proto::security::{AuthType, SecurityContext, SecurityProvider};

use crate::environment::{Environment, System};
use crate::mechanism::Mechanism;
use crate::ntlm::{AcceptorConfig, FreshChallenges, NtlmAcceptor};
use crate::spnego::{Mechanisms, Package, SpnegoAcceptor};
use crate::targets::AcceptedTargets;
use crate::verifier::Verifier;

/// Which packages a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packages {
    /// NTLMSSP, alone (10) and inside SPNEGO.
    pub ntlm: bool,
    /// SPNEGO (9).
    pub spnego: bool,
    /// Kerberos, alone (16) and inside SPNEGO.
    pub kerberos: bool,
}

impl Default for Packages {
    /// All of them.
    fn default() -> Self {
        Self {
            ntlm: true,
            spnego: true,
            kerberos: true,
        }
    }
}

/// The names that a server gives itself in the TargetInfo of its CHALLENGE_MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerNames {
    /// NetBIOS name of the computer.
    pub netbios_name: String,
    /// NetBIOS name of the domain; a stand-alone server gives its workgroup.
    pub netbios_domain: String,
    /// DNS name of the computer.
    pub dns_name: String,
    /// DNS name of the domain; may be empty.
    pub dns_domain: String,
}

/// How a server authenticates its callers.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Packages to offer.
    pub packages: Packages,
    /// Checks logons and finds SIDs.
    pub verifier: Arc<dyn Verifier>,
    /// The server's names.
    pub names: ServerNames,
    /// Refuse NTLM clients that send no MIC. impacket sends none; Windows and Samba do.
    pub require_mic: bool,
    /// Host names that a client may have meant in its target (NTLM's MsvAvTargetName, Kerberos'
    /// service principal), without case. Empty: any. A client that names none is let through.
    pub accepted_targets: Vec<String>,
    /// Accept NTLM contexts that can neither sign nor seal. Only of use with a minimum level
    /// below integrity, in laboratories.
    pub allow_unsigned: bool,
    /// Keytab with the service's keys; `None`: the system's.
    pub keytab: Option<PathBuf>,
    /// Randomness and time.
    pub environment: Arc<dyn Environment>,
}

impl ProviderConfig {
    /// All packages, the system's keytab and environment, no restriction beyond the fixed rules.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verifier>, names: ServerNames) -> Self {
        Self {
            packages: Packages::default(),
            verifier,
            names,
            require_mic: false,
            accepted_targets: Vec::new(),
            allow_unsigned: false,
            keytab: None,
            environment: Arc::new(System),
        }
    }
}

/// Something that this build or configuration cannot do; to be logged at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limitation(pub String);

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes acceptors for a server's associations.
#[derive(Debug)]
pub struct Provider {
    packages: Arc<OfferedPackages>,
    spnego: bool,
    limitations: Vec<Limitation>,
}

/// The packages besides SPNEGO, as far as they are offered.
#[derive(Debug)]
struct OfferedPackages {
    ntlm: Option<Arc<AcceptorConfig>>,
    #[cfg(feature = "kerberos")]
    kerberos: Option<Arc<crate::kerberos::AcceptorConfig>>,
}

impl OfferedPackages {
    fn new(config: &ProviderConfig) -> Self {
        let accepted_targets = AcceptedTargets::new(&config.accepted_targets);
        let ntlm = config.packages.ntlm.then(|| {
            Arc::new(AcceptorConfig {
                challenges: Arc::new(FreshChallenges {
                    names: config.names.clone(),
                    environment: Arc::clone(&config.environment),
                }),
                verifier: Arc::clone(&config.verifier),
                require_mic: config.require_mic,
                accepted_targets: accepted_targets.clone(),
                allow_unsigned: config.allow_unsigned,
            })
        });
        #[cfg(feature = "kerberos")]
        let kerberos = config.packages.kerberos.then(|| {
            Arc::new(crate::kerberos::AcceptorConfig {
                keytab: config.keytab.clone(),
                verifier: Arc::clone(&config.verifier),
                accepted_targets,
            })
        });
        Self {
            ntlm,
            #[cfg(feature = "kerberos")]
            kerberos,
        }
    }
}

impl Mechanisms for OfferedPackages {
    fn mechanism(&self, package: Package) -> Option<Box<dyn Mechanism>> {
        match package {
            Package::Ntlm => {
                let config = self.ntlm.as_ref()?;
                Some(Box::new(NtlmAcceptor::new(Arc::clone(config))))
            }
            #[cfg(feature = "kerberos")]
            Package::Kerberos => {
                let config = self.kerberos.as_ref()?;
                Some(Box::new(crate::kerberos::KerberosAcceptor::new(
                    Arc::clone(config),
                )))
            }
            #[cfg(not(feature = "kerberos"))]
            Package::Kerberos => None,
        }
    }
}

impl Provider {
    /// A provider for `config`; what it cannot do stands in [`Provider::limitations`].
    #[must_use]
    pub fn new(config: ProviderConfig) -> Self {
        let limitations = limitations(&config);
        Self {
            packages: Arc::new(OfferedPackages::new(&config)),
            spnego: config.packages.spnego,
            limitations,
        }
    }

    /// What was asked for and cannot be done.
    #[must_use]
    pub fn limitations(&self) -> &[Limitation] {
        &self.limitations
    }
}

/// What `config` asks for and this build or system cannot do now.
fn limitations(config: &ProviderConfig) -> Vec<Limitation> {
    let mut limitations = Vec::new();
    if config.packages.kerberos {
        #[cfg(feature = "kerberos")]
        if let Err(error) = crate::kerberos::check_keytab(config.keytab.as_deref()) {
            let text = format!("kerberos logons fail until the keytab can be used: {error}");
            limitations.push(Limitation(text));
        }
        #[cfg(not(feature = "kerberos"))]
        limitations.push(Limitation(
            "kerberos is not offered: built without it".to_owned(),
        ));
    }
    limitations
}

impl SecurityProvider for Provider {
    fn acceptor(&self, auth_type: AuthType) -> Option<Box<dyn SecurityContext>> {
        let package = match auth_type {
            AuthType::GSS_NEGOTIATE if self.spnego => {
                let mechanisms = Arc::clone(&self.packages);
                return Some(Box::new(SpnegoAcceptor::new(mechanisms)));
            }
            AuthType::WINNT => Package::Ntlm,
            AuthType::GSS_KERBEROS => Package::Kerberos,
            _ => return None,
        };
        let mechanism: Box<dyn SecurityContext> = self.packages.mechanism(package)?;
        Some(mechanism)
    }
}
