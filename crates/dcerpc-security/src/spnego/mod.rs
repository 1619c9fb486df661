//! SPNEGO (RFC 4178, MS-SPNG) over the other packages.

mod acceptor;
mod initiator;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

use der::asn1::ObjectIdentifier;

use crate::mechanism::Mechanism;

pub(crate) use acceptor::SpnegoAcceptor;
pub(crate) use initiator::SpnegoInitiator;

/// A package that SPNEGO can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Package {
    Kerberos,
    Ntlm,
}

impl Package {
    fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        match *oid {
            token::MS_KRB5 | token::KRB5 => Some(Self::Kerberos),
            token::NTLMSSP => Some(Self::Ntlm),
            _ => None,
        }
    }

    fn oids(self) -> &'static [ObjectIdentifier] {
        match self {
            Self::Kerberos => &[token::MS_KRB5, token::KRB5],
            Self::Ntlm => &[token::NTLMSSP],
        }
    }
}

/// Makes fresh contexts of the packages on offer.
pub(crate) trait Mechanisms: Send + Sync + fmt::Debug {
    /// A fresh context, or `None` if the package is not offered.
    fn mechanism(&self, package: Package) -> Option<Box<dyn Mechanism>>;
}

/// The optimistic token of a NegTokenInit.
#[cfg(all(test, feature = "kerberos"))]
pub(crate) fn first_mech_token(token: &[u8]) -> Option<Vec<u8>> {
    token::NegTokenInit::decode(token).ok()?.mech_token
}
