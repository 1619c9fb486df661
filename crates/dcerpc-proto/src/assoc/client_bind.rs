//! The client's bind: authentication leg by leg, interface by interface.

use super::StepTicket;
use super::client::{
    BoundContext, ClientAction, ClientAssociation, ClientError, FeatureNegotiation, HeaderSigning,
    LegCarrier, State, protocol,
};
use crate::SyntaxId;
use crate::limits::MIN_PEER_FRAG;
use crate::pdu::{
    AlterContext, AlterContextResp, Auth3, Bind, BindAck, BindNak, BindTimeFeatures, Body,
    ContextElement, Fault, Header, Packet, PacketType, PfcFlags, SecTrailer,
};
use crate::security::{Leg, SecurityContext};
use bytes::Bytes;

impl ClientAssociation {
    /// The first leg, or the bind at once.
    pub(super) fn start(&mut self) {
        if self.security.is_some() {
            self.begin_step(LegCarrier::Bind, Bytes::new());
        } else {
            self.send_bind(&[]);
        }
    }

    fn begin_step(&mut self, carrier: LegCarrier, token: Bytes) {
        let context = self
            .security
            .as_mut()
            .and_then(|initiator| initiator.context.take());
        match context {
            Some(context) => {
                self.state = State::Stepping(carrier);
                self.act(ClientAction::Step(StepTicket { context, token }));
            }
            None => self.fail(ClientError::NotBound),
        }
    }

    pub(super) fn finish_step(
        &mut self,
        carrier: LegCarrier,
        context: Box<dyn SecurityContext>,
        leg: Leg,
    ) -> Result<(), ClientError> {
        if let Some(initiator) = &mut self.security {
            initiator.context = Some(context);
            initiator.is_done = leg.done;
        }
        match carrier {
            LegCarrier::Bind => self.send_bind(&leg.token),
            LegCarrier::Later if leg.token.is_empty() && leg.done => self.next_interface(),
            LegCarrier::Later if leg.token.is_empty() => {
                return Err(ClientError::Protocol(
                    "authentication ended too early".to_owned(),
                ));
            }
            LegCarrier::Later if leg.done => {
                self.send_auth3(&leg.token);
                self.next_interface();
            }
            LegCarrier::Later => {
                self.send_alter(0, &leg.token);
                self.state = State::Authenticating;
            }
        }
        Ok(())
    }

    fn send_bind(&mut self, token: &[u8]) {
        let mut contexts: Vec<_> = self.element(0).into_iter().collect();
        if let (FeatureNegotiation::Offer, Some(first)) =
            (self.feature_negotiation, self.interfaces.first())
        {
            contexts.push(ContextElement {
                context_id: u16::try_from(self.interfaces.len()).unwrap_or(u16::MAX),
                abstract_syntax: *first,
                transfer_syntaxes: vec![BindTimeFeatures::all().to_syntax()],
            });
        }
        let bind = self.bind(contexts);
        self.state = State::Binding;
        self.send_exchange(Body::Bind(bind), token);
    }

    fn send_alter(&mut self, position: usize, token: &[u8]) {
        let contexts = self.element(position).into_iter().collect();
        let body = Body::AlterContext(AlterContext(self.bind(contexts)));
        self.send_exchange(body, token);
    }

    fn send_auth3(&mut self, token: &[u8]) {
        self.send_exchange(Body::Auth3(Auth3 { pad: [0; 4] }), token);
    }

    fn bind(&self, contexts: Vec<ContextElement>) -> Bind {
        Bind {
            max_xmit_frag: self.max_frag,
            max_recv_frag: self.max_frag,
            assoc_group_id: self.association_group,
            contexts,
        }
    }

    fn element(&self, position: usize) -> Option<ContextElement> {
        Some(ContextElement {
            context_id: u16::try_from(position).ok()?,
            abstract_syntax: *self.interfaces.get(position)?,
            transfer_syntaxes: vec![SyntaxId::NDR20],
        })
    }

    /// Sends a PDU of the bind, with a token if there is one.
    fn send_exchange(&mut self, body: Body<'_>, token: &[u8]) {
        let is_auth3 = body.packet_type() == PacketType::AUTH3;
        let mut flags = PfcFlags::WHOLE;
        let offers = self
            .security
            .as_ref()
            .is_some_and(|initiator| initiator.offer == HeaderSigning::Offer);
        // In an auth3 the bit means a pending cancel.
        flags.set(PfcFlags::SUPPORT_HEADER_SIGN, offers && !is_auth3);
        let mut packet = Packet::new(flags, self.last_call_id, body);
        let trailer = self.security.as_ref().map(|initiator| initiator.trailer());
        if let Some(trailer) = trailer.filter(|_| !token.is_empty()) {
            packet = packet.with_auth(trailer, token);
        }
        self.transmit_packet(&packet);
    }

    /// An answer to the bind or to an alter_context.
    pub(super) fn handle_bind_answer(
        &mut self,
        header: &Header,
        pdu: &[u8],
    ) -> Result<(), ClientError> {
        let ack = match (self.state, header.packet_type) {
            (_, PacketType::FAULT) => {
                let fault = Fault::decode(header, pdu).map_err(protocol)?;
                return Err(ClientError::BindFault(fault.status));
            }
            (State::Binding, PacketType::BIND_NAK) => {
                let nak = BindNak::decode(header, pdu).map_err(protocol)?;
                return Err(ClientError::BindNak(nak.reason.0));
            }
            (State::Binding, PacketType::BIND_ACK) => {
                BindAck::decode(header, pdu).map_err(protocol)?
            }
            (State::Authenticating | State::Altering, PacketType::ALTER_CONTEXT_RESP) => {
                AlterContextResp::decode(header, pdu).map_err(protocol)?.0
            }
            (_, PacketType(other)) => {
                return Err(ClientError::Protocol(format!(
                    "PDU of type {other} out of turn"
                )));
            }
        };
        if header.call_id != self.last_call_id {
            return Err(ClientError::Protocol("answer to no call".to_owned()));
        }
        match self.state {
            State::Binding => {
                let frag = ack.max_recv_frag.min(ack.max_xmit_frag).min(self.max_frag);
                if frag < MIN_PEER_FRAG {
                    return Err(ClientError::Protocol("fragment size too small".to_owned()));
                }
                self.max_frag = frag;
                self.association_group = ack.assoc_group_id;
                if let Some(initiator) = &mut self.security {
                    initiator.header_signing = initiator.offer == HeaderSigning::Offer
                        && header.flags.contains(PfcFlags::SUPPORT_HEADER_SIGN);
                }
                self.note_result(&ack)?;
            }
            State::Altering => self.note_result(&ack)?,
            State::Authenticating | State::Bound | State::Over | State::Stepping(_) => {}
        }
        self.continue_exchange(header, pdu)
    }

    /// What became of the interface that was asked for: the first result.
    fn note_result(&mut self, ack: &BindAck<'_>) -> Result<(), ClientError> {
        let interface = self.interfaces.get(self.contexts.len());
        let (Some(interface), Some(result)) = (interface, ack.results.first()) else {
            return Err(ClientError::Protocol("number of results".to_owned()));
        };
        let rejected = (!result.is_accepted()).then_some((result.result, result.reason));
        if rejected.is_none() && result.transfer_syntax != SyntaxId::NDR20 {
            return Err(ClientError::Protocol(
                "transfer syntax that was not offered".to_owned(),
            ));
        }
        self.contexts.push(BoundContext {
            interface: *interface,
            rejected,
        });
        Ok(())
    }

    fn continue_exchange(&mut self, header: &Header, pdu: &[u8]) -> Result<(), ClientError> {
        let is_done = self
            .security
            .as_ref()
            .is_none_or(|initiator| initiator.is_done);
        let token = match SecTrailer::locate(header, pdu, Header::LEN).map_err(protocol)? {
            None => &[],
            Some(start) => {
                SecTrailer::decode(header, pdu, start)
                    .map_err(protocol)?
                    .token
            }
        };
        match (is_done, token.is_empty()) {
            (true, true) => self.next_interface(),
            (false, false) => self.begin_step(LegCarrier::Later, Bytes::copy_from_slice(token)),
            _ => {
                return Err(ClientError::Protocol(
                    "authentication out of step".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Authentication is over: binds what is left, one alter_context each.
    fn next_interface(&mut self) {
        let position = self.contexts.len();
        if position < self.interfaces.len() {
            self.next_call_id();
            self.state = State::Altering;
            self.send_alter(position, &[]);
        } else {
            self.state = State::Bound;
            self.act(ClientAction::Bound(self.contexts.clone()));
        }
    }
}
