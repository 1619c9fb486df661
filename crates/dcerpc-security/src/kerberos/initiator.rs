//! The client's side.

use std::fmt;
use std::ops::Range;

use dcerpc_proto::security::{AuthLevel, Identity, Leg, SecurityContext, SecurityError};
use fsrvp_sys::gssapi::{Context, ContextFlags, Credential, InitiatorSource};

use super::session::Session;
use super::step_error;
use crate::KerberosCredentials;
use crate::mechanism::Mechanism;

/// One Kerberos context of a client.
pub(crate) struct KerberosInitiator {
    credentials: KerberosCredentials,
    target: String,
    flags: ContextFlags,
    state: State,
}

enum State {
    Start,
    Requested(Context),
    Established(Session),
    Failed,
}

impl KerberosInitiator {
    /// A context for the service `host@target_host` that can do what `level` needs.
    pub(crate) fn new(
        credentials: KerberosCredentials,
        target_host: &str,
        level: AuthLevel,
    ) -> Self {
        let flags = if level == AuthLevel::Privacy {
            ContextFlags::RPC_SEAL
        } else {
            ContextFlags::RPC_SIGN
        };
        Self {
            credentials,
            target: format!("host@{target_host}"),
            flags,
            state: State::Start,
        }
    }

    /// Gets a ticket and sends the AP-REQ.
    fn begin(&mut self) -> Result<Leg, SecurityError> {
        let source = match (&self.credentials.password, &self.credentials.ccache) {
            (Some(password), _) => InitiatorSource::Password(password.expose()),
            (None, Some(cache)) => InitiatorSource::Cache(cache),
            (None, None) => InitiatorSource::System,
        };
        let unavailable =
            |error: fsrvp_sys::gssapi::GssError| SecurityError::Unavailable(error.to_string());
        let credential = Credential::initiator(self.credentials.principal.as_deref(), source)
            .map_err(unavailable)?;
        let mut context =
            Context::initiator(credential, &self.target, self.flags).map_err(unavailable)?;
        let (token, _) = context.step(&[]).map_err(unavailable)?;
        self.state = State::Requested(context);
        Ok(Leg { token, done: false })
    }

    /// Checks the server's AP-REP and sends ours.
    fn finish(&mut self, mut context: Context, token: &[u8]) -> Result<Leg, SecurityError> {
        let (token, done) = context.step(token).map_err(|error| step_error(&error))?;
        if !done || !context.flags().contains(self.flags) {
            return Err(SecurityError::Refused(format!(
                "server offers a weak kerberos context (flags {:#x})",
                context.flags().0
            )));
        }
        self.state = State::Established(Session::new(context));
        Ok(Leg { token, done: true })
    }

    fn session(&mut self) -> Result<&mut Session, SecurityError> {
        match &mut self.state {
            State::Established(session) => Ok(session),
            State::Start | State::Requested(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }
}

impl SecurityContext for KerberosInitiator {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Start if token.is_empty() => self.begin(),
            State::Requested(context) => self.finish(context, token),
            State::Start | State::Established(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }

    /// Always `None`: the server is who its ticket says, the target that we asked for.
    fn identity(&self) -> Option<&Identity> {
        None
    }

    fn signature_len(&self, level: AuthLevel, body_len: usize) -> usize {
        match &self.state {
            State::Established(session) => session.signature_len(level, body_len),
            State::Start | State::Requested(_) | State::Failed => 0,
        }
    }

    fn protect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        self.session()?.protect(level, header_signing, pdu, body)
    }

    fn unprotect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        self.session()?
            .unprotect(level, header_signing, pdu, body, signature)
    }
}

impl Mechanism for KerberosInitiator {
    fn mech_list_mic(&mut self, mech_types: &[u8]) -> Result<Vec<u8>, SecurityError> {
        self.session()?.mech_list_mic(mech_types)
    }

    fn verify_mech_list_mic(&mut self, mech_types: &[u8], mic: &[u8]) -> Result<(), SecurityError> {
        self.session()?.verify_mech_list_mic(mech_types, mic)
    }

    fn mech_list_mic_obligatory(&self) -> bool {
        false
    }
}

impl fmt::Debug for KerberosInitiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KerberosInitiator")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
