//! Kerberos (RFC 4121, MS-KILE) in DCE style through GSSAPI.

mod acceptor;
mod framing;
mod initiator;
mod session;

use std::path::Path;

use dcerpc_proto::security::SecurityError;
use fsrvp_sys::gssapi::{AcceptorSource, Credential, GssError, GssErrorKind};

pub(crate) use acceptor::{AcceptorConfig, KerberosAcceptor};
#[cfg(test)]
pub(crate) use framing::raw_message;
pub(crate) use initiator::KerberosInitiator;

/// Whether the keytab can be used now.
pub(crate) fn check_keytab(keytab: Option<&Path>) -> Result<(), GssError> {
    credential(keytab).map(|_| ())
}

/// The server's credential. It is acquired for each context, so that a keytab that is renewed, or
/// comes later, is used at once.
fn credential(keytab: Option<&Path>) -> Result<Credential, GssError> {
    match keytab {
        Some(path) => {
            let name = format!("FILE:{}", path.display());
            Credential::acceptor(AcceptorSource::Keytab(&name))
        }
        None => Credential::acceptor(AcceptorSource::System),
    }
}

/// What a failed step means to an association.
fn step_error(error: &GssError) -> SecurityError {
    let text = error.to_string();
    match error.kind {
        GssErrorKind::DefectiveToken => SecurityError::Malformed(text),
        GssErrorKind::NoCredential => SecurityError::Unavailable(text),
        _ => SecurityError::Refused(text),
    }
}
