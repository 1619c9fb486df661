//! Property round trips of every PDU, in both byte orders.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use bytes::BytesMut;
use dcerpc_proto::pdu::{
    AlterContext, AlterContextResp, Auth3, Bind, BindAck, BindNak, BindTimeFeatures, Body,
    CoCancel, ContextElement, ContextResult, DecodeError, EncodeError, Fault, Header, Orphaned,
    Packet, PacketType, PfcFlags, RejectReason, Request, Response, SecTrailer, Shutdown,
};
use dcerpc_proto::security::AuthType;
use dcerpc_proto::{ByteOrder, FaultStatus, SyntaxId};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

fn syntax() -> impl Strategy<Value = SyntaxId> {
    (any::<u128>(), any::<u32>()).prop_map(|(uuid, version)| SyntaxId {
        uuid: Uuid::from_u128(uuid),
        version,
    })
}

fn bind() -> impl Strategy<Value = Bind> {
    let element = (any::<u16>(), syntax(), vec(syntax(), 0..4)).prop_map(
        |(context_id, abstract_syntax, transfer_syntaxes)| ContextElement {
            context_id,
            abstract_syntax,
            transfer_syntaxes,
        },
    );
    (any::<u16>(), any::<u16>(), any::<u32>(), vec(element, 0..5)).prop_map(
        |(max_xmit_frag, max_recv_frag, assoc_group_id, contexts)| Bind {
            max_xmit_frag,
            max_recv_frag,
            assoc_group_id,
            contexts,
        },
    )
}

type AckParts = (u16, u16, u32, Vec<u8>, Vec<ContextResult>);

fn ack_parts() -> impl Strategy<Value = AckParts> {
    let result =
        (any::<u16>(), any::<u16>(), syntax()).prop_map(|(result, reason, transfer_syntax)| {
            ContextResult {
                result,
                reason,
                transfer_syntax,
            }
        });
    let address = vec(1..255_u8, 0..40);
    (
        any::<u16>(),
        any::<u16>(),
        any::<u32>(),
        address,
        vec(result, 0..5),
    )
}

fn ack(parts: &AckParts) -> BindAck<'_> {
    let (max_xmit_frag, max_recv_frag, assoc_group_id, address, results) = parts;
    BindAck {
        max_xmit_frag: *max_xmit_frag,
        max_recv_frag: *max_recv_frag,
        assoc_group_id: *assoc_group_id,
        secondary_address: address,
        results: results.clone(),
    }
}

fn order() -> impl Strategy<Value = ByteOrder> {
    prop::sample::select(vec![ByteOrder::Little, ByteOrder::Big])
}

/// What all PDUs have: order, flags, call id, and perhaps a trailer with a token.
type Common = (ByteOrder, u8, u32, Option<(u8, u8, u8, u32, Vec<u8>)>);

fn common() -> impl Strategy<Value = Common> {
    let auth = (
        any::<u8>(),
        any::<u8>(),
        any::<u8>(),
        any::<u32>(),
        vec(any::<u8>(), 1..60),
    );
    (order(), any::<u8>(), any::<u32>(), prop::option::of(auth))
}

/// Encodes, decodes, compares, and encodes again.
fn check(body: Body<'_>, common: &Common) {
    let (order, flags, call_id, auth) = common;
    let mut flags = PfcFlags::from_bits_retain(*flags);
    let has_object = matches!(
        body,
        Body::Request(Request {
            object: Some(_),
            ..
        })
    );
    flags.set(PfcFlags::OBJECT_UUID, has_object);
    let mut packet = Packet::new(flags, *call_id, body);
    packet.header = packet.header.with_byte_order(*order);
    if let Some((auth_type, auth_level, _, auth_context_id, token)) = auth {
        let trailer = SecTrailer {
            auth_type: AuthType(*auth_type),
            auth_level: *auth_level,
            auth_pad_length: 0,
            auth_context_id: *auth_context_id,
        };
        packet = packet.with_auth(trailer, token);
    }
    let mut bytes = BytesMut::new();
    packet.encode(&mut bytes).unwrap();
    let decoded = Packet::decode(&bytes).unwrap();
    assert_eq!(usize::from(decoded.header.frag_length), bytes.len());
    assert_eq!(decoded.header.byte_order(), *order);
    assert_eq!((&decoded.body, &decoded.auth), (&packet.body, &packet.auth));
    assert_eq!(
        (decoded.header.flags, decoded.header.call_id),
        (flags, *call_id)
    );
    let mut again = BytesMut::new();
    decoded.encode(&mut again).unwrap();
    assert_eq!(again, bytes);
}

/// A stub of whole words, so that a trailer after it is aligned without padding.
fn body() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; 4]>(), 0..50).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn binds(bind in bind(), common in common()) {
        check(Body::Bind(bind.clone()), &common);
        check(Body::AlterContext(AlterContext(bind)), &common);
    }

    #[test]
    fn acknowledgements(parts in ack_parts(), common in common()) {
        check(Body::BindAck(ack(&parts)), &common);
        check(Body::AlterContextResp(AlterContextResp(ack(&parts))), &common);
    }

    #[test]
    fn naks(reason in any::<u16>(), versions in vec(any::<(u8, u8)>(), 0..5), common in common()) {
        check(Body::BindNak(BindNak { reason: RejectReason(reason), versions }), &common);
    }

    #[test]
    fn requests(
        alloc_hint in any::<u32>(),
        context_id in any::<u16>(),
        opnum in any::<u16>(),
        object in prop::option::of(any::<u128>()),
        body in body(),
        common in common(),
    ) {
        let object = object.map(Uuid::from_u128);
        let request = Request { alloc_hint, context_id, opnum, object, body: &body };
        check(Body::Request(request), &common);
    }

    #[test]
    fn responses(
        alloc_hint in any::<u32>(),
        context_id in any::<u16>(),
        cancel_count in any::<u8>(),
        body in body(),
        common in common(),
    ) {
        let response = Response { alloc_hint, context_id, cancel_count, body: &body };
        check(Body::Response(response), &common);
    }

    #[test]
    fn faults(
        alloc_hint in any::<u32>(),
        context_id in any::<u16>(),
        cancel_count in any::<u8>(),
        status in any::<u32>(),
        common in common(),
    ) {
        let status = FaultStatus(status);
        check(Body::Fault(Fault { alloc_hint, context_id, cancel_count, status }), &common);
    }

    #[test]
    fn the_small_ones(pad in any::<[u8; 4]>(), common in common()) {
        check(Body::Auth3(Auth3 { pad }), &common);
        check(Body::CoCancel(CoCancel), &common);
        check(Body::Orphaned(Orphaned), &common);
        check(Body::Shutdown(Shutdown), &common);
    }

    #[test]
    fn bind_time_features(bits in any::<u16>()) {
        let features = BindTimeFeatures::from_bits_retain(bits);
        prop_assert_eq!(BindTimeFeatures::from_syntax(&features.to_syntax()), Some(features));
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), kind in 0..20_u8) {
        let _ = Packet::decode(&bytes);
        // The same with a header that passes, so that the bodies are reached.
        if let Some(head) = bytes.get_mut(..16) {
            head[..3].copy_from_slice(&[5, 0, kind]);
            head[4] &= 0x10;
            head[5] = 0;
        }
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        if let Some(field) = bytes.get_mut(8..10) {
            field.copy_from_slice(&length);
        }
        let _ = Packet::decode(&bytes);
    }
}

#[test]
fn errors_name_field_needed_and_found() {
    let truncated = |field, needed, found| DecodeError::Truncated {
        field,
        needed,
        found,
    };
    assert_eq!(
        Header::decode(&[5, 0, 11]),
        Err(truncated("pfc_flags", 1, 0))
    );
    let mut bytes = BytesMut::new();
    let bind = Bind {
        max_xmit_frag: 1,
        max_recv_frag: 2,
        assoc_group_id: 3,
        contexts: vec![ContextElement {
            context_id: 0,
            abstract_syntax: SyntaxId::MGMT,
            transfer_syntaxes: vec![SyntaxId::NDR20],
        }],
    };
    Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind))
        .encode(&mut bytes)
        .unwrap();
    bytes[30] = 2;
    let error = Packet::decode(&bytes).unwrap_err();
    assert_eq!(error, truncated("transfer_syntaxes", 4, 0));
    assert_eq!(
        error.to_string(),
        "transfer_syntaxes: needed 4 bytes, found 0"
    );
}

#[test]
fn headers_of_other_worlds_are_refused() {
    let good = Header {
        frag_length: 16,
        ..Header::new(PacketType::CO_CANCEL, PfcFlags::WHOLE, 1)
    };
    assert_eq!(good.check(), Ok(()));
    let invalid = |header: Header| match header.check() {
        Err(DecodeError::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        invalid(Header {
            version: (4, 0),
            ..good
        }),
        "rpc_vers"
    );
    assert_eq!(
        invalid(Header {
            version: (5, 2),
            ..good
        }),
        "rpc_vers_minor"
    );
    let ebcdic = Header {
        data_representation: [0x11, 0, 0, 0],
        ..good
    };
    assert_eq!(invalid(ebcdic), "packed_drep[0]");
    let vax = Header {
        data_representation: [0x10, 1, 0, 0],
        ..good
    };
    assert_eq!(invalid(vax), "packed_drep[1]");
    assert_eq!(
        invalid(Header {
            frag_length: 15,
            ..good
        }),
        "frag_length"
    );
}

#[test]
fn trailers_that_do_not_fit_are_refused() {
    let header = |auth_length| Header {
        auth_length,
        ..Header::new(PacketType::REQUEST, PfcFlags::WHOLE, 1)
    };
    let pdu = [0; 64];
    assert_eq!(SecTrailer::locate(&header(0), &pdu, 24), Ok(None));
    assert_eq!(SecTrailer::locate(&header(16), &pdu, 24), Ok(Some(40)));
    assert_eq!(SecTrailer::locate(&header(32), &pdu, 24), Ok(Some(24)));
    for auth_length in [33, 36, 56, 64, 1000, u16::MAX] {
        let located = SecTrailer::locate(&header(auth_length), &pdu, 24);
        assert!(
            matches!(located, Err(DecodeError::Truncated { .. })),
            "{auth_length}"
        );
    }
    let located = SecTrailer::locate(&header(15), &pdu, 24);
    assert!(matches!(located, Err(DecodeError::Invalid { .. })));
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let body = Body::Response(Response {
        alloc_hint: 0,
        context_id: 0,
        cancel_count: 0,
        body: &[0; 65_536],
    });
    let error = Packet::new(PfcFlags::WHOLE, 1, body).encode(&mut BytesMut::new());
    let expected = EncodeError::TooLong {
        field: "frag_length",
        limit: 65_535,
        found: 65_536 + 24,
    };
    assert_eq!(error, Err(expected));
}
