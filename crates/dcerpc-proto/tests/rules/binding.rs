//! Bind and alter_context.

use super::*;

#[test]
fn as_windows_binds() {
    // NDR, NDR64 and features in three elements, as Windows offers them.
    let ndr64 = ContextElement {
        transfer_syntaxes: vec![SyntaxId::NDR64],
        ..element(1, ECHO)
    };
    let features = ContextElement {
        transfer_syntaxes: vec![BindTimeFeatures::all().to_syntax()],
        ..element(2, ECHO)
    };
    let mut server = Server::new(config());
    server.feed_packet(&bind(
        PfcFlags::empty(),
        vec![element(0, ECHO), ndr64, features],
    ));
    let expected = [
        (0, 0, SyntaxId::NDR20),
        (2, 2, SyntaxId::NULL),
        (3, 3, SyntaxId::NULL),
    ];
    assert_eq!(results(&mut server), expected);
}

#[test]
fn unknown_interfaces_and_versions_are_rejected() {
    for (interface, expected) in [
        (SyntaxId::new(Uuid::from_u128(1), 1, 0), (2, 1)),
        (SyntaxId { version: 3, ..ECHO }, (2, 1)),
        (SyntaxId::new(OTHER.uuid, 3, 3), (2, 1)),
        (SyntaxId::new(OTHER.uuid, 3, 1), (0, 0)),
        (OTHER, (0, 0)),
        (SyntaxId::MGMT, (0, 0)),
    ] {
        let mut server = Server::new(config());
        server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, interface)]));
        let (result, reason, _) = results(&mut server)[0];
        assert_eq!((result, reason), expected, "{interface}");
    }
}

#[test]
fn only_the_first_usable_context_of_a_pdu_is_accepted() {
    let contexts = vec![element(1, ECHO), element(2, OTHER)];
    let mut server = Server::new(config());
    server.feed_packet(&bind(PfcFlags::empty(), contexts));
    let expected = [(0, 0, SyntaxId::NDR20), (2, 2, SyntaxId::NULL)];
    assert_eq!(results(&mut server), expected);
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(2, OTHER)]));
    assert_eq!(results(&mut server), [(0, 0, SyntaxId::NDR20)]);
}

#[test]
fn feature_negotiation_acknowledges_what_we_know_and_happens_once() {
    let features = |bits| ContextElement {
        context_id: 1,
        abstract_syntax: SyntaxId::NULL,
        transfer_syntaxes: vec![BindTimeFeatures::from_bits_retain(bits).to_syntax()],
    };
    for (asked, granted) in [(0, 0), (1, 1), (2, 2), (3, 3), (0xFFFF, 3)] {
        let mut server = Server::new(config());
        server.feed_packet(&bind(PfcFlags::empty(), vec![features(asked)]));
        assert_eq!(results(&mut server), [(3, granted, SyntaxId::NULL)]);
    }
    let mut server = Server::new(config());
    server.feed_packet(&bind(PfcFlags::empty(), vec![features(1), features(2)]));
    assert_eq!(server.nak(), 0);
    server.assert_closed();
}

#[test]
fn fragment_sizes() {
    for (xmit, recv, expected) in [
        (0, 0, 2048),
        (0, 0xFFFF, 2048),
        (3199, 0xFFFF, 3192),
        (0xFFFF, 3199, 3192),
        (0xFFFF, 0xFFFF, MAX_FRAG_PIPE),
        (4280, 4280, 4280),
    ] {
        let mut bind = bind_body(vec![element(1, ECHO)]);
        (bind.max_xmit_frag, bind.max_recv_frag) = (xmit, recv);
        let mut server = Server::new(config());
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind)));
        let sizes = with_ack(&mut server, |_, ack| (ack.max_xmit_frag, ack.max_recv_frag));
        assert_eq!(sizes, (expected, expected), "{xmit} {recv}");
    }
}

#[test]
fn association_groups() {
    let config = Arc::new(config());
    let join = |id| {
        let mut bind = bind_body(vec![element(1, ECHO)]);
        bind.assoc_group_id = id;
        let mut server = Server::with_config(&config);
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind)));
        server
    };
    let mut first = join(0);
    let group = with_ack(&mut first, |_, ack| ack.assoc_group_id);
    assert_ne!(group, 0);
    let mut second = join(group);
    assert_eq!(with_ack(&mut second, |_, ack| ack.assoc_group_id), group);
    let mut stranger = join(group ^ 1);
    assert_eq!(stranger.nak(), 0);
    stranger.assert_closed();
    // A group ends with its last member.
    drop((first, second));
    assert_eq!(join(group).nak(), 0);
}

#[test]
fn a_second_bind_ends_the_association() {
    let mut server = Server::bound();
    server.feed_packet(&bind(PfcFlags::empty(), vec![element(2, ECHO)]));
    assert_eq!(server.nak(), 0);
    server.assert_closed();
}

#[test]
fn nothing_comes_before_the_bind() {
    let body = Body::Auth3(Auth3 { pad: [0; 4] });
    for packet in [
        request(1, b""),
        alter(PfcFlags::empty(), vec![element(1, ECHO)]),
        Packet::new(PfcFlags::WHOLE, 1, body),
        Packet::new(PfcFlags::WHOLE, 1, Body::Orphaned(Orphaned)),
    ] {
        let mut server = Server::new(config());
        server.feed_packet(&packet);
        assert_eq!(server.nak(), 4, "{packet:?}");
        server.assert_closed();
    }
}

#[test]
fn useless_binds_are_refused() {
    let mut no_transfer = element(1, ECHO);
    no_transfer.transfer_syntaxes.clear();
    let many = (0..65).map(|id| element(id, ECHO)).collect();
    for (contexts, reason) in [(vec![], 0), (vec![no_transfer], 0), (many, 2)] {
        let is_empty = contexts.is_empty();
        let mut server = Server::new(config());
        server.feed_packet(&bind(PfcFlags::empty(), contexts));
        assert_eq!(server.nak(), reason);
        server.assert_closed();
        if is_empty {
            // Some clients leave out the reserved bytes after a count of zero.
            let mut bytes = encode(&bind(PfcFlags::empty(), vec![])).to_vec();
            bytes.truncate(25);
            bytes[8] = 25;
            let mut server = Server::new(config());
            server.feed(&bytes);
            assert_eq!(server.nak(), reason);
        }
    }
}

#[test]
fn flags_are_echoed_only_if_in_force() {
    use PfcFlags as F;
    for (asked, answered) in [
        (F::empty(), F::WHOLE),
        (F::SUPPORT_HEADER_SIGN, F::WHOLE | F::SUPPORT_HEADER_SIGN),
        (F::CONC_MPX, F::WHOLE | F::CONC_MPX),
        (
            F::RESERVED_1 | F::DID_NOT_EXECUTE | F::MAYBE | F::OBJECT_UUID,
            F::WHOLE,
        ),
    ] {
        let mut server = Server::new(config());
        server.feed_packet(&bind(asked, vec![element(1, ECHO)]));
        assert_eq!(
            with_ack(&mut server, |flags, _| flags),
            answered,
            "{asked:?}"
        );
        server.assert_alive();
    }
    // Multiplexing is decided in the bind; header signing may come later.
    let mut server = Server::bound();
    let flags = F::CONC_MPX | F::SUPPORT_HEADER_SIGN;
    server.feed_packet(&alter(flags, vec![element(1, ECHO)]));
    let expected = F::WHOLE | F::SUPPORT_HEADER_SIGN;
    assert_eq!(with_ack(&mut server, |flags, _| flags), expected);
}

#[test]
fn alter_context_cannot_rebind() {
    let mut server = Server::bound();
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(1, OTHER)]));
    assert_refused(&mut server, 2, 0, FaultStatus::PROTOCOL);

    let mut server = Server::bound();
    server.feed_packet(&alter(PfcFlags::empty(), vec![]));
    assert_refused(&mut server, 2, 0, FaultStatus::PROTOCOL);

    let mut server = Server::bound();
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(1, ECHO)]));
    with_ack(&mut server, |_, ack| {
        assert!(ack.secondary_address.is_empty())
    });
    server.assert_alive();
}

#[test]
fn ndr64_cannot_be_asked_for_later() {
    let both = |context_id| ContextElement {
        transfer_syntaxes: vec![SyntaxId::NDR20, SyntaxId::NDR64],
        ..element(context_id, ECHO)
    };
    // Who offers both from the start gets NDR 2.0, and may repeat the offer.
    let mut server = Server::new(config());
    server.feed_packet(&bind(PfcFlags::empty(), vec![both(1)]));
    assert_eq!(results(&mut server), [(0, 0, SyntaxId::NDR20)]);
    server.feed_packet(&alter(PfcFlags::empty(), vec![both(1)]));
    assert_eq!(results(&mut server), [(0, 0, SyntaxId::NDR20)]);
    // For whoever did not, it is another transfer syntax.
    let mut server = Server::bound();
    server.feed_packet(&alter(PfcFlags::empty(), vec![both(1)]));
    assert_refused(&mut server, 2, 0, FaultStatus::PROTOCOL);
}

#[test]
fn presentation_contexts_are_bounded() {
    let mut server = Server::bound();
    for id in 2..=MAX_CONTEXTS as u16 {
        server.feed_packet(&alter(PfcFlags::empty(), vec![element(id, ECHO)]));
        assert_eq!(results(&mut server)[0].0, 0, "{id}");
    }
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(99, ECHO)]));
    assert_eq!(results(&mut server), [(1, 3, SyntaxId::NULL)]);
    server.assert_alive();
}

#[test]
fn pdus_of_servers_are_refused() {
    for body in [
        Body::Shutdown(Shutdown),
        Body::BindNak(dcerpc_proto::pdu::BindNak::new(
            dcerpc_proto::pdu::RejectReason::NOT_SPECIFIED,
        )),
    ] {
        let mut server = Server::bound();
        server.feed_packet(&Packet::new(PfcFlags::WHOLE, 5, body));
        assert_refused(&mut server, 5, 0, FaultStatus::PROTOCOL);
    }
}
