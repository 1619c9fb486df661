//! Lengths and counts that lie.

use super::*;

/// Changes a good PDU and feeds it to a bound and to a fresh server.
fn feed_changed(packet: &Packet<'_>, change: impl Fn(&mut BytesMut)) -> [Server; 2] {
    let mut bytes = BytesMut::from(&encode(packet)[..]);
    change(&mut bytes);
    let mut servers = [Server::bound(), Server::new(config())];
    for server in &mut servers {
        server.feed(&bytes);
    }
    servers
}

#[test]
fn a_frag_length_that_does_not_hold_the_header() {
    for length in [0_u16, 1, 15] {
        let servers = feed_changed(&request(1, b""), |bytes| {
            bytes[8..10].copy_from_slice(&length.to_le_bytes());
        });
        for mut server in servers {
            server.assert_closed();
            assert!(server.take().is_empty(), "nothing in it can be believed");
        }
    }
}

#[test]
fn a_frag_length_that_does_not_hold_the_fixed_part() {
    for length in 16..24_u16 {
        let [mut bound, _] = feed_changed(&request(1, b""), |bytes| {
            bytes[8..10].copy_from_slice(&length.to_le_bytes());
        });
        assert_refused(&mut bound, 1, 0, FaultStatus::PROTOCOL);
    }
    for length in 16..28_u16 {
        let packet = bind(PfcFlags::empty(), vec![element(1, ECHO)]);
        let [_, mut fresh] = feed_changed(&packet, |bytes| {
            bytes[8..10].copy_from_slice(&length.to_le_bytes());
        });
        assert_eq!(fresh.nak(), 4);
        fresh.assert_closed();
    }
}

#[test]
fn an_auth_length_that_reaches_into_the_fixed_part() {
    for length in [1_u16, 8, 200, 0xFFFF] {
        let [mut bound, _] = feed_changed(&request(1, b"12345678"), |bytes| {
            bytes[10..12].copy_from_slice(&length.to_le_bytes());
        });
        assert_refused(&mut bound, 1, 0, FaultStatus::PROTOCOL);
        let packet = bind(PfcFlags::empty(), vec![]);
        let [_, mut fresh] = feed_changed(&packet, |bytes| {
            bytes[10..12].copy_from_slice(&length.to_le_bytes());
        });
        assert_eq!(fresh.nak(), 4);
        fresh.assert_closed();
    }
}

#[test]
fn counts_of_contexts_that_are_not_there() {
    let packet = bind(PfcFlags::empty(), vec![element(1, ECHO)]);
    for at in [24, 30] {
        let [_, mut fresh] = feed_changed(&packet, |bytes| bytes[at] = 200);
        assert_eq!(fresh.nak(), 4);
        fresh.assert_closed();
    }
}

#[test]
fn representations_that_we_do_not_speak() {
    for (at, value) in [(0, 4), (1, 9), (4, 0x11), (4, 0x20), (5, 1)] {
        let [mut bound, mut fresh] = feed_changed(&request(1, b""), |bytes| bytes[at] = value);
        let (_, _, status) = bound.fault();
        assert_eq!(status, FaultStatus::PROTOCOL);
        bound.assert_closed();
        assert_eq!(fresh.nak(), 4);
        fresh.assert_closed();
    }
}

#[test]
fn a_closed_association_says_no_more() {
    let mut server = Server::bound();
    server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, ECHO)]));
    server.take();
    server.feed_packet(&request(1, b""));
    server.reply(1, Ok(Bytes::new()));
    assert!(server.take().is_empty());
    assert!(!server.association.wants_data());
    assert_eq!(server.association.poll_timeout(), None);
}
