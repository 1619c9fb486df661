//! Every captured PDU decodes, and encodes to the same bytes again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use bytes::BytesMut;
use dcerpc_proto::ByteOrder;
use dcerpc_proto::pdu::{Body, Packet, PacketType, PfcFlags, RejectReason};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

struct Captured {
    origin: String,
    from_client: bool,
    kind: String,
    bytes: Vec<u8>,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Every PDU below `fixtures/pdu` and `fixtures/auth`, in both of the forms that they have there.
fn captured() -> Vec<Captured> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let mut all = Vec::new();
    for path in [
        entries(&fixtures.join("pdu")),
        entries(&fixtures.join("auth")),
    ]
    .concat()
    {
        let case = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            all.extend(entries(&path).iter().filter_map(|file| single(&case, file)));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "pdus")
        {
            all.extend(conversation(&case, &path));
        }
    }
    all
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

/// One PDU a line.
fn conversation(case: &str, file: &Path) -> Vec<Captured> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let words: Vec<_> = line.split(' ').collect();
            Captured {
                origin: format!("{case}:{}", number + 1),
                from_client: words[0] == "c2s",
                kind: words[1].to_owned(),
                bytes: unhex(words[2]),
            }
        })
        .collect()
}

/// One PDU a file: `p1_04_c2s_request.hex` or, with the number of its type, `c01-03-c2s-0.hex`.
fn single(case: &str, file: &Path) -> Option<Captured> {
    let name = file.file_stem()?.to_string_lossy().into_owned();
    let parts: Vec<_> = name.splitn(4, ['_', '-']).collect();
    let [_, number, direction @ ("c2s" | "s2c"), kind] = parts[..] else {
        return None;
    };
    let kind = match kind {
        "0" => "request",
        "2" => "response",
        "3" => "fault",
        "11" => "bind",
        "12" => "bind_ack",
        "14" => "alter_context",
        "15" => "alter_context_resp",
        "16" => "auth3",
        named => named,
    };
    let text = fs::read_to_string(file).unwrap();
    Some(Captured {
        origin: format!("{case}:{number}"),
        from_client: direction == "c2s",
        kind: kind.to_owned(),
        bytes: unhex(&text.split_whitespace().collect::<String>()),
    })
}

/// impacket leaves a second context element in its alter_context that n_context_elem does not count.
const STALE_BYTES: &str = "impacket-spnego";

fn packet_type(kind: &str) -> PacketType {
    match kind {
        "request" => PacketType::REQUEST,
        "response" => PacketType::RESPONSE,
        "fault" => PacketType::FAULT,
        "bind" => PacketType::BIND,
        "bind_ack" => PacketType::BIND_ACK,
        "bind_nak" => PacketType::BIND_NAK,
        "alter_context" => PacketType::ALTER_CONTEXT,
        "alter_context_resp" => PacketType::ALTER_CONTEXT_RESP,
        "auth3" => PacketType::AUTH3,
        other => panic!("{other}"),
    }
}

#[test]
fn every_capture_round_trips() {
    let all = captured();
    assert!(all.len() > 500, "{}", all.len());
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    for Captured {
        origin,
        from_client,
        kind,
        bytes,
    } in &all
    {
        let packet = Packet::decode(bytes).unwrap_or_else(|error| panic!("{origin}: {error}"));
        assert_eq!(packet.header.packet_type, packet_type(kind), "{origin}");
        if *from_client {
            let of_client = !matches!(
                packet.body,
                Body::Response(_) | Body::Fault(_) | Body::BindAck(_) | Body::BindNak(_)
            );
            assert!(of_client, "{origin}");
        }
        let mut again = BytesMut::new();
        packet.encode(&mut again).unwrap();
        if origin.starts_with(STALE_BYTES) && *kind == "alter_context" {
            let fewer = Packet::decode(&again).unwrap();
            assert_eq!(
                (fewer.body, fewer.auth),
                (packet.body, packet.auth),
                "{origin}"
            );
        } else {
            assert_eq!(&again[..], &bytes[..], "{origin}");
        }
        *kinds.entry(kind).or_default() += 1;
    }
    assert!(kinds.len() >= 8, "{kinds:?}");
}

#[test]
fn what_the_captures_are_known_to_say() {
    let all = captured();
    let find = |origin: &str| {
        let found = all.iter().find(|captured| captured.origin == origin);
        Packet::decode(&found.unwrap_or_else(|| panic!("{origin}")).bytes).unwrap()
    };
    // rpcclient without authentication: bind of one context, NDR 2.0.
    let bind = find("rpcclient_none:2");
    assert_eq!(bind.header.flags, PfcFlags::WHOLE);
    let Body::Bind(body) = bind.body else {
        panic!()
    };
    assert_eq!(
        (body.max_xmit_frag, body.max_recv_frag, body.assoc_group_id),
        (4280, 4280, 0)
    );
    assert_eq!(
        body.contexts[0].transfer_syntaxes,
        [dcerpc_proto::SyntaxId::NDR20]
    );
    // Its answer names the pipe.
    let Body::BindAck(ack) = find("rpcclient_none:3").body else {
        panic!()
    };
    assert_eq!(ack.secondary_address, b"\\pipe\\FssagentRpc");
    // smbtorture asked for big-endian.
    assert_eq!(
        find("smbtorture_bigendian:2").header.byte_order(),
        ByteOrder::Big
    );
    // impacket numbers its security context 79231 and offers no header signing.
    let bind = find("impacket_level5:01");
    assert!(!bind.header.flags.contains(PfcFlags::SUPPORT_HEADER_SIGN));
    assert_eq!(bind.auth.unwrap().trailer.auth_context_id, 79_231);
}

#[test]
fn every_capture_cut_short_is_refused() {
    for Captured { origin, bytes, .. } in captured().iter().step_by(7) {
        for length in 0..bytes.len() {
            assert!(
                Packet::decode(&bytes[..length]).is_err(),
                "{origin} cut to {length}"
            );
        }
    }
}

#[test]
fn extended_error_information_after_a_nak_is_left_alone() {
    // [MS-RPCE 2.2.2.9]: pad, signature GUID, blob.
    let head = unhex("05000d03100000002c00000001000000");
    let body = unhex("0800010500000000");
    let tail = unhex("20037490d0fad31182d7009027b130ab01000000");
    let bytes = [head, body, tail].concat();
    let Body::BindNak(nak) = Packet::decode(&bytes).unwrap().body else {
        panic!()
    };
    assert_eq!(nak.reason, RejectReason::AUTHENTICATION_TYPE_NOT_RECOGNIZED);
    assert_eq!(nak.versions, [(5, 0)]);
}
