//! The server's side.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, Identity, Leg, SecurityContext, SecurityError};
use fsrvp_sys::gssapi::{Context, ContextFlags};

use super::framing::{AP_REP, AP_REQ, raw_message};
use super::session::Session;
use super::{credential, step_error};
use crate::mechanism::Mechanism;
use crate::targets::AcceptedTargets;
use crate::verifier::{Account, Ticket, Verifier, VerifyError, refuse_guests};

/// The attribute that holds the whole PAC.
const PAC: &str = "urn:mspac:";

/// What all acceptors of a server share.
#[derive(Debug, Clone)]
pub(crate) struct AcceptorConfig {
    pub(crate) keytab: Option<PathBuf>,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) accepted_targets: AcceptedTargets,
}

/// One Kerberos context of a server.
pub(crate) struct KerberosAcceptor {
    config: Arc<AcceptorConfig>,
    state: State,
}

enum State {
    Start,
    /// The AP-REP is out; the client's own AP-REP is missing (DCE style).
    Replied(Context),
    Established {
        session: Session,
        identity: Identity,
    },
    Failed,
}

impl KerberosAcceptor {
    pub(crate) fn new(config: Arc<AcceptorConfig>) -> Self {
        Self {
            config,
            state: State::Start,
        }
    }

    /// Takes an AP-REQ.
    fn begin(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        let token = raw_message(token, AP_REQ)?;
        let credential = credential(self.config.keytab.as_deref())
            .map_err(|error| SecurityError::Unavailable(error.to_string()))?;
        self.advance(Context::acceptor(credential), token)
    }

    fn advance(&mut self, mut context: Context, token: &[u8]) -> Result<Leg, SecurityError> {
        let (token, done) = context.step(token).map_err(|error| step_error(&error))?;
        self.state = if done {
            self.finish(context)?
        } else {
            State::Replied(context)
        };
        Ok(Leg { token, done })
    }

    /// Checks what was negotiated and finds out who the client is.
    fn finish(&self, context: Context) -> Result<State, SecurityError> {
        let needed = [
            ContextFlags::MUTUAL,
            ContextFlags::DCE_STYLE,
            ContextFlags::SEQUENCE,
            ContextFlags::INTEGRITY,
        ];
        if !needed.iter().all(|flag| context.flags().contains(*flag)) {
            return Err(SecurityError::Refused(format!(
                "weak kerberos context (flags {:#x})",
                context.flags().0
            )));
        }
        let target = context.target().map_err(|error| step_error(&error))?;
        self.config.accepted_targets.check(&target)?;
        let account = self.account(&context)?;
        refuse_guests(&account)?;
        Ok(State::Established {
            identity: Identity {
                account: account.name,
                sids: account.sids,
                has_authority: account.has_authority,
                package: "kerberos",
            },
            session: Session::new(context),
        })
    }

    /// The client's account: by the verifier, else just by its principal. A ticket is proof of
    /// the name; without an authority the SIDs have to come from elsewhere.
    fn account(&self, context: &Context) -> Result<Account, SecurityError> {
        let principal = context.peer().map_err(|error| step_error(&error))?;
        let pac = context.peer_attribute(PAC).unwrap_or_else(|error| {
            tracing::warn!(%error, principal, "PAC is not used");
            None
        });
        let ticket = Ticket {
            principal: &principal,
            pac: pac.as_ref().map(|value| value.0.as_slice()),
        };
        match self.config.verifier.resolve(&ticket) {
            Ok(account) => Ok(account),
            Err(error @ VerifyError::Refused(_)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, principal, "no authority for the groups of a principal");
                Ok(Account {
                    name: account_of_principal(&principal),
                    sids: Vec::new(),
                    has_authority: false,
                })
            }
        }
    }
}

/// `name@REALM` as `REALM\name`.
fn account_of_principal(principal: &str) -> String {
    match principal.rsplit_once('@') {
        Some((name, realm)) => format!("{realm}\\{name}"),
        None => principal.to_owned(),
    }
}

impl KerberosAcceptor {
    fn session(&mut self) -> Result<&mut Session, SecurityError> {
        match &mut self.state {
            State::Established { session, .. } => Ok(session),
            State::Start | State::Replied(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }
}

impl SecurityContext for KerberosAcceptor {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Start => self.begin(token),
            State::Replied(context) => {
                let token = raw_message(token, AP_REP)?;
                self.advance(context, token)
            }
            State::Established { .. } | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Established { identity, .. } => Some(identity),
            State::Start | State::Replied(_) | State::Failed => None,
        }
    }

    fn signature_len(&self, level: AuthLevel, body_len: usize) -> usize {
        match &self.state {
            State::Established { session, .. } => session.signature_len(level, body_len),
            State::Start | State::Replied(_) | State::Failed => 0,
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

impl Mechanism for KerberosAcceptor {
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

impl fmt::Debug for KerberosAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Start => "start",
            State::Replied(_) => "replied",
            State::Established { .. } => "established",
            State::Failed => "failed",
        };
        f.debug_struct("KerberosAcceptor")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
