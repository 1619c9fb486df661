//! The limits of time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Nothing happens a moment before the timer, and the end when it fires.
fn assert_fires(server: &mut Server, after: Duration) {
    let at = server.association.poll_timeout().unwrap();
    assert_eq!(at, server.now + after);
    server.association.handle_timeout(at - SECOND);
    server.act();
    assert_eq!(server.closed, None);
    server.association.handle_timeout(at);
    server.act();
    assert!(
        matches!(server.closed, Some(CloseReason::Timeout(_))),
        "{:?}",
        server.closed
    );
}

#[test]
fn a_bind_must_come() {
    let mut server = Server::new(config());
    assert_eq!(server.now, NOW);
    assert_fires(&mut server, BIND_TIMEOUT);
}

#[test]
fn an_idle_association_may_be_idle() {
    let mut server = Server::bound();
    assert_eq!(server.association.poll_timeout(), None);
    server.feed_packet(&request(2, b""));
    assert_eq!(server.association.poll_timeout(), None);
}

#[test]
fn the_rest_of_a_pdu_must_follow() {
    let bytes = encode(&request(2, b"stub"));
    for length in [1, 15, 16, bytes.len() - 1] {
        let mut server = Server::bound();
        server.feed(&bytes[..length]);
        assert_fires(&mut server, PDU_TIMEOUT);
    }
    // Dripping bytes do not push it back.
    let mut server = Server::bound();
    server.feed(&bytes[..3]);
    let before = server.association.poll_timeout();
    server.now += SECOND;
    server.feed(&bytes[3..5]);
    assert_eq!(server.association.poll_timeout(), before);
    server.feed(&bytes[5..]);
    assert_eq!(server.association.poll_timeout(), None);
}

#[test]
fn the_rest_of_a_request_must_follow() {
    let mut server = Server::bound();
    server.feed_packet(&fragment(2, FIRST, b""));
    let before = server.association.poll_timeout();
    server.now += SECOND;
    server.feed_packet(&fragment(2, MIDDLE, b""));
    assert_eq!(server.association.poll_timeout(), before);
    server.now -= SECOND;
    assert_fires(&mut server, REQUEST_TIMEOUT);

    let mut server = Server::bound();
    server
        .feed_packet(&fragment(2, FIRST, b""))
        .feed_packet(&fragment(2, LAST, b""));
    assert_eq!(server.association.poll_timeout(), None);
}

#[test]
fn an_authentication_must_end() {
    let trailer = common::trailer(AuthLevel::Integrity, 1);
    let bind = bind(PfcFlags::empty(), vec![element(1, ECHO)]).with_auth(trailer, b"hello");
    let mut server = Server::new(config());
    server.feed_packet(&bind);
    assert_fires(&mut server, AUTHENTICATION_TIMEOUT);
    // The same while the driver has the leg.
    let mut server = Server::new(config());
    server.is_prompt = false;
    server.feed_packet(&bind);
    assert_fires(&mut server, AUTHENTICATION_TIMEOUT);
    let ticket = server.tickets.pop().unwrap();
    let late = dcerpc_proto::security::SecurityError::OutOfTurn;
    server
        .association
        .handle_stepped(server.now, ticket, Err(late));
    server.act();
    assert!(server.take().is_empty());
}

#[test]
fn a_call_that_is_executed_has_no_timer() {
    let mut server = Server::bound();
    server.is_prompt = false;
    server.feed_packet(&request(2, b"")).feed(b"\x05");
    assert_eq!(server.association.poll_timeout(), None);
}

/// Who may call nothing must authenticate, whatever else is sent meanwhile.
#[test]
fn a_client_that_can_call_nothing_is_not_waited_for() {
    let bound = || Server::bound_with(config_at(AuthLevel::Integrity), PfcFlags::empty());
    assert_fires(&mut bound(), AUTHENTICATION_TIMEOUT);

    let mut server = bound();
    let end = server.association.poll_timeout();
    server.now += SECOND;
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(2, OTHER)]));
    server.only();
    assert_eq!(server.association.poll_timeout(), end);

    // Nothing is bound at all.
    let unknown = SyntaxId::new(Uuid::from_u128(7), 1, 0);
    let mut server = Server::new(config_at(AuthLevel::Integrity));
    server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, unknown)]));
    server.only();
    assert_fires(&mut server, AUTHENTICATION_TIMEOUT);
}

#[test]
fn a_client_that_can_call_something_may_be_idle() {
    // An interface of its own level.
    let mut config = config_at(AuthLevel::Integrity);
    config.interfaces[1].min_auth_level = Some(AuthLevel::None);
    let mut server = Server::bound_with(config, PfcFlags::empty());
    assert!(server.association.poll_timeout().is_some());
    server.feed_packet(&alter(PfcFlags::empty(), vec![element(2, OTHER)]));
    assert_eq!(server.association.poll_timeout(), None);

    // The level of its logon: one below the interface's is none.
    for (level, is_enough) in [
        (AuthLevel::Connect, false),
        (AuthLevel::Integrity, true),
        (AuthLevel::Privacy, true),
    ] {
        let mut server = Server::new(config_at(AuthLevel::Integrity));
        let contexts = vec![element(1, ECHO)];
        let first = bind(PfcFlags::empty(), contexts.clone());
        server.feed_packet(&first.with_auth(common::trailer(level, 1), b"hello"));
        server.only();
        let second = alter(PfcFlags::empty(), contexts);
        server.feed_packet(&second.with_auth(common::trailer(level, 1), b"sesame"));
        server.only();
        let timer = server.association.poll_timeout();
        assert_eq!(timer.is_none(), is_enough, "{level:?}");
    }
}
