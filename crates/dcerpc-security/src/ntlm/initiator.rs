//! \[MS-NLMP 3.1.5\] The client's side.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use dcerpc_proto::security::{AuthLevel, Identity, Leg, SecurityContext, SecurityError};

use super::av_pair::{AV_FLAG_MIC, AvId, AvPairs};
use super::crypto::{hmac_md5, ntlmv2, ntowfv2, rc4k, utf16le};
use super::flags::NegotiateFlags;
use super::messages::{Authenticate, Challenge, MIC_LEN, MIC_OFFSET, Negotiate, malformed};
use super::session::{SIGNATURE_LEN, Session, Side};
use crate::environment::Environment;
use crate::mechanism::Mechanism;
use crate::{Key16, NtlmCredentials};

/// Length of an LmChallengeResponse; with an MsvAvTimestamp it is all zeros
/// (\[MS-NLMP 3.1.5.1.2\]), and NTLMv2 servers do not look at it.
const LM_RESPONSE_LEN: usize = 24;

/// One NTLM context of a client.
pub struct NtlmInitiator {
    credentials: NtlmCredentials,
    target: String,
    offered: NegotiateFlags,
    environment: Arc<dyn Environment>,
    state: State,
}

enum State {
    Start,
    Negotiated(Vec<u8>),
    Established(Box<Session>),
    Failed,
}

impl NtlmInitiator {
    /// A context for the service `target` (`host/NAME`) that can do what `level` needs.
    #[must_use]
    pub fn new(
        credentials: NtlmCredentials,
        target: String,
        level: AuthLevel,
        environment: Arc<dyn Environment>,
    ) -> Self {
        let mut offered = NegotiateFlags::OBLIGATORY
            | NegotiateFlags::REQUEST_TARGET
            | NegotiateFlags::SIGN
            | NegotiateFlags::ALWAYS_SIGN
            | NegotiateFlags::NEGOTIATE_128
            | NegotiateFlags::NEGOTIATE_56
            | NegotiateFlags::KEY_EXCH
            | NegotiateFlags::VERSION;
        offered.set(NegotiateFlags::SEAL, level == AuthLevel::Privacy);
        Self {
            credentials,
            target,
            offered,
            environment,
            state: State::Start,
        }
    }

    /// Answers a CHALLENGE_MESSAGE.
    fn respond(
        &self,
        negotiate: &[u8],
        message: &[u8],
    ) -> Result<(Vec<u8>, Session), SecurityError> {
        let challenge = Challenge::decode(message)?;
        let needed = NegotiateFlags::OBLIGATORY
            | NegotiateFlags::NEGOTIATE_128
            | NegotiateFlags::SIGN
            | NegotiateFlags::TARGET_INFO;
        if !challenge.flags.contains(needed) {
            return Err(SecurityError::Refused(format!(
                "server offers weak session security (flags {:#x})",
                challenge.flags.bits()
            )));
        }
        let flags = challenge.flags & (self.offered | NegotiateFlags::TARGET_INFO);
        let response_key = ntowfv2(
            &self.credentials.nt_hash,
            &self.credentials.user,
            &self.credentials.domain,
        );
        let client_challenge = self.client_challenge(&challenge)?;
        let (proof, base_key) = ntlmv2(
            &response_key,
            &challenge.server_challenge,
            &client_challenge,
        );
        let (exported_key, encrypted_session_key) = self.session_key(flags, &base_key)?;

        let mut authenticate = Authenticate {
            flags,
            lm_response: vec![0; LM_RESPONSE_LEN],
            nt_response: [proof.as_slice(), &client_challenge].concat(),
            domain: self.credentials.domain.clone(),
            user: self.credentials.user.clone(),
            workstation: self.credentials.workstation.clone(),
            encrypted_session_key,
            payload_start: 0,
        }
        .encode()?;
        let mic = hmac_md5(exported_key.expose(), &[negotiate, message, &authenticate]);
        authenticate
            .get_mut(MIC_OFFSET..MIC_OFFSET.saturating_add(MIC_LEN))
            .ok_or_else(|| malformed("authenticate"))?
            .copy_from_slice(&mic);
        Ok((
            authenticate,
            Session::new(Side::Initiator, &exported_key, flags),
        ))
    }

    /// \[MS-NLMP 2.2.2.7\] NTLMv2_CLIENT_CHALLENGE.
    fn client_challenge(&self, challenge: &Challenge) -> Result<Vec<u8>, SecurityError> {
        let mut pairs = AvPairs::decode(&challenge.target_info)?;
        let time = match pairs.value(AvId::TIMESTAMP) {
            Some(time) => time.try_into().map_err(|_| malformed("MsvAvTimestamp"))?,
            None => self.environment.filetime().to_le_bytes(),
        };
        let av_flags = pairs.flags()? | AV_FLAG_MIC;
        pairs.set(AvId::FLAGS, av_flags.to_le_bytes().to_vec());
        pairs.set(AvId::CHANNEL_BINDINGS, vec![0; 16]);
        pairs.set(AvId::TARGET_NAME, utf16le(&self.target));
        let mut nonce = [0_u8; 8];
        self.environment.random(&mut nonce)?;
        let mut out = vec![1, 1, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(&time);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&pairs.encode()?);
        out.extend_from_slice(&[0; 4]);
        Ok(out)
    }

    /// ExportedSessionKey and EncryptedRandomSessionKey.
    fn session_key(
        &self,
        flags: NegotiateFlags,
        base_key: &Key16,
    ) -> Result<(Key16, Vec<u8>), SecurityError> {
        if !flags.contains(NegotiateFlags::KEY_EXCH) {
            return Ok((base_key.clone(), Vec::new()));
        }
        let mut key = [0_u8; 16];
        self.environment.random(&mut key)?;
        let exported = Key16::from(key);
        rc4k(base_key.expose(), &mut key);
        Ok((exported, key.to_vec()))
    }

    fn session(&mut self) -> Result<&mut Session, SecurityError> {
        match &mut self.state {
            State::Established(session) => Ok(session),
            State::Start | State::Negotiated(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }
}

impl SecurityContext for NtlmInitiator {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Start if token.is_empty() => {
                let negotiate = Negotiate {
                    flags: self.offered,
                }
                .encode();
                self.state = State::Negotiated(negotiate.clone());
                Ok(Leg {
                    token: negotiate,
                    done: false,
                })
            }
            State::Negotiated(negotiate) => {
                let (authenticate, session) = self.respond(&negotiate, token)?;
                self.state = State::Established(Box::new(session));
                Ok(Leg {
                    token: authenticate,
                    done: true,
                })
            }
            State::Start | State::Established(_) | State::Failed => Err(SecurityError::OutOfTurn),
        }
    }

    /// Always `None`: NTLM does not name the server.
    fn identity(&self) -> Option<&Identity> {
        None
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
        self.session()?.protect(level, pdu, body)
    }

    fn unprotect(
        &mut self,
        level: AuthLevel,
        _header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        self.session()?.unprotect(level, pdu, body, signature)
    }
}

impl Mechanism for NtlmInitiator {
    fn mech_list_mic(&mut self, mech_types: &[u8]) -> Result<Vec<u8>, SecurityError> {
        Ok(self.session()?.mech_list_mic(mech_types))
    }

    fn verify_mech_list_mic(&mut self, mech_types: &[u8], mic: &[u8]) -> Result<(), SecurityError> {
        self.session()?.verify_mech_list_mic(mech_types, mic)
    }

    fn mech_list_mic_obligatory(&self) -> bool {
        matches!(self.state, State::Established(_))
    }
}

impl fmt::Debug for NtlmInitiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NtlmInitiator")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
