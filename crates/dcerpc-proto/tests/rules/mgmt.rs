//! The `mgmt` interface.

use super::*;

fn bound() -> Server {
    let config = ServerConfig {
        secondary_address: "9135".to_owned(),
        ..config()
    };
    let mut server = Server::new(config);
    server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, SyntaxId::MGMT)]));
    server.only();
    server
}

fn call(server: &mut Server, opnum: u16, stub: &[u8]) {
    let body = Request {
        alloc_hint: 0,
        context_id: 1,
        opnum,
        object: None,
        body: stub,
    };
    server.feed_packet(&Packet::new(PfcFlags::WHOLE, 2, Body::Request(body)));
}

#[test]
fn answers() {
    let mut server = bound();
    call(&mut server, 2, b"");
    assert_eq!(
        server.response(),
        [0, 0, 0, 0, 1, 0, 0, 0],
        "is_server_listening"
    );
    call(&mut server, 3, b"");
    assert_eq!(server.response(), [5, 0, 0, 0], "stop_server_listening");
    call(&mut server, 1, &[4, 0, 0, 0]);
    let stub = server.response();
    assert_eq!(
        (stub.len(), &stub[..8]),
        (28, &[4, 0, 0, 0, 4, 0, 0, 0][..]),
        "inq_stats"
    );
    assert_eq!(stub[8..12], [3, 0, 0, 0], "calls in");
    call(&mut server, 1, &[0; 4]);
    assert_eq!(server.response(), [0; 12], "inq_stats of nothing");
    call(&mut server, 1, &[0xFF; 4]);
    assert_eq!(server.response().len(), 28, "inq_stats of too much");
    call(&mut server, 4, &[10, 0, 0, 0, 0, 1, 0, 0]);
    let expected = [
        0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xD3, 6, 0, 0,
    ];
    assert_eq!(server.response(), expected, "inq_princ_name");
}

#[test]
fn refuses() {
    let mut server = bound();
    for (opnum, stub, status) in [
        (1, &[1, 2][..], FaultStatus::BAD_STUB_DATA),
        (4, &[0; 4], FaultStatus::BAD_STUB_DATA),
        (4, &[0; 8], FaultStatus::BAD_STUB_DATA),
        (5, b"", FaultStatus::OP_RANGE),
    ] {
        call(&mut server, opnum, stub);
        assert_eq!(server.fault().2, status, "{opnum}");
    }
    assert_eq!(server.closed, None);
}

#[test]
fn has_the_minimum_level_of_the_rest() {
    let mut server = Server::new(config_at(AuthLevel::Integrity));
    server.feed_packet(&bind(PfcFlags::empty(), vec![element(1, SyntaxId::MGMT)]));
    server.only();
    call(&mut server, 0, b"");
    assert_refused(&mut server, 2, 1, FaultStatus::ACCESS_DENIED);
}
