//! One test a rule: what a server answers to clients that break it, and that it goes on or ends
//! as it should. The expected values are those of Windows, as far as they are known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod binding;
mod calls;
#[path = "../common/mod.rs"]
mod common;
mod fragments;
mod lies;
mod mgmt;
mod timers;

use bytes::{Bytes, BytesMut};
use common::{
    ECHO, NOW, OTHER, Server, alter, bind, bind_body, config, config_at, element, encode, fragment,
    request,
};
use dcerpc_proto::assoc::{CloseReason, ServerConfig};
use dcerpc_proto::limits::{
    AUTHENTICATION_TIMEOUT, BIND_TIMEOUT, MAX_BUFFERED, MAX_CONTEXTS, MAX_FRAG_PIPE, MAX_STUB,
    PDU_TIMEOUT, REQUEST_TIMEOUT,
};
use dcerpc_proto::pdu::{
    Auth3, BindAck, BindTimeFeatures, Body, CoCancel, ContextElement, Orphaned, Packet, PfcFlags,
    Request, Shutdown,
};
use dcerpc_proto::security::AuthLevel;
use dcerpc_proto::{ByteOrder, FaultStatus, SyntaxId};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const FIRST: PfcFlags = PfcFlags::FIRST_FRAG;
const LAST: PfcFlags = PfcFlags::LAST_FRAG;
const MIDDLE: PfcFlags = PfcFlags::empty();

/// Calls `check` with the bind_ack or alter_context_resp that was sent.
fn with_ack<R>(server: &mut Server, check: impl FnOnce(PfcFlags, &BindAck<'_>) -> R) -> R {
    let pdu = server.only();
    let packet = Packet::decode(&pdu).unwrap();
    match packet.body {
        Body::BindAck(ack) => check(packet.header.flags, &ack),
        Body::AlterContextResp(ack) => check(packet.header.flags, &ack.0),
        other => panic!("not an acknowledgement: {other:?}"),
    }
}

fn results(server: &mut Server) -> Vec<(u16, u16, SyntaxId)> {
    with_ack(server, |_, ack| {
        ack.results
            .iter()
            .map(|r| (r.result, r.reason, r.transfer_syntax))
            .collect()
    })
}

/// Expects a fault for `call_id`, and the end.
fn assert_refused(server: &mut Server, call_id: u32, context_id: u16, status: FaultStatus) {
    let (header, id, found) = server.fault();
    assert_eq!((header.call_id, id, found), (call_id, context_id, status));
    server.assert_closed();
}
