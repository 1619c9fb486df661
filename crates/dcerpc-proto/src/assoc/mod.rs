//! Associations: one connection's life from bind to close, server and client side.

mod auth;
mod bind;
mod call;
mod client;
mod client_bind;
mod config;
mod fragment;
mod framer;
mod groups;
mod mgmt;
mod negotiate;
mod server;

pub use client::{
    BoundContext, CallError, ClientAction, ClientAssociation, ClientConfig, ClientError,
    ClientSecurity, FeatureNegotiation, HeaderSigning,
};
pub use config::{Interface, ServerConfig};
pub use groups::AssociationGroups;
pub use server::{CallSecurity, CloseReason, IncomingCall, ServerAction, ServerAssociation};

use crate::security::{Leg, SecurityContext, SecurityError};
use bytes::Bytes;

/// A security context on loan to the driver, with the token that it must consume.
///
/// Contract: run it where blocking is allowed, then hand it back to `handle_stepped` of the
/// association it came from. If it cannot come back (a deadline passed), call
/// `handle_step_abandoned` instead.
#[derive(Debug)]
pub struct StepTicket {
    pub(crate) context: Box<dyn SecurityContext>,
    pub(crate) token: Bytes,
}

impl StepTicket {
    /// Feeds the token to the context. May block. Call it once.
    ///
    /// # Errors
    /// What the security package says; pass it on to `handle_stepped`.
    pub fn run(&mut self) -> Result<Leg, SecurityError> {
        self.context.step(&self.token)
    }
}
