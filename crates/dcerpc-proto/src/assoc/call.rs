//! Calls: requests come in fragments, are verified, dispatched and answered.

use super::auth::{ContextIndex, Cover};
use super::fragment::{Layout, Outgoing};
use super::mgmt;
use super::negotiate::{Offered, PresentationContext};
use super::server::{
    Activity, CallSecurity, CloseReason, IncomingCall, Phase, ServerAction, ServerAssociation,
};
use crate::limits::{MAX_ALLOC_HINT, MAX_STUB, REQUEST_TIMEOUT};
use crate::pdu::{Header, PacketType, PfcFlags, Request};
use crate::security::AuthLevel;
use crate::verification::VerificationFacts;
use crate::{FaultStatus, SyntaxId};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// A call whose last fragment is still to come.
#[derive(Debug)]
pub(super) struct IncompleteCall {
    origin: Origin,
    stub: BytesMut,
}

/// What the first fragment says; later fragments are bound by it whatever they say.
#[derive(Debug, Clone, Copy)]
struct Origin {
    header: Header,
    context: PresentationContext,
    opnum: u16,
    security: Option<ContextIndex>,
}

/// A call that the driver executes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Executing {
    call_id: u32,
    context_id: u16,
    security: Option<ContextIndex>,
    pub(super) orphaned: bool,
}

/// A refusal of a fragment that also ends the association.
#[derive(Debug)]
struct Refusal {
    call_id: u32,
    context_id: u16,
    status: FaultStatus,
    flags: PfcFlags,
    reason: CloseReason,
}

impl Refusal {
    fn new(header: &Header, context_id: u16, status: FaultStatus, reason: CloseReason) -> Self {
        let flags = PfcFlags::empty();
        Self {
            call_id: header.call_id,
            context_id,
            status,
            flags,
            reason,
        }
    }

    fn protocol(header: &Header, context_id: u16, why: &'static str) -> Self {
        Self::new(
            header,
            context_id,
            FaultStatus::PROTOCOL,
            CloseReason::Protocol(why),
        )
    }

    fn denied(header: &Header, context_id: u16, why: &'static str) -> Self {
        Self::new(
            header,
            context_id,
            FaultStatus::ACCESS_DENIED,
            CloseReason::AccessDenied(why),
        )
    }

    fn not_executed(mut self) -> Self {
        self.flags = PfcFlags::DID_NOT_EXECUTE;
        self
    }
}

/// Which call a fragment belongs to.
enum Admitted {
    /// It begins this one.
    First(Origin),
    /// It goes on with the incomplete one.
    Later(Origin),
    /// It is for a presentation context that does not exist; the association lives on, if the
    /// fragment is genuine.
    UnknownContext(Option<ContextIndex>),
}

impl ServerAssociation {
    pub(super) fn handle_request(&mut self, now: Duration, header: &Header, pdu: BytesMut) {
        if let Err(refusal) = self.take_fragment(now, header, pdu) {
            self.fault(
                refusal.call_id,
                refusal.context_id,
                refusal.status,
                refusal.flags,
            );
            self.close(refusal.reason);
        }
    }

    fn take_fragment(
        &mut self,
        now: Duration,
        header: &Header,
        mut pdu: BytesMut,
    ) -> Result<(), Refusal> {
        let malformed = |error| {
            let reason = CloseReason::Malformed(error);
            Refusal::new(header, 0, FaultStatus::PROTOCOL, reason).not_executed()
        };
        let layout = Layout::of(header, &pdu).map_err(malformed)?;
        let request = Request::decode(header, &pdu, pdu.len()).map_err(malformed)?;
        let Request {
            alloc_hint,
            context_id,
            opnum,
            ..
        } = request;
        if self.security.poisoned {
            return Err(Refusal::denied(
                header,
                context_id,
                "authentication failed before",
            ));
        }
        let trailer = layout.trailer.map(|(_, trailer)| trailer);
        if trailer.is_some_and(|trailer| trailer.auth_level >= AuthLevel::Packet as u8) {
            self.security.protected_once = true;
        }
        let cover = self.security.cover(trailer.as_ref());
        if cover == Cover::Unfinished {
            return Err(
                Refusal::protocol(header, 0, "request before authentication finished")
                    .not_executed(),
            );
        }
        let admitted = if header.flags.contains(PfcFlags::FIRST_FRAG) {
            self.admit_first(header, context_id, opnum, cover)?
        } else {
            self.admit_later(header, context_id, cover)?
        };
        let (origin, is_first) = match admitted {
            Admitted::First(origin) => (origin, true),
            Admitted::Later(origin) => (origin, false),
            Admitted::UnknownContext(security) => {
                if security.is_some() {
                    self.verify(header, 0, security, &layout, &mut pdu)?;
                }
                let flags = PfcFlags::DID_NOT_EXECUTE;
                self.fault(header.call_id, 0, FaultStatus::UNKNOWN_INTERFACE, flags);
                return Ok(());
            }
        };
        self.verify(
            &origin.header,
            origin.context.id,
            origin.security,
            &layout,
            &mut pdu,
        )?;
        let is_last = header.flags.contains(PfcFlags::LAST_FRAG);
        if is_first && is_last {
            self.check_total(&origin, layout.stub().len())?;
            let stub = layout.into_stub(pdu).freeze();
            return self.dispatch(&origin, stub);
        }
        let incomplete = self.incomplete.take();
        let mut stub = incomplete.map(|call| call.stub).unwrap_or_default();
        // The hint is for what is still to come, this fragment included.
        let hinted = (alloc_hint as usize).saturating_add(stub.len());
        if hinted > MAX_ALLOC_HINT as usize {
            let context_id = origin.context.id;
            return Err(Refusal::denied(
                &origin.header,
                context_id,
                "alloc_hint above 4 MiB",
            ));
        }
        self.check_total(&origin, stub.len().saturating_add(layout.stub().len()))?;
        stub.extend_from_slice(pdu.get(layout.stub()).unwrap_or_default());
        if is_last {
            self.deadlines.request = None;
            return self.dispatch(&origin, stub.freeze());
        }
        self.deadlines
            .request
            .get_or_insert(now.saturating_add(REQUEST_TIMEOUT));
        self.incomplete = Some(IncompleteCall { origin, stub });
        Ok(())
    }

    fn admit_first(
        &mut self,
        header: &Header,
        context_id: u16,
        opnum: u16,
        cover: Cover,
    ) -> Result<Admitted, Refusal> {
        if matches!(self.activity, Activity::Executing(_)) {
            return Err(Refusal::protocol(
                header,
                0,
                "request while another is executed",
            ));
        }
        let context = self.contexts.find(context_id);
        if let Some(IncompleteCall { origin, .. }) = &self.incomplete {
            return Err(self.interleaved(header, origin, context, cover));
        }
        if header.flags.contains(PfcFlags::PENDING_CANCEL) {
            let status = FaultStatus::NO_CALL_ACTIVE;
            let reason = CloseReason::Protocol("cancel pending for a call that begins");
            return Err(Refusal::new(header, 0, status, reason).not_executed());
        }
        let security = match cover {
            Cover::None => None,
            Cover::Ready(index) => Some(index),
            Cover::Mismatch | Cover::Unfinished => {
                let why = "trailer of no security context";
                return Err(Refusal::denied(header, context_id, why));
            }
        };
        let Some(context) = context else {
            return Ok(Admitted::UnknownContext(security));
        };
        Ok(Admitted::First(Origin {
            header: *header,
            context,
            opnum,
            security,
        }))
    }

    /// A first fragment while another call is incomplete, with or without CONC_MPX: only one call
    /// at a time is put together.
    fn interleaved(
        &self,
        header: &Header,
        origin: &Origin,
        context: Option<PresentationContext>,
        cover: Cover,
    ) -> Refusal {
        let is_same_call = header.call_id == origin.header.call_id;
        let is_same_context = context.is_some_and(|context| context.id == origin.context.id);
        let other_security = match cover {
            Cover::None => false,
            Cover::Ready(index) => Some(index) != origin.security,
            Cover::Mismatch | Cover::Unfinished => true,
        };
        let mut refusal = match self.is_multiplexed() && !is_same_call {
            true => Refusal::protocol(header, 0, "interleaved request"),
            // Without CONC_MPX the fault is for the call that was there before.
            false => Refusal::protocol(&origin.header, origin.context.id, "interleaved request"),
        };
        if is_same_call && is_same_context && other_security {
            refusal.status = FaultStatus::SECURITY_PACKAGE;
        }
        refusal
    }

    fn admit_later(
        &self,
        header: &Header,
        context_id: u16,
        cover: Cover,
    ) -> Result<Admitted, Refusal> {
        let why = "fragment without a first one";
        match &self.incomplete {
            Some(IncompleteCall { origin, .. }) if origin.header.call_id == header.call_id => {
                if origin.header.data_representation != header.data_representation {
                    let why = "data representation changed within a call";
                    return Err(
                        Refusal::protocol(&origin.header, origin.context.id, why).not_executed()
                    );
                }
                Ok(Admitted::Later(*origin))
            }
            Some(IncompleteCall { origin, .. }) if !self.is_multiplexed() => {
                Err(Refusal::protocol(&origin.header, origin.context.id, why))
            }
            Some(_) => Err(Refusal::protocol(header, 0, why)),
            None if !self.is_multiplexed() => Err(Refusal::protocol(header, 0, why)),
            None => {
                // Nothing of it is used, so nothing is verified either.
                let Some(context) = self.contexts.find(context_id) else {
                    return Ok(Admitted::UnknownContext(None));
                };
                let context_id = context.id;
                Err(match cover {
                    Cover::Mismatch => Refusal::denied(header, context_id, why),
                    _ => Refusal::protocol(header, context_id, why),
                })
            }
        }
    }

    /// Verifies and decrypts a fragment before any of it is used, by the security context of the
    /// call's first fragment. `first` is that one's header, for the fault.
    fn verify(
        &mut self,
        first: &Header,
        context_id: u16,
        security: Option<ContextIndex>,
        layout: &Layout,
        pdu: &mut BytesMut,
    ) -> Result<(), Refusal> {
        let Some(index) = security else {
            return match layout.trailer {
                None => Ok(()),
                Some(_) => {
                    let why = "trailer on a call that began without one";
                    Err(Refusal::denied(first, context_id, why))
                }
            };
        };
        let header_signing = self.header_signing();
        let protects = self
            .security
            .get(index)
            .is_some_and(|entry| entry.protects());
        if !protects {
            return Ok(());
        }
        let Some((trailer, _)) = layout.trailer else {
            let why = "fragment without a trailer on a protected call";
            return Err(Refusal::protocol(first, context_id, why));
        };
        let Some(mut protection) = self.security.protection(index, header_signing) else {
            let why = "security context not ready";
            return Err(Refusal::denied(first, context_id, why));
        };
        protection
            .unprotect(pdu, layout.body, trailer)
            .map_err(|error| {
                let status = FaultStatus::SECURITY_PACKAGE;
                Refusal::new(first, context_id, status, error.into())
            })
    }

    fn check_total(&self, origin: &Origin, total: usize) -> Result<(), Refusal> {
        if total <= MAX_STUB {
            return Ok(());
        }
        let mut refusal = Refusal::denied(&origin.header, origin.context.id, "");
        refusal.reason = CloseReason::Limit("stub of a request");
        Err(refusal)
    }

    /// A request is complete and verified.
    fn dispatch(&mut self, origin: &Origin, stub: Bytes) -> Result<(), Refusal> {
        let Origin {
            header,
            context,
            opnum,
            security,
        } = origin;
        let security = security.and_then(|index| {
            let (entry, identity) = self.security.identity(index)?;
            let (auth_type, level) = (entry.auth_type, entry.level);
            Some((
                index,
                CallSecurity {
                    auth_type,
                    level,
                    identity: identity.clone(),
                },
            ))
        });
        let (interface, opnum_count, min_auth_level) = self.interface(context.interface);
        let level = security
            .as_ref()
            .map_or(AuthLevel::None, |(_, security)| security.level);
        if level < min_auth_level {
            self.act(ServerAction::LevelTooLow {
                interface,
                opnum: *opnum,
                level,
            });
            let refusal = Refusal::denied(header, context.id, "authentication level too low");
            if !self.security.protected_once {
                return Err(refusal);
            }
            self.fault(
                refusal.call_id,
                refusal.context_id,
                refusal.status,
                refusal.flags,
            );
            return Ok(());
        }
        if *opnum >= opnum_count {
            let flags = PfcFlags::DID_NOT_EXECUTE;
            self.fault(header.call_id, context.id, FaultStatus::OP_RANGE, flags);
            return Ok(());
        }
        self.statistics.calls_in = self.statistics.calls_in.wrapping_add(1);
        let executing = Executing {
            call_id: header.call_id,
            context_id: context.id,
            security: security.as_ref().map(|(index, _)| *index),
            orphaned: false,
        };
        let verification = VerificationFacts {
            client_header_signing: self.client_header_signing(),
            interface: context.abstract_syntax,
            transfer: SyntaxId::NDR20,
            data_representation: header.data_representation,
            byte_order: header.byte_order(),
            call_id: header.call_id,
            context_id: context.id,
            opnum: *opnum,
        };
        if context.interface == Offered::Management {
            let config = &self.config;
            let outcome = mgmt::answer(
                *opnum,
                &stub,
                &verification,
                &config.interfaces,
                &self.statistics,
            );
            self.answer(&executing, outcome);
            return Ok(());
        }
        self.activity = Activity::Executing(executing);
        self.act(ServerAction::Call(IncomingCall {
            call_id: header.call_id,
            interface,
            opnum: *opnum,
            byte_order: header.byte_order(),
            stub,
            security: security.map(|(_, security)| security),
            verification,
        }));
        Ok(())
    }

    /// Id, number of operations and minimum level of an interface.
    pub(super) fn interface(&self, offered: Offered) -> (SyntaxId, u16, AuthLevel) {
        let default = self.config.min_auth_level;
        let configured = match offered {
            Offered::Management => None,
            Offered::Configured(position) => self.config.interfaces.get(position),
        };
        match configured {
            None => (SyntaxId::MGMT, mgmt::OPNUM_COUNT, default),
            Some(interface) => (
                interface.id,
                interface.opnum_count,
                interface.min_auth_level.unwrap_or(default),
            ),
        }
    }

    pub(super) fn finish_call(&mut self, call_id: u32, outcome: Result<Bytes, FaultStatus>) {
        let Activity::Executing(executing) = self.activity else {
            return;
        };
        if executing.call_id != call_id {
            return;
        }
        self.activity = Activity::Idle;
        if !executing.orphaned {
            self.answer(&executing, outcome);
        }
    }

    fn answer(&mut self, call: &Executing, outcome: Result<Bytes, FaultStatus>) {
        match outcome {
            Ok(stub) => self.respond(call, &stub),
            Err(status) => {
                let was_not_executed = status == FaultStatus::OP_RANGE;
                let flags = match was_not_executed {
                    true => PfcFlags::DID_NOT_EXECUTE,
                    false => PfcFlags::empty(),
                };
                self.fault(call.call_id, call.context_id, status, flags);
            }
        }
    }

    fn respond(&mut self, call: &Executing, stub: &[u8]) {
        let Phase::Bound(bound) = &self.phase else {
            return;
        };
        let outgoing = Outgoing {
            packet_type: PacketType::RESPONSE,
            call_id: call.call_id,
            // Windows cuts the context id of a response to 8 bits, and Samba does it after it.
            context_id: call.context_id & 0xFF,
            opnum: 0,
            stub,
            max_frag: bound.max_frag,
        };
        let header_signing = self.header_signing();
        let protects = call.security.filter(|index| {
            self.security
                .get(*index)
                .is_some_and(|entry| entry.protects())
        });
        let protection = protects.and_then(|index| self.security.protection(index, header_signing));
        let (actions, statistics) = (&mut self.actions, &mut self.statistics);
        let sent = outgoing.send(&mut self.scratch, protection, |pdu| {
            statistics.packets_out = statistics.packets_out.wrapping_add(1);
            actions.push_back(ServerAction::Transmit(pdu));
        });
        if let Err(error) = sent {
            self.close(error.into());
        }
    }

    /// \[C706 12.6.4.6\] co_cancel: for the call that is executed; others are ignored, as is one for
    /// a call that is still incomplete.
    pub(super) fn handle_cancel(&mut self, header: &Header) {
        if let Activity::Executing(executing) = self.activity
            && executing.call_id == header.call_id
        {
            self.act(ServerAction::CancelCall {
                call_id: header.call_id,
            });
        }
    }

    /// \[C706 12.6.4.8\] orphaned: like co_cancel, and the reply has no reader.
    pub(super) fn handle_orphaned(&mut self, header: &Header) {
        if let Activity::Executing(executing) = &mut self.activity
            && executing.call_id == header.call_id
            && !std::mem::replace(&mut executing.orphaned, true)
        {
            self.act(ServerAction::CancelCall {
                call_id: header.call_id,
            });
        }
    }
}
