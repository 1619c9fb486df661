//! The security contexts of a server association.

use super::fragment::Protection;
use crate::limits::{MAX_SECURITY_CONTEXTS, MAX_TOKEN_NTLM};
use crate::pdu::SecTrailer;
use crate::security::{
    AuthLevel, AuthType, Identity, SecurityContext, SecurityError, SecurityProvider,
};
use std::sync::Arc;

/// Position in the table; contexts are never removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContextIndex(usize);

/// Security contexts by auth_context_id.
#[derive(Debug, Default)]
pub(super) struct SecurityContexts {
    entries: Vec<Entry>,
    /// A leg that had no answer (auth3) failed: the next request says so.
    pub(super) poisoned: bool,
    /// Some request was covered by a context that protects each PDU.
    pub(super) protected_once: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    context_id: u32,
    pub(super) auth_type: AuthType,
    pub(super) level: AuthLevel,
    state: EntryState,
}

#[derive(Debug)]
enum EntryState {
    /// Legs are exchanged; the context is on loan while a leg runs.
    Exchanging(Option<Box<dyn SecurityContext>>),
    Ready {
        context: Box<dyn SecurityContext>,
        identity: Arc<Identity>,
    },
    Failed,
}

/// What a first leg is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BeginError {
    /// Level 0, 1 or unknown.
    Level,
    /// The package is not offered.
    UnknownType,
    /// The package has no such level (call).
    UnsupportedLevel,
    /// Too many contexts.
    Limit,
    /// A token that no client of this package sends.
    TokenTooLong,
}

/// How a trailer relates to the contexts of the association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// No trailer.
    None,
    /// This context, complete.
    Ready(ContextIndex),
    /// This context, which is not complete.
    Unfinished,
    /// A context that failed or is unknown, or its type or level is another one.
    Mismatch,
}

impl SecurityContexts {
    pub(super) fn find(&self, context_id: u32) -> Option<ContextIndex> {
        self.entries
            .iter()
            .position(|entry| entry.context_id == context_id)
            .map(ContextIndex)
    }

    pub(super) fn get(&self, index: ContextIndex) -> Option<&Entry> {
        self.entries.get(index.0)
    }

    /// Whether legs are being exchanged on this context.
    pub(super) fn is_exchanging(&self, index: ContextIndex) -> bool {
        self.get(index)
            .is_some_and(|entry| matches!(entry.state, EntryState::Exchanging(_)))
    }

    /// Whether an authentication was begun and has not succeeded.
    pub(super) fn is_unfinished(&self) -> bool {
        self.poisoned
            || self
                .entries
                .iter()
                .any(|entry| !matches!(entry.state, EntryState::Ready { .. }))
    }

    /// The level of the complete context that has the highest.
    pub(super) fn highest_level(&self) -> AuthLevel {
        let ready = |entry: &&Entry| matches!(entry.state, EntryState::Ready { .. });
        let levels = self.entries.iter().filter(ready).map(|entry| entry.level);
        levels.max().unwrap_or(AuthLevel::None)
    }

    /// A new context for the first leg of an exchange.
    pub(super) fn begin(
        &mut self,
        trailer: &SecTrailer,
        token: &[u8],
        provider: &dyn SecurityProvider,
    ) -> Result<ContextIndex, BeginError> {
        let level = AuthLevel::try_from(trailer.auth_level).map_err(|_| BeginError::Level)?;
        if level == AuthLevel::None {
            return Err(BeginError::Level);
        }
        if self.entries.len() >= MAX_SECURITY_CONTEXTS {
            return Err(BeginError::Limit);
        }
        let context = provider
            .acceptor(trailer.auth_type)
            .ok_or(BeginError::UnknownType)?;
        if level == AuthLevel::Call {
            return Err(BeginError::UnsupportedLevel);
        }
        if trailer.auth_type == AuthType::WINNT && token.len() > MAX_TOKEN_NTLM {
            return Err(BeginError::TokenTooLong);
        }
        self.entries.push(Entry {
            context_id: trailer.auth_context_id,
            auth_type: trailer.auth_type,
            level,
            state: EntryState::Exchanging(Some(context)),
        });
        Ok(ContextIndex(self.entries.len().saturating_sub(1)))
    }

    /// Lends the context out for a leg.
    pub(super) fn lend(&mut self, index: ContextIndex) -> Option<Box<dyn SecurityContext>> {
        match &mut self.entries.get_mut(index.0)?.state {
            EntryState::Exchanging(context) => context.take(),
            EntryState::Ready { .. } | EntryState::Failed => None,
        }
    }

    /// Takes the context back for the next leg.
    pub(super) fn put_back(&mut self, index: ContextIndex, context: Box<dyn SecurityContext>) {
        self.set(index, EntryState::Exchanging(Some(context)));
    }

    /// Takes the context back complete, if it knows its peer and can do what its level asks for.
    pub(super) fn complete(
        &mut self,
        index: ContextIndex,
        context: Box<dyn SecurityContext>,
    ) -> Result<(), SecurityError> {
        self.fail(index);
        let is_sealed = self
            .get(index)
            .is_some_and(|entry| entry.level == AuthLevel::Privacy);
        if is_sealed && !context.can_seal() {
            return Err(SecurityError::LevelNotNegotiated);
        }
        let identity = context.identity().cloned().map(Arc::new);
        let identity = identity.ok_or_else(|| SecurityError::Refused("no identity".to_owned()))?;
        self.set(index, EntryState::Ready { context, identity });
        Ok(())
    }

    pub(super) fn fail(&mut self, index: ContextIndex) {
        self.set(index, EntryState::Failed);
    }

    fn set(&mut self, index: ContextIndex, state: EntryState) {
        if let Some(entry) = self.entries.get_mut(index.0) {
            entry.state = state;
        }
    }

    /// The context that a request's trailer names.
    pub(super) fn cover(&self, trailer: Option<&SecTrailer>) -> Cover {
        let Some(trailer) = trailer else {
            return Cover::None;
        };
        let Some(index) = self.find(trailer.auth_context_id) else {
            return Cover::Mismatch;
        };
        match self.get(index) {
            Some(entry) if matches!(entry.state, EntryState::Exchanging(_)) => Cover::Unfinished,
            Some(entry) if entry.matches(trailer) => Cover::Ready(index),
            Some(_) | None => Cover::Mismatch,
        }
    }

    /// The level and caller of a complete context.
    pub(super) fn identity(&self, index: ContextIndex) -> Option<(&Entry, &Arc<Identity>)> {
        match self.get(index)? {
            entry @ Entry {
                state: EntryState::Ready { identity, .. },
                ..
            } => Some((entry, identity)),
            _ => None,
        }
    }

    /// A complete context, to sign or verify with.
    pub(super) fn protection(
        &mut self,
        index: ContextIndex,
        header_signing: bool,
    ) -> Option<Protection<'_>> {
        let entry = self.entries.get_mut(index.0)?;
        let EntryState::Ready { context, .. } = &mut entry.state else {
            return None;
        };
        Some(Protection {
            context: context.as_mut(),
            auth_type: entry.auth_type,
            level: entry.level,
            context_id: entry.context_id,
            header_signing,
        })
    }
}

impl Entry {
    /// Whether a trailer has this context's type and level.
    pub(super) fn matches(&self, trailer: &SecTrailer) -> bool {
        self.auth_type == trailer.auth_type && self.level as u8 == trailer.auth_level
    }

    /// Whether each PDU is protected.
    pub(super) fn protects(&self) -> bool {
        self.level >= AuthLevel::Packet
    }
}
