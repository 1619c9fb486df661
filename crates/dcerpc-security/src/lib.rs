//! NTLM, SPNEGO and Kerberos behind the security seam of dcerpc-proto.
//!
//! A server builds a [`Provider`] from a [`ProviderConfig`] and a [`verifier::Verifier`]; a client
//! asks [`initiator`] for a context. What a build or a configuration cannot do is told once, as
//! [`Limitation`]s, never discovered by a client.
//!
//! Specifications: MS-NLMP (NTLM), RFC 4178 and MS-SPNG (SPNEGO), RFC 4121 and MS-KILE (Kerberos),
//! MS-RPCE 2.2.1.1.7 and 3.3.1.5.2 (how RPC uses them).

pub mod environment;
mod initiate;
#[cfg(feature = "kerberos")]
mod kerberos;
mod limits;
mod mechanism;
pub mod ntlm;
mod provider;
#[cfg(test)]
mod replay_tests;
mod secret;
mod spnego;
mod targets;
#[cfg(test)]
mod testing;
pub mod verifier;

pub use initiate::{InitiatorConfig, KerberosCredentials, NtlmCredentials, initiator};
pub use provider::{Limitation, Packages, Provider, ProviderConfig, ServerNames};
pub use secret::{Key16, Secret};
pub use targets::AcceptedTargets;
