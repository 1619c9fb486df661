//! What the fuzz targets do with their input.
//!
//! Each function takes whatever the fuzzer made, must not panic, and asserts what has to hold for
//! every input. The same functions replay the committed corpora and every input that once crashed,
//! in `cargo test`.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fuzz target tells what is wrong by panicking"
)]

mod association;
mod security;

pub use association::association;
pub use security::{ntlm, spnego};

use bytes::BytesMut;
use dcerpc_proto::ByteOrder;
use dcerpc_proto::pdu::Packet;
use fsrvp_idl::{Opnum, Request, Response};
use fsrvp_proto::Table;
use fsrvp_samba::npa::{AuthRequest, HandOver};
use fsrvp_server::config::Config;
use std::path::Path;

/// A target: takes the fuzzer's input.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 8] = [
    ("association", association),
    ("config", config),
    ("hand_over", hand_over),
    ("ntlm", ntlm),
    ("pdu", pdu),
    ("records", records),
    ("spnego", spnego),
    ("stubs", stubs),
];

/// One PDU: what decodes, encodes again and decodes to the same. Bytes after a body are let be and
/// get lost on the way, and with them the lengths in the header.
pub fn pdu(input: &[u8]) {
    let Ok(packet) = Packet::decode(input) else {
        return;
    };
    let mut again = BytesMut::new();
    if packet.encode(&mut again).is_ok() {
        let decoded = Packet::decode(&again).unwrap();
        let parts = |packet: &Packet<'_>| format!("{:?} {:?}", packet.body, packet.auth);
        assert_eq!(parts(&decoded), parts(&packet));
        assert_eq!(decoded.header.flags, packet.header.flags);
        assert_eq!(decoded.header.call_id, packet.header.call_id);
    }
}

/// Stubs of requests and responses. The first byte is the opnum, the highest bit of the second says
/// which byte order.
pub fn stubs(input: &[u8]) {
    let [opnum, order, stub @ ..] = input else {
        return;
    };
    let order = match order & 0x80 {
        0 => ByteOrder::Little,
        _ => ByteOrder::Big,
    };
    if let Ok((request, rest)) = Request::decode(u16::from(*opnum), stub, order) {
        assert!(rest.len() <= stub.len());
        let encoded = request.encode();
        let again = Request::decode(u16::from(*opnum), &encoded, ByteOrder::Little);
        assert_eq!(again.unwrap().0, request);
    }
    let Ok(opnum) = Opnum::try_from(u16::from(*opnum)) else {
        return;
    };
    if let Ok((response, _)) = Response::decode(opnum, stub, order) {
        let encoded = response.encode();
        let again = Response::decode(opnum, &encoded, ByteOrder::Little);
        assert_eq!(again.unwrap().0, response);
    }
}

/// The frame by which smbd hands a pipe over.
pub fn hand_over(input: &[u8]) {
    let Ok(request) = AuthRequest::decode(input) else {
        return;
    };
    let again = AuthRequest::decode(&request.encode()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{request:?}"));
    let hand_over = HandOver::from(request);
    let token = hand_over.token.as_ref();
    let _ = token.map(|token| (token.qualified_account(), token.has_backup_privilege()));
}

/// The stored table: records of the form key, newline, length in two bytes, value.
pub fn records(input: &[u8]) {
    let mut rest = input;
    let mut records = Vec::new();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let (key, tail) = rest.split_at(at);
        let key = String::from_utf8_lossy(key).into_owned();
        let Some(([_, low, high], tail)) = tail.split_first_chunk::<3>() else {
            break;
        };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (value, tail) = tail.split_at(length);
        records.push((key, value.to_vec()));
        rest = tail;
    }
    if let Ok(table) = Table::load(records) {
        for set in table.sets() {
            assert_eq!(table.set(set.id).map(|found| found.id), Some(set.id));
            for copy in &set.copies {
                assert!(table.has_copy(copy.id));
            }
        }
        let _ = (table.debts().count(), table.boot_id(), table.context());
    }
}

/// The configuration file.
pub fn config(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        let place = Path::new("fsrvpd.toml");
        if let Err(error) = Config::parse(text, place) {
            assert!(error.to_string().starts_with("fsrvpd.toml"));
        }
    }
}
