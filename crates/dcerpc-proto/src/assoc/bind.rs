//! bind, alter_context and auth3: contexts are negotiated, authentication goes leg by leg.

use super::StepTicket;
use super::auth::{BeginError, ContextIndex};
use super::negotiate::{Conflict, Features, max_frag};
use super::server::{Activity, Bound, CloseReason, Phase, ServerAction, ServerAssociation};
use crate::FaultStatus;
use crate::limits::MAX_TOKEN_NTLM;
use crate::pdu::{
    AlterContext, AlterContextResp, Auth3, AuthVerifier, Bind, BindAck, Body, ContextResult,
    DecodeError, Header, Packet, PacketType, PfcFlags, RejectReason, Request, SecTrailer,
};
use crate::security::{AuthType, Leg, SecurityContext, SecurityError};
use bytes::Bytes;

/// What a leg of authentication is an answer to, and how it will be answered itself.
#[derive(Debug)]
pub(super) enum PendingLeg {
    Bind(Acknowledgement),
    Alter(Acknowledgement),
    /// Never answered; a failure is remembered.
    Auth3,
}

/// A bind_ack or alter_context_resp that waits for its token.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    call_id: u32,
    flags: PfcFlags,
    results: Vec<ContextResult>,
    trailer: Option<SecTrailer>,
}

/// A trailer with its token, or why there is none.
type Verifier<'a> = Result<Option<AuthVerifier<'a>>, DecodeError>;

impl ServerAssociation {
    pub(super) fn handle_bind(&mut self, header: &Header, pdu: &[u8]) {
        let malformed = RejectReason::PROTOCOL_VERSION_NOT_SUPPORTED;
        let verifier = match exchange_verifier(header, pdu) {
            Ok(verifier) => verifier,
            Err(error) => return self.refuse_bind(header, malformed, error.into()),
        };
        let bind = match Bind::decode(header, pdu) {
            Ok(bind) => bind,
            Err(error) => return self.refuse_bind(header, malformed, error.into()),
        };
        let group = match bind.assoc_group_id {
            0 => self.config.groups.found(),
            id => self.config.groups.join(id),
        };
        let Some(group) = group else {
            let reason = CloseReason::Protocol("unknown association group");
            return self.refuse_bind(header, RejectReason::NOT_SPECIFIED, reason);
        };
        let interfaces = &self.config.interfaces;
        let results =
            match self
                .contexts
                .negotiate(&bind.contexts, interfaces, Features::Negotiable)
            {
                Ok(results) => results,
                Err(conflict) => {
                    let limit = conflict == Conflict::Count && !bind.contexts.is_empty();
                    let reason = match limit {
                        true => RejectReason::LOCAL_LIMIT_EXCEEDED,
                        false => RejectReason::NOT_SPECIFIED,
                    };
                    let close = CloseReason::Protocol(conflict.describe());
                    return self.refuse_bind(header, reason, close);
                }
            };
        let begun = verifier
            .map(|verifier| {
                let AuthVerifier { trailer, token } = verifier;
                self.security.begin(&trailer, token, self.provider.as_ref())
            })
            .transpose();
        let index = match begun {
            Ok(index) => index,
            Err(error) => {
                let close = CloseReason::Protocol(error.describe());
                return self.refuse_bind(header, error.reject_reason(), close);
            }
        };
        let flags = header.flags;
        self.phase = Phase::Bound(Bound {
            group,
            max_frag: max_frag(&bind, self.config.max_frag),
            multiplexed: flags.contains(PfcFlags::CONC_MPX),
            client_header_signing: flags.contains(PfcFlags::SUPPORT_HEADER_SIGN),
        });
        let acknowledgement = Acknowledgement {
            call_id: header.call_id,
            flags: self.echoed_flags(flags),
            results,
            trailer: verifier.map(|verifier| verifier.trailer),
        };
        match (index, verifier) {
            (Some(index), Some(verifier)) => {
                self.begin_step(index, verifier.token, PendingLeg::Bind(acknowledgement));
            }
            _ => self.acknowledge(PacketType::BIND_ACK, &acknowledgement, &[]),
        }
    }

    pub(super) fn handle_alter(&mut self, header: &Header, pdu: &[u8]) {
        let protocol = FaultStatus::PROTOCOL;
        let alter = match AlterContext::decode(header, pdu) {
            Ok(AlterContext(alter)) => alter,
            Err(error) => return self.reject(header, protocol, error.into()),
        };
        let verifier = match exchange_verifier(header, pdu) {
            Ok(verifier) => verifier,
            Err(error) => return self.reject(header, protocol, error.into()),
        };
        let leg = match self.alter_leg(verifier.as_ref()) {
            Ok(leg) => leg,
            Err((status, why)) => {
                return self.reject(header, status, CloseReason::AccessDenied(why));
            }
        };
        let interfaces = &self.config.interfaces;
        let results = match self
            .contexts
            .negotiate(&alter.contexts, interfaces, Features::Settled)
        {
            Ok(results) => results,
            Err(conflict) => {
                let reason = CloseReason::Protocol(conflict.describe());
                return self.reject(header, protocol, reason);
            }
        };
        let index = match leg {
            AlterLeg::None => None,
            AlterLeg::Next(index) => Some(index),
            AlterLeg::Changed(status) => {
                let reason = CloseReason::AccessDenied("authentication type or level changed");
                return self.reject(header, status, reason);
            }
        };
        if let Phase::Bound(bound) = &mut self.phase {
            bound.client_header_signing |= header.flags.contains(PfcFlags::SUPPORT_HEADER_SIGN);
        }
        let acknowledgement = Acknowledgement {
            call_id: header.call_id,
            flags: self.echoed_flags(header.flags),
            results,
            trailer: verifier.map(|verifier| verifier.trailer),
        };
        match (index, verifier) {
            (Some(index), Some(verifier)) => {
                self.begin_step(index, verifier.token, PendingLeg::Alter(acknowledgement));
            }
            _ => self.acknowledge(PacketType::ALTER_CONTEXT_RESP, &acknowledgement, &[]),
        }
    }

    pub(super) fn handle_auth3(&mut self, header: &Header, pdu: &[u8]) {
        let located = SecTrailer::locate(header, pdu, Auth3::FIXED_LEN);
        let verifier = located.and_then(|start| {
            start
                .map(|start| SecTrailer::decode(header, pdu, start))
                .transpose()
        });
        let verifier = match verifier {
            Ok(Some(verifier)) => verifier,
            Ok(None) => {
                let reason = CloseReason::Protocol("auth3 without a trailer");
                return self.reject(header, FaultStatus::PROTOCOL, reason);
            }
            Err(error) => return self.reject(header, FaultStatus::PROTOCOL, error.into()),
        };
        let index = self.security.find(verifier.trailer.auth_context_id);
        let Some(index) = index.filter(|index| self.security.is_exchanging(*index)) else {
            let reason = CloseReason::Protocol("auth3 without an authentication under way");
            return self.reject(header, FaultStatus::PROTOCOL, reason);
        };
        if let Err(error) = check_pad(header, &verifier.trailer) {
            // What Windows answers here, and only here.
            return self.reject(header, FaultStatus::REMOTE_NO_MEMORY, error.into());
        }
        let matches = self
            .security
            .get(index)
            .is_some_and(|e| e.matches(&verifier.trailer));
        if !matches || is_too_long(&verifier) {
            self.security.fail(index);
            self.security.poisoned = true;
            return;
        }
        self.begin_step(index, verifier.token, PendingLeg::Auth3);
    }

    /// What an alter_context's trailer means. An error is answered before the contexts are looked
    /// at, a change of type or level after it, as Windows does.
    fn alter_leg(
        &mut self,
        verifier: Option<&AuthVerifier<'_>>,
    ) -> Result<AlterLeg, (FaultStatus, &'static str)> {
        let Some(verifier) = verifier else {
            return Ok(AlterLeg::None);
        };
        let AuthVerifier { trailer, token } = *verifier;
        let Some(index) = self.security.find(trailer.auth_context_id) else {
            return match self.security.begin(&trailer, token, self.provider.as_ref()) {
                Ok(index) => Ok(AlterLeg::Next(index)),
                Err(error @ BeginError::Limit) => Err((FaultStatus::PROTOCOL, error.describe())),
                Err(error) => Err((FaultStatus::ACCESS_DENIED, error.describe())),
            };
        };
        if !self.security.is_exchanging(index) {
            return Err((
                FaultStatus::ACCESS_DENIED,
                "authentication already finished",
            ));
        }
        let Some(entry) = self.security.get(index) else {
            return Ok(AlterLeg::None);
        };
        if trailer.auth_type == AuthType(0) || is_too_long(verifier) {
            return Err((FaultStatus::ACCESS_DENIED, "token"));
        }
        Ok(if entry.matches(&trailer) {
            AlterLeg::Next(index)
        } else if entry.auth_type == trailer.auth_type {
            AlterLeg::Changed(FaultStatus::ACCESS_DENIED)
        } else {
            AlterLeg::Changed(FaultStatus::SECURITY_PACKAGE)
        })
    }

    fn begin_step(&mut self, index: ContextIndex, token: &[u8], leg: PendingLeg) {
        let Some(context) = self.security.lend(index) else {
            return self.close(CloseReason::Authentication(SecurityError::OutOfTurn));
        };
        self.activity = Activity::Stepping(index, leg);
        let token = Bytes::copy_from_slice(token);
        self.act(ServerAction::Step(StepTicket { context, token }));
    }

    /// A leg has run; `context` is missing if it did not come back.
    pub(super) fn finish_step(
        &mut self,
        context: Option<Box<dyn SecurityContext>>,
        outcome: Result<Leg, SecurityError>,
    ) {
        if !matches!(self.activity, Activity::Stepping(..)) {
            return;
        }
        let Activity::Stepping(index, leg) = std::mem::replace(&mut self.activity, Activity::Idle)
        else {
            return;
        };
        let advanced = match (context, outcome) {
            (_, Err(error)) => Err(error),
            (None, Ok(_)) => Err(SecurityError::OutOfTurn),
            (Some(context), Ok(Leg { token, done: true })) => self
                .security
                .complete(index, context)
                .map(|()| (token, true)),
            (Some(context), Ok(Leg { token, done: false })) => {
                self.security.put_back(index, context);
                Ok((token, false))
            }
        };
        match (leg, advanced) {
            (PendingLeg::Bind(ack), Ok((token, _))) => {
                self.acknowledge(PacketType::BIND_ACK, &ack, &token);
            }
            (PendingLeg::Alter(ack), Ok((token, _))) => {
                self.acknowledge(PacketType::ALTER_CONTEXT_RESP, &ack, &token);
            }
            (PendingLeg::Auth3, Ok((token, true))) if token.is_empty() => {}
            (PendingLeg::Auth3, _) => {
                // An auth3 has no answer: the next request is told.
                self.security.fail(index);
                self.security.poisoned = true;
            }
            (PendingLeg::Bind(ack), Err(error)) => {
                self.nak(ack.call_id, RejectReason::INVALID_CHECKSUM);
                self.close(error.into());
            }
            (PendingLeg::Alter(ack), Err(error)) => {
                let status = match error {
                    SecurityError::Refused(_) | SecurityError::Unavailable(_) => {
                        FaultStatus::ACCESS_DENIED
                    }
                    _ => FaultStatus::SECURITY_PACKAGE,
                };
                self.fault(ack.call_id, 0, status, PfcFlags::DID_NOT_EXECUTE);
                self.close(error.into());
            }
        }
    }

    /// Flags of an answer: those that were asked for and are in force.
    fn echoed_flags(&self, asked: PfcFlags) -> PfcFlags {
        let mut flags = PfcFlags::WHOLE;
        flags.set(PfcFlags::CONC_MPX, self.is_multiplexed());
        flags.set(PfcFlags::SUPPORT_HEADER_SIGN, self.header_signing());
        flags & (asked | PfcFlags::WHOLE)
    }

    fn acknowledge(&mut self, packet_type: PacketType, ack: &Acknowledgement, token: &[u8]) {
        let Phase::Bound(bound) = &self.phase else {
            return;
        };
        let config = self.config.clone();
        let mut body = BindAck {
            max_xmit_frag: bound.max_frag,
            max_recv_frag: bound.max_frag,
            assoc_group_id: bound.group.id(),
            secondary_address: &[],
            results: ack.results.clone(),
        };
        let body = if packet_type == PacketType::BIND_ACK {
            body.secondary_address = config.secondary_address.as_bytes();
            Body::BindAck(body)
        } else {
            Body::AlterContextResp(AlterContextResp(body))
        };
        let mut packet = Packet::new(ack.flags, ack.call_id, body);
        if let Some(trailer) = ack.trailer {
            // \[MS-RPCE 2.2.2.11\] Without a token too; the padding is ours and there is none.
            packet = packet.with_auth(
                SecTrailer {
                    auth_pad_length: 0,
                    ..trailer
                },
                token,
            );
        }
        self.transmit_packet(&packet);
    }

    fn refuse_bind(&mut self, header: &Header, reason: RejectReason, close: CloseReason) {
        self.nak(header.call_id, reason);
        self.close(close);
    }
}

/// What the trailer of an alter_context is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AlterLeg {
    /// There is none.
    None,
    /// The first or next leg of this context.
    Next(ContextIndex),
    /// The leg of another exchange than the one under way.
    Changed(FaultStatus),
}

impl BeginError {
    const fn reject_reason(self) -> RejectReason {
        match self {
            Self::Level | Self::TokenTooLong => RejectReason::NOT_SPECIFIED,
            Self::UnknownType => RejectReason::AUTHENTICATION_TYPE_NOT_RECOGNIZED,
            Self::UnsupportedLevel => RejectReason::INVALID_CHECKSUM,
            Self::Limit => RejectReason::LOCAL_LIMIT_EXCEEDED,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Level => "authentication level",
            Self::UnknownType => "authentication type not offered",
            Self::UnsupportedLevel => "authentication level call",
            Self::Limit => "too many security contexts",
            Self::TokenTooLong => "token too long",
        }
    }
}

/// The verifier of a bind or alter_context.
fn exchange_verifier<'a>(header: &Header, pdu: &'a [u8]) -> Verifier<'a> {
    let Some(start) = SecTrailer::locate(header, pdu, Header::LEN)? else {
        return Ok(None);
    };
    let verifier = SecTrailer::decode(header, pdu, start)?;
    check_pad(header, &verifier.trailer)?;
    Ok(Some(verifier))
}

/// Padding means nothing where tokens are exchanged, but Windows refuses a length that could not
/// stand in a request of the same size.
fn check_pad(header: &Header, trailer: &SecTrailer) -> Result<(), DecodeError> {
    let fixed = Request::FIXED_LEN + SecTrailer::LEN + usize::from(header.auth_length);
    let room = usize::from(header.frag_length).saturating_sub(fixed);
    let pad = usize::from(trailer.auth_pad_length);
    if pad <= room {
        return Ok(());
    }
    Err(DecodeError::Truncated {
        field: "auth_pad_length",
        needed: pad,
        found: room,
    })
}

fn is_too_long(verifier: &AuthVerifier<'_>) -> bool {
    verifier.trailer.auth_type == AuthType::WINNT && verifier.token.len() > MAX_TOKEN_NTLM
}
