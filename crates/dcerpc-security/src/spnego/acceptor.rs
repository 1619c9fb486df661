//! \[RFC 4178 5\], \[MS-SPNG 3.3.5\] The server's side.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, Identity, Leg, SecurityContext, SecurityError};
use der::asn1::ObjectIdentifier;

use super::token::{NegState, NegTokenInit, NegTokenResp, malformed, octets};
use super::{Mechanisms, Package};
use crate::mechanism::Mechanism;

/// One SPNEGO context of a server.
pub(crate) struct SpnegoAcceptor {
    mechanisms: Arc<dyn Mechanisms>,
    state: State,
}

enum State {
    Start,
    Negotiating(Box<Negotiation>),
    Established(Box<dyn Mechanism>),
    Failed,
}

struct Negotiation {
    mechanism: Box<dyn Mechanism>,
    mech_types: Vec<u8>,
    /// \[RFC 4178 5\] The client's first choice was not taken, so only a MIC proves that nobody
    /// changed its list.
    mic_obligatory: bool,
}

impl SpnegoAcceptor {
    pub(crate) fn new(mechanisms: Arc<dyn Mechanisms>) -> Self {
        Self {
            mechanisms,
            state: State::Start,
        }
    }

    /// Answers the client's NegTokenInit.
    fn select(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        let init = NegTokenInit::decode(token)?;
        let mut useless: Option<(Package, SecurityError)> = None;
        for (index, oid) in init.mechs.iter().enumerate() {
            let Some(package) = Package::from_oid(oid) else {
                continue;
            };
            // Kerberos goes by two names; what failed under one is not tried under the other.
            if useless
                .as_ref()
                .is_some_and(|(failed, _)| *failed == package)
            {
                continue;
            }
            let Some(mechanism) = self.mechanisms.mechanism(package) else {
                continue;
            };
            match (index, &init.mech_token) {
                (0, Some(optimistic)) => match self.begin(mechanism, *oid, &init, optimistic) {
                    // An optimistic token that we cannot use is no reason to refuse the client:
                    // it may have guessed wrongly what we can do.
                    Err(error @ (SecurityError::Malformed(_) | SecurityError::Unavailable(_))) => {
                        tracing::debug!(%error, mech = %oid, "optimistic token is of no use");
                        useless = Some((package, error));
                    }
                    outcome => return outcome,
                },
                (0, None) => return self.ask(mechanism, *oid, init, NegState::AcceptIncomplete),
                _ => return self.ask(mechanism, *oid, init, NegState::RequestMic),
            }
        }
        Err(useless.map_or_else(|| malformed("no common mechanism"), |(_, error)| error))
    }

    /// Takes the client's first choice with its optimistic token.
    fn begin(
        &mut self,
        mut mechanism: Box<dyn Mechanism>,
        oid: ObjectIdentifier,
        init: &NegTokenInit,
        optimistic: &[u8],
    ) -> Result<Leg, SecurityError> {
        let leg = mechanism.step(optimistic)?;
        let neg_state = if leg.done {
            NegState::AcceptCompleted
        } else {
            NegState::AcceptIncomplete
        };
        let token = NegTokenResp {
            neg_state: Some(neg_state),
            supported_mech: Some(oid),
            response_token: octets(leg.token)?,
            mech_list_mic: None,
        }
        .encode()?;
        self.state = if leg.done {
            State::Established(mechanism)
        } else {
            State::Negotiating(Box::new(Negotiation {
                mechanism,
                mech_types: init.mech_types.clone(),
                mic_obligatory: false,
            }))
        };
        Ok(Leg {
            token,
            done: leg.done,
        })
    }

    /// Chooses a mechanism and asks for its first token.
    fn ask(
        &mut self,
        mechanism: Box<dyn Mechanism>,
        oid: ObjectIdentifier,
        init: NegTokenInit,
        neg_state: NegState,
    ) -> Result<Leg, SecurityError> {
        let token = NegTokenResp {
            neg_state: Some(neg_state),
            supported_mech: Some(oid),
            ..NegTokenResp::default()
        }
        .encode()?;
        self.state = State::Negotiating(Box::new(Negotiation {
            mechanism,
            mech_types: init.mech_types,
            mic_obligatory: neg_state == NegState::RequestMic,
        }));
        Ok(Leg { token, done: false })
    }

    /// Takes one of the client's later tokens.
    fn proceed(
        &mut self,
        mut negotiation: Box<Negotiation>,
        token: &[u8],
    ) -> Result<Leg, SecurityError> {
        let response = NegTokenResp::decode(token)?;
        if response.neg_state == Some(NegState::Reject) {
            return Err(SecurityError::Refused(
                "client rejected the negotiation".to_owned(),
            ));
        }
        let token = response
            .response_token
            .ok_or_else(|| malformed("no mechanism token"))?;
        let leg = negotiation.mechanism.step(token.as_bytes())?;
        if !leg.done {
            if response.mech_list_mic.is_some() {
                return Err(malformed("mechListMIC before the mechanism is complete"));
            }
            let token = NegTokenResp {
                neg_state: Some(NegState::AcceptIncomplete),
                response_token: octets(leg.token)?,
                ..NegTokenResp::default()
            }
            .encode()?;
            self.state = State::Negotiating(negotiation);
            return Ok(Leg { token, done: false });
        }
        let mech_list_mic =
            negotiation.exchange_mics(response.mech_list_mic.as_ref().map(|mic| mic.as_bytes()))?;
        let token = NegTokenResp {
            neg_state: Some(NegState::AcceptCompleted),
            supported_mech: None,
            response_token: octets(leg.token)?,
            mech_list_mic: octets(mech_list_mic.unwrap_or_default())?,
        }
        .encode()?;
        self.state = State::Established(negotiation.mechanism);
        Ok(Leg { token, done: true })
    }

    fn established(&mut self) -> Result<&mut dyn Mechanism, SecurityError> {
        match &mut self.state {
            State::Established(mechanism) => Ok(mechanism.as_mut()),
            State::Start | State::Negotiating(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }
}

impl Negotiation {
    /// Checks the client's mechListMIC and makes ours.
    ///
    /// \[RFC 4178 5\]: obligatory on both sides unless the client's first choice was taken, and
    /// then still answered if the client sent one; \[MS-SPNG 3.3.5.1\]: obligatory for NTLM with a
    /// MIC.
    fn exchange_mics(&mut self, theirs: Option<&[u8]>) -> Result<Option<Vec<u8>>, SecurityError> {
        match theirs {
            Some(mic) => {
                self.mechanism.verify_mech_list_mic(&self.mech_types, mic)?;
                self.mechanism.mech_list_mic(&self.mech_types).map(Some)
            }
            None if self.mic_obligatory || self.mechanism.mech_list_mic_obligatory() => {
                Err(SecurityError::Refused("mechListMIC is missing".to_owned()))
            }
            None => Ok(None),
        }
    }
}

impl SecurityContext for SpnegoAcceptor {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Start => self.select(token),
            State::Negotiating(negotiation) => self.proceed(negotiation, token),
            State::Established(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Established(mechanism) => mechanism.identity(),
            State::Start | State::Negotiating(_) | State::Failed => None,
        }
    }

    fn can_seal(&self) -> bool {
        matches!(&self.state, State::Established(mechanism) if mechanism.can_seal())
    }

    fn signature_len(&self, level: AuthLevel, body_len: usize) -> usize {
        match &self.state {
            State::Established(mechanism) => mechanism.signature_len(level, body_len),
            State::Start | State::Negotiating(_) | State::Failed => 0,
        }
    }

    fn protect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        self.established()?
            .protect(level, header_signing, pdu, body)
    }

    fn unprotect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        self.established()?
            .unprotect(level, header_signing, pdu, body, signature)
    }
}

impl fmt::Debug for SpnegoAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Start => "start",
            State::Negotiating(_) => "negotiating",
            State::Established(_) => "established",
            State::Failed => "failed",
        };
        f.debug_struct("SpnegoAcceptor")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
