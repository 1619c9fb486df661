//! What bind and alter_context agree on: sizes, presentation contexts, features.

use super::Interface;
use crate::SyntaxId;
use crate::limits::{MAX_CONTEXT_ELEMENTS, MAX_CONTEXTS, MIN_NEGOTIATED_FRAG};
use crate::pdu::{Bind, BindTimeFeatures, ContextElement, ContextResult};

/// The fragment size of both directions: what the client offers, at least 2048, at most what the
/// transport takes, a multiple of 8. (Measured against Windows Server 2012 R2, as Samba does it.)
pub(super) fn max_frag(bind: &Bind, transport: u16) -> u16 {
    let offered = bind.max_xmit_frag.min(bind.max_recv_frag);
    offered.max(MIN_NEGOTIATED_FRAG).min(transport) & !7
}

/// What the contexts of a bind or alter_context broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// None at all, or more than anyone needs.
    Count,
    /// A context without a transfer syntax.
    NoTransferSyntax,
    /// More than one feature negotiation.
    FeaturesTwice,
    /// A context id that stands for another interface or transfer syntax.
    Rebound,
}

impl Conflict {
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Count => "number of presentation contexts",
            Self::NoTransferSyntax => "presentation context without a transfer syntax",
            Self::FeaturesTwice => "bind-time features negotiated twice",
            Self::Rebound => "presentation context bound to another interface",
        }
    }
}

/// Whether feature negotiation is possible in this PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Features {
    /// In a bind.
    Negotiable,
    /// In an alter_context it counts as an unknown transfer syntax.
    Settled,
}

/// An accepted presentation context.
#[derive(Debug, Clone, Copy)]
pub(super) struct PresentationContext {
    pub(super) id: u16,
    pub(super) interface: Offered,
    /// The interface as the client named it.
    pub(super) abstract_syntax: SyntaxId,
    /// NDR64 was offered as well when it was accepted.
    had_ndr64: bool,
}

/// An interface as the association serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// Answered by the association itself.
    Management,
    /// The n-th of the configuration.
    Configured(usize),
}

/// The presentation contexts of an association.
#[derive(Debug, Default)]
pub(super) struct PresentationContexts(Vec<PresentationContext>);

impl PresentationContexts {
    pub(super) fn find(&self, id: u16) -> Option<PresentationContext> {
        self.0.iter().find(|context| context.id == id).copied()
    }

    /// The interfaces that are bound.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = Offered> {
        self.0.iter().map(|context| context.interface)
    }

    /// Decides on each element. Like Windows, accepts one context a PDU: the first that can be.
    pub(super) fn negotiate(
        &mut self,
        elements: &[ContextElement],
        interfaces: &[Interface],
        features: Features,
    ) -> Result<Vec<ContextResult>, Conflict> {
        if elements.is_empty() || elements.len() > MAX_CONTEXT_ELEMENTS {
            return Err(Conflict::Count);
        }
        let mut acknowledged = false;
        let mut accepted = false;
        let mut results = Vec::with_capacity(elements.len());
        for element in elements {
            let first = element
                .transfer_syntaxes
                .first()
                .ok_or(Conflict::NoTransferSyntax)?;
            let wanted = (features == Features::Negotiable)
                .then(|| BindTimeFeatures::from_syntax(first))
                .flatten();
            let result = match wanted {
                Some(_) if acknowledged => return Err(Conflict::FeaturesTwice),
                Some(wanted) => {
                    acknowledged = true;
                    ContextResult::negotiate_ack(wanted & BindTimeFeatures::all())
                }
                None => self.decide(element, interfaces, accepted)?,
            };
            accepted |= result.is_accepted();
            results.push(result);
        }
        Ok(results)
    }

    fn decide(
        &mut self,
        element: &ContextElement,
        interfaces: &[Interface],
        accepted: bool,
    ) -> Result<ContextResult, Conflict> {
        let Some(interface) = find_interface(interfaces, &element.abstract_syntax) else {
            return Ok(ContextResult::UNKNOWN_INTERFACE);
        };
        if accepted {
            return Ok(ContextResult::NO_TRANSFER_SYNTAX);
        }
        let known = self.find(element.context_id);
        // Windows takes NDR64 where it is offered, so offering it later asks for another syntax.
        let offers = |syntax| element.transfer_syntaxes.contains(&syntax);
        let has_ndr64 = offers(SyntaxId::NDR64);
        if known
            .is_some_and(|known| known.interface != interface || (has_ndr64 && !known.had_ndr64))
        {
            return Err(Conflict::Rebound);
        }
        if !offers(SyntaxId::NDR20) {
            return Ok(ContextResult::NO_TRANSFER_SYNTAX);
        }
        if known.is_none() {
            if self.0.len() >= MAX_CONTEXTS {
                return Ok(ContextResult::LOCAL_LIMIT);
            }
            self.0.push(PresentationContext {
                id: element.context_id,
                interface,
                abstract_syntax: element.abstract_syntax,
                had_ndr64: has_ndr64,
            });
        }
        Ok(ContextResult::accepted(SyntaxId::NDR20))
    }
}

/// \[C706 12.6.3.1\] An interface fits if UUID and major version are equal and the client's minor
/// version is not above ours.
fn find_interface(interfaces: &[Interface], wanted: &SyntaxId) -> Option<Offered> {
    let fits = |ours: &SyntaxId| {
        ours.uuid == wanted.uuid && ours.major() == wanted.major() && ours.minor() >= wanted.minor()
    };
    if let Some(position) = interfaces.iter().position(|interface| fits(&interface.id)) {
        return Some(Offered::Configured(position));
    }
    fits(&SyntaxId::MGMT).then_some(Offered::Management)
}
