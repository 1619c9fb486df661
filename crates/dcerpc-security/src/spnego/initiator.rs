//! \[RFC 4178 5\], \[MS-SPNG 3.2.5\] The client's side.

use std::fmt;
use std::ops::Range;

use dcerpc_proto::security::{AuthLevel, Identity, Leg, SecurityContext, SecurityError};
use der::asn1::ObjectIdentifier;

use super::Package;
use super::token::{NegState, NegTokenInit, NegTokenResp, malformed, octets};
use crate::mechanism::Mechanism;

/// One SPNEGO context of a client.
pub(crate) struct SpnegoInitiator {
    state: State,
}

/// A package that we offer and the context that we would use.
pub(crate) type Offer = (Package, Box<dyn Mechanism>);

enum State {
    Start(Vec<Offer>),
    /// The NegTokenInit is out; the server has not chosen yet.
    Offered {
        first: Box<dyn Mechanism>,
        others: Vec<Offer>,
        exchange: Exchange,
    },
    /// The mechanism is chosen and not complete.
    Chosen {
        mechanism: Box<dyn Mechanism>,
        exchange: Exchange,
    },
    /// The mechanism is complete; the server's last word is missing.
    Completing {
        mechanism: Box<dyn Mechanism>,
        exchange: Exchange,
    },
    Established(Box<dyn Mechanism>),
    Failed,
}

/// What both sides will sign, and what was offered.
#[derive(Debug)]
struct Exchange {
    mechs: Vec<ObjectIdentifier>,
    mech_types: Vec<u8>,
}

impl SpnegoInitiator {
    /// Offers packages, best first.
    pub(crate) fn new(offers: Vec<Offer>) -> Self {
        Self {
            state: State::Start(offers),
        }
    }

    /// Sends mechTypes and the first mechanism's token. A mechanism that cannot begin (no ticket,
    /// say) is not offered.
    fn start(&mut self, offers: Vec<Offer>) -> Result<Leg, SecurityError> {
        let mut begun = None;
        let mut others = Vec::new();
        let mut unavailable = SecurityError::Unavailable("no credentials to offer".to_owned());
        for (package, mut mechanism) in offers {
            if begun.is_some() {
                others.push((package, mechanism));
                continue;
            }
            match mechanism.step(&[]) {
                Ok(leg) => begun = Some((package, mechanism, leg)),
                Err(error @ SecurityError::Unavailable(_)) => unavailable = error,
                Err(error) => return Err(error),
            }
        }
        let (package, first, leg) = begun.ok_or(unavailable)?;
        let mechs: Vec<_> = std::iter::once(package)
            .chain(others.iter().map(|(package, _)| *package))
            .flat_map(Package::oids)
            .copied()
            .collect();
        let (token, mech_types) = NegTokenInit::encode(&mechs, Some(&leg.token))?;
        let exchange = Exchange { mechs, mech_types };
        self.state = State::Offered {
            first,
            others,
            exchange,
        };
        Ok(Leg { token, done: false })
    }

    /// Takes the server's choice.
    fn choose(
        &mut self,
        first: Box<dyn Mechanism>,
        others: Vec<Offer>,
        exchange: Exchange,
        token: &[u8],
    ) -> Result<Leg, SecurityError> {
        let response = accepted(token)?;
        let chosen = response
            .supported_mech
            .or_else(|| exchange.mechs.first().copied());
        let Some(chosen) = chosen.filter(|oid| exchange.mechs.contains(oid)) else {
            return Err(malformed("server chose a mechanism that was not offered"));
        };
        let package = Package::from_oid(&chosen);
        if package == exchange.mechs.first().and_then(Package::from_oid) {
            return self.proceed(first, exchange, response);
        }
        if response.response_token.is_some() {
            return Err(malformed("token for a mechanism that has not begun"));
        }
        let Some((_, mut mechanism)) = others
            .into_iter()
            .find(|(candidate, _)| Some(*candidate) == package)
        else {
            return Err(malformed("server chose a mechanism that was not offered"));
        };
        let leg = mechanism.step(&[])?;
        let token = NegTokenResp {
            response_token: octets(leg.token)?,
            ..NegTokenResp::default()
        };
        self.state = State::Chosen {
            mechanism,
            exchange,
        };
        Ok(Leg {
            token: token.encode()?,
            done: false,
        })
    }

    /// Hands the server's token to the mechanism; with the last one goes our mechListMIC.
    fn proceed(
        &mut self,
        mut mechanism: Box<dyn Mechanism>,
        exchange: Exchange,
        response: NegTokenResp,
    ) -> Result<Leg, SecurityError> {
        let token = response
            .response_token
            .ok_or_else(|| malformed("no mechanism token"))?;
        let leg = mechanism.step(token.as_bytes())?;
        let mut answer = NegTokenResp {
            response_token: octets(leg.token)?,
            ..NegTokenResp::default()
        };
        if leg.done {
            answer.mech_list_mic = octets(mechanism.mech_list_mic(&exchange.mech_types)?)?;
            self.state = State::Completing {
                mechanism,
                exchange,
            };
        } else {
            self.state = State::Chosen {
                mechanism,
                exchange,
            };
        }
        Ok(Leg {
            token: answer.encode()?,
            done: false,
        })
    }

    /// Takes the server's last word. We sent a mechListMIC, so it must send one too
    /// (\[RFC 4178 5\]).
    fn complete(
        &mut self,
        mut mechanism: Box<dyn Mechanism>,
        exchange: &Exchange,
        token: &[u8],
    ) -> Result<Leg, SecurityError> {
        let response = accepted(token)?;
        if response.neg_state != Some(NegState::AcceptCompleted)
            || response.response_token.is_some()
        {
            return Err(malformed("server did not complete the negotiation"));
        }
        let Some(mic) = response.mech_list_mic else {
            return Err(SecurityError::Refused("mechListMIC is missing".to_owned()));
        };
        mechanism.verify_mech_list_mic(&exchange.mech_types, mic.as_bytes())?;
        self.state = State::Established(mechanism);
        Ok(Leg {
            token: Vec::new(),
            done: true,
        })
    }

    fn established(&mut self) -> Result<&mut dyn Mechanism, SecurityError> {
        match &mut self.state {
            State::Established(mechanism) => Ok(mechanism.as_mut()),
            State::Start(_)
            | State::Offered { .. }
            | State::Chosen { .. }
            | State::Completing { .. }
            | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }
}

/// Decodes a negTokenResp of the server that is not a refusal.
fn accepted(token: &[u8]) -> Result<NegTokenResp, SecurityError> {
    let response = NegTokenResp::decode(token)?;
    if response.neg_state == Some(NegState::Reject) {
        return Err(SecurityError::Refused(
            "server rejected the negotiation".to_owned(),
        ));
    }
    Ok(response)
}

impl SecurityContext for SpnegoInitiator {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Start(offers) if token.is_empty() => self.start(offers),
            State::Offered {
                first,
                others,
                exchange,
            } => self.choose(first, others, exchange, token),
            State::Chosen {
                mechanism,
                exchange,
            } => self.proceed(mechanism, exchange, accepted(token)?),
            State::Completing {
                mechanism,
                exchange,
            } => self.complete(mechanism, &exchange, token),
            State::Start(_) | State::Established(_) | State::Failed => {
                Err(SecurityError::OutOfTurn)
            }
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Established(mechanism) => mechanism.identity(),
            State::Start(_)
            | State::Offered { .. }
            | State::Chosen { .. }
            | State::Completing { .. }
            | State::Failed => None,
        }
    }

    fn signature_len(&self, level: AuthLevel, body_len: usize) -> usize {
        match &self.state {
            State::Established(mechanism) => mechanism.signature_len(level, body_len),
            State::Start(_)
            | State::Offered { .. }
            | State::Chosen { .. }
            | State::Completing { .. }
            | State::Failed => 0,
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

impl fmt::Debug for SpnegoInitiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpnegoInitiator").finish_non_exhaustive()
    }
}
