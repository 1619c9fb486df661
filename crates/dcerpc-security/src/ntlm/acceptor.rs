//! \[MS-NLMP 3.2.5\] The server's side.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, Identity, Leg, SecurityContext, SecurityError};

use super::av_pair::{AV_FLAG_MIC, AV_FLAG_UNTRUSTED_TARGET, AvId, AvPairs};
use super::challenge::ChallengeSource;
use super::crypto::{equal, hmac_md5, rc4k};
use super::flags::NegotiateFlags;
use super::messages::{Authenticate, Challenge, MIC_LEN, MIC_OFFSET, Negotiate, malformed, text};
use super::session::{SIGNATURE_LEN, Session, Side};
use crate::Key16;
use crate::mechanism::Mechanism;
use crate::targets::AcceptedTargets;
use crate::verifier::{Logon, Verifier, VerifyError, refuse_guests};

/// NTProofStr and the fixed part of the NTLMv2_CLIENT_CHALLENGE: anything shorter is an LM or
/// NTLMv1 response (24 bytes).
const MIN_NTLMV2_RESPONSE: usize = 44;
/// Where the AV_PAIRs begin in an NTLMv2 response.
const AV_PAIRS_OFFSET: usize = 44;

/// What all acceptors of a server share.
#[derive(Debug, Clone)]
pub struct AcceptorConfig {
    /// Makes challenges.
    pub challenges: Arc<dyn ChallengeSource>,
    /// Checks responses.
    pub verifier: Arc<dyn Verifier>,
    /// Refuse clients without a MIC.
    pub require_mic: bool,
    /// Hosts that MsvAvTargetName may name.
    pub accepted_targets: AcceptedTargets,
    /// Accept contexts that cannot sign.
    pub allow_unsigned: bool,
}

/// One NTLM context of a server.
pub struct NtlmAcceptor {
    config: Arc<AcceptorConfig>,
    state: State,
}

enum State {
    Start,
    Challenged {
        negotiate: Vec<u8>,
        challenge: Vec<u8>,
    },
    Established(Box<Established>),
    Failed,
}

struct Established {
    session: Session,
    identity: Identity,
    has_mic: bool,
    can_seal: bool,
}

impl NtlmAcceptor {
    /// A context that waits for a NEGOTIATE_MESSAGE.
    #[must_use]
    pub fn new(config: Arc<AcceptorConfig>) -> Self {
        Self {
            config,
            state: State::Start,
        }
    }

    /// Answers a NEGOTIATE_MESSAGE.
    fn challenge(&self, negotiate: &[u8]) -> Result<Vec<u8>, SecurityError> {
        let requested = Negotiate::decode(negotiate)?.flags;
        if !requested.contains(NegotiateFlags::OBLIGATORY) {
            return Err(SecurityError::Refused(format!(
                "client offers no NTLM with Unicode and extended session security (flags {:#x})",
                requested.bits()
            )));
        }
        self.config.challenges.challenge(requested)
    }

    /// Checks an AUTHENTICATE_MESSAGE against what was said before.
    fn authenticate(
        &self,
        negotiate: &[u8],
        challenge: &[u8],
        message: &[u8],
    ) -> Result<Established, SecurityError> {
        let authenticate = Authenticate::decode(message)?;
        let offered = Challenge::decode(challenge)?;
        let flags = authenticate.flags & offered.flags;
        self.check_strength(&authenticate, flags)?;
        let pairs = target_info(&authenticate.nt_response)?;
        self.check_target(&pairs)?;

        let logon = Logon {
            user: &authenticate.user,
            domain: &authenticate.domain,
            workstation: &authenticate.workstation,
            challenge: offered.server_challenge,
            lm_response: &authenticate.lm_response,
            nt_response: &authenticate.nt_response,
        };
        let verified = self
            .config
            .verifier
            .verify(&logon)
            .map_err(|error| named(&logon, error))?;
        refuse_guests(&verified.account)?;

        let exported_key = exported_session_key(
            flags,
            &verified.base_key,
            &authenticate.encrypted_session_key,
        )?;
        let has_mic = pairs.flags()? & AV_FLAG_MIC != 0;
        if has_mic {
            check_mic(
                &exported_key,
                negotiate,
                challenge,
                message,
                authenticate.payload_start,
            )?;
        } else if self.config.require_mic {
            return Err(SecurityError::Refused(
                "message integrity code is missing".to_owned(),
            ));
        }
        Ok(Established {
            session: Session::new(Side::Acceptor, &exported_key, flags),
            identity: Identity {
                account: verified.account.name,
                sids: verified.account.sids,
                has_authority: verified.account.has_authority,
                package: "ntlm",
            },
            has_mic,
            can_seal: flags.contains(NegotiateFlags::SEAL),
        })
    }

    /// Refuses anonymous logons, LM, NTLMv1 and weak session security.
    fn check_strength(
        &self,
        authenticate: &Authenticate,
        flags: NegotiateFlags,
    ) -> Result<(), SecurityError> {
        let refused = |reason: &str| Err(SecurityError::Refused(reason.to_owned()));
        if authenticate.flags.contains(NegotiateFlags::ANONYMOUS) || authenticate.user.is_empty() {
            return refused("anonymous logon");
        }
        if authenticate.nt_response.len() < MIN_NTLMV2_RESPONSE {
            return refused("LM or NTLMv1 response");
        }
        // [MS-NLMP 2.2.2.7] RespType and HiRespType.
        if authenticate.nt_response.get(16..18) != Some(&[1, 1]) {
            return refused("response is not NTLMv2");
        }
        let needed = NegotiateFlags::OBLIGATORY | NegotiateFlags::NEGOTIATE_128;
        if !flags.contains(needed) {
            return refused("weak session security");
        }
        if !flags.contains(NegotiateFlags::SIGN) && !self.config.allow_unsigned {
            return refused("client does not offer signing");
        }
        Ok(())
    }

    /// Compares the service that the client meant with our own names.
    fn check_target(&self, pairs: &AvPairs) -> Result<(), SecurityError> {
        let untrusted = pairs.flags()? & AV_FLAG_UNTRUSTED_TARGET != 0;
        match pairs.value(AvId::TARGET_NAME) {
            Some(name) if !untrusted => self.config.accepted_targets.check(&text(name)?),
            _ => Ok(()),
        }
    }
}

/// The AV_PAIRs of an NTLMv2 response.
fn target_info(nt_response: &[u8]) -> Result<AvPairs, SecurityError> {
    let list = nt_response
        .get(AV_PAIRS_OFFSET..)
        .ok_or_else(|| malformed("response"))?;
    AvPairs::decode(list)
}

/// \[MS-NLMP 3.2.5.1.2\] ExportedSessionKey: for NTLMv2 KeyExchangeKey is SessionBaseKey.
fn exported_session_key(
    flags: NegotiateFlags,
    base_key: &Key16,
    encrypted: &[u8],
) -> Result<Key16, SecurityError> {
    if !flags.contains(NegotiateFlags::KEY_EXCH) {
        return Ok(base_key.clone());
    }
    let mut key: [u8; 16] = encrypted
        .try_into()
        .map_err(|_| malformed("session key is not 16 bytes"))?;
    rc4k(base_key.expose(), &mut key);
    Ok(Key16::from(key))
}

/// \[MS-NLMP 3.2.5.1.2\] MIC: over all three messages, its own field zero.
fn check_mic(
    key: &Key16,
    negotiate: &[u8],
    challenge: &[u8],
    authenticate: &[u8],
    payload_start: usize,
) -> Result<(), SecurityError> {
    let end = MIC_OFFSET.saturating_add(MIC_LEN);
    if payload_start < end {
        return Err(malformed("no room for the message integrity code"));
    }
    let (Some(before), Some(mic), Some(after)) = (
        authenticate.get(..MIC_OFFSET),
        authenticate.get(MIC_OFFSET..end),
        authenticate.get(end..),
    ) else {
        return Err(malformed("no room for the message integrity code"));
    };
    let expected = hmac_md5(
        key.expose(),
        &[negotiate, challenge, before, &[0; MIC_LEN], after],
    );
    if equal(&expected, mic) {
        Ok(())
    } else {
        Err(SecurityError::Refused(
            "message integrity code does not match".to_owned(),
        ))
    }
}

/// The verifier's error with the account that the client claims to be, for the log. Quoted, because
/// it is the client's text.
fn named(logon: &Logon<'_>, error: VerifyError) -> SecurityError {
    let named = |reason: String| format!("{:?} of {:?}: {reason}", logon.user, logon.domain);
    match error {
        VerifyError::UnknownAccount(_) => SecurityError::Refused(named("no such account".into())),
        VerifyError::Refused(reason) => SecurityError::Refused(named(reason)),
        VerifyError::Unavailable(reason) => SecurityError::Unavailable(named(reason)),
    }
}

impl SecurityContext for NtlmAcceptor {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Start => {
                let challenge = self.challenge(token)?;
                let leg = Leg {
                    token: challenge.clone(),
                    done: false,
                };
                self.state = State::Challenged {
                    negotiate: token.to_vec(),
                    challenge,
                };
                Ok(leg)
            }
            State::Challenged {
                negotiate,
                challenge,
            } => {
                let established = self.authenticate(&negotiate, &challenge, token)?;
                self.state = State::Established(Box::new(established));
                Ok(Leg {
                    token: Vec::new(),
                    done: true,
                })
            }
            State::Established(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Established(established) => Some(&established.identity),
            State::Start | State::Challenged { .. } | State::Failed => None,
        }
    }

    fn can_seal(&self) -> bool {
        matches!(&self.state, State::Established(established) if established.can_seal)
    }

    fn signature_len(&self, _level: AuthLevel, _body_len: usize) -> usize {
        SIGNATURE_LEN
    }

    fn protect(
        &mut self,
        level: AuthLevel,
        _header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        self.established()?.session.protect(level, pdu, body)
    }

    fn unprotect(
        &mut self,
        level: AuthLevel,
        _header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        self.established()?
            .session
            .unprotect(level, pdu, body, signature)
    }
}

impl Mechanism for NtlmAcceptor {
    fn mech_list_mic(&mut self, mech_types: &[u8]) -> Result<Vec<u8>, SecurityError> {
        Ok(self.established()?.session.mech_list_mic(mech_types))
    }

    fn verify_mech_list_mic(&mut self, mech_types: &[u8], mic: &[u8]) -> Result<(), SecurityError> {
        self.established()?
            .session
            .verify_mech_list_mic(mech_types, mic)
    }

    fn mech_list_mic_obligatory(&self) -> bool {
        matches!(&self.state, State::Established(established) if established.has_mic)
    }
}

impl NtlmAcceptor {
    fn established(&mut self) -> Result<&mut Established, SecurityError> {
        match &mut self.state {
            State::Established(established) => Ok(established),
            State::Start | State::Challenged { .. } | State::Failed => {
                Err(SecurityError::OutOfTurn)
            }
        }
    }
}

impl fmt::Debug for NtlmAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Start => "start",
            State::Challenged { .. } => "challenged",
            State::Established(_) => "established",
            State::Failed => "failed",
        };
        f.debug_struct("NtlmAcceptor")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
