//! The interfaces of others, which only a laboratory has.

use crate::attacker::{DOORS, Door, Wire};
use crate::support::{Daemon, Lab};
use bytes::BytesMut;
use dcerpc_proto::SyntaxId;
use dcerpc_proto::pdu::{Bind, Body, ContextElement, ContextResult, Packet, PfcFlags};
use uuid::uuid;

const ENDPOINT_MAPPER: SyntaxId =
    SyntaxId::new(uuid!("e1af8308-5d1f-11c9-91a4-08002b14a0fa"), 3, 0);
const NETLOGON: SyntaxId = SyntaxId::new(uuid!("12345678-1234-abcd-ef00-01234567cffb"), 1, 0);

fn offers(daemon: &Daemon, door: Door, interface: SyntaxId) -> bool {
    let bind = Bind {
        max_xmit_frag: 4280,
        max_recv_frag: 4280,
        assoc_group_id: 0,
        contexts: vec![ContextElement {
            context_id: 0,
            abstract_syntax: interface,
            transfer_syntaxes: vec![SyntaxId::NDR20],
        }],
    };
    let mut pdu = BytesMut::new();
    let packet = Packet::new(PfcFlags::WHOLE, 1, Body::Bind(bind));
    packet.encode(&mut pdu).unwrap();
    let mut wire = Wire::connect(daemon, door);
    assert!(wire.send(&pdu));
    let answer = wire.receive().unwrap();
    let Body::BindAck(ack) = Packet::decode(&answer).unwrap().body else {
        panic!("{answer:?}")
    };
    ack.results != [ContextResult::UNKNOWN_INTERFACE]
}

#[test]
fn interfaces_of_others_are_there_only_where_they_were_asked_for() {
    let lab = Lab::new("");
    for (listen, on_tcp) in [("", false), ("laboratory_interfaces = true", true)] {
        lab.configure_listener(listen);
        let daemon = lab.start();
        for door in DOORS {
            for interface in [ENDPOINT_MAPPER, NETLOGON] {
                let expected = on_tcp && door == Door::Tcp;
                let offered = offers(&daemon, door, interface);
                assert_eq!(offered, expected, "{listen:?} {door:?} {interface}");
            }
            assert!(offers(&daemon, door, SyntaxId::MGMT));
        }
    }
}
