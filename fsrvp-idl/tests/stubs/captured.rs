//! Stubs of real clients and servers, from `fixtures/stubs`.

use crate::items::{Direction, Item, request_items};
use dcerpc_proto::ByteOrder::{self, Big, Little};
use fsrvp_idl::{Opnum, Request, Response, ShareMapping, Status, UncPath};
use std::path::Path;
use std::{fs, iter};

struct Stub {
    opnum: Opnum,
    direction: Direction,
    order: ByteOrder,
    bytes: Vec<u8>,
    /// File and line, for messages.
    place: String,
}

fn parse(path: &Path) -> Vec<Stub> {
    let text = fs::read_to_string(path).unwrap();
    let lines = iter::zip(1.., text.lines());
    lines
        .filter(|(_, line)| !line.starts_with('#'))
        .map(|(number, line)| {
            let mut words = line.split(' ');
            let opnum: u16 = words.next().unwrap().parse().unwrap();
            let (direction, order) = match words.next().unwrap() {
                "in" => (Direction::In, Little),
                "in-big" => (Direction::In, Big),
                "out" => (Direction::Out, Little),
                other => panic!("{other} is no direction"),
            };
            Stub {
                opnum: opnum.try_into().unwrap(),
                direction,
                order,
                bytes: unhex(words.next().unwrap_or_default()),
                place: format!("{}:{number}", path.display()),
            }
        })
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |index: usize| u8::from_str_radix(&hex[index..index + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn file(name: &str) -> Vec<Stub> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/stubs");
    parse(&Path::new(folder).join(name))
}

fn all() -> Vec<Stub> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/stubs");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "stubs")
        })
        .flat_map(|path| parse(&path))
        .collect()
}

/// \[MS-RPCE 2.2.2.13\] How a verification trailer begins.
const TRAILER: [u8; 8] = [0x8a, 0xe3, 0x13, 0x71, 0x02, 0xf4, 0x36, 0x71];

#[test]
fn every_captured_stub_decodes_and_encodes_to_the_same_bytes() {
    let stubs = all();
    assert!(stubs.len() >= 196, "only {} stubs found", stubs.len());
    for stub in &stubs {
        let (again, rest) = match stub.direction {
            Direction::In => {
                let decoded = Request::decode(stub.opnum.into(), &stub.bytes, stub.order);
                let (request, rest) = decoded.expect(&stub.place);
                assert_eq!(request.opnum(), stub.opnum, "{}", stub.place);
                let again = match stub.order {
                    Little => request.encode().to_vec(),
                    // We never send this order; the tests' own writer knows it.
                    Big => Item::encode(&request_items(&request), Big),
                };
                (again, rest)
            }
            Direction::Out => {
                let decoded = Response::decode(stub.opnum, &stub.bytes, Little);
                let (response, rest) = decoded.expect(&stub.place);
                assert_eq!(response.opnum(), stub.opnum, "{}", stub.place);
                (response.encode().to_vec(), rest)
            }
        };
        let consumed = stub.bytes.len() - rest.len();
        assert_eq!(again, stub.bytes[..consumed], "{}", stub.place);
        // What is left is nothing, or padding to four and a trailer.
        if !rest.is_empty() {
            let trailer = &rest[consumed.next_multiple_of(4) - consumed..];
            assert!(trailer.starts_with(&TRAILER), "{}", stub.place);
        }
    }
}

/// What a person reads in the hex of the walk, against what the decoder reads.
#[test]
fn a_whole_walk_of_rpcclient_reads_as_it_was() {
    let stubs = file("rpcclient_create_ro.stubs");
    let request = |stub: &Stub| {
        let decoded = Request::decode(stub.opnum.into(), &stub.bytes, Little);
        decoded.unwrap().0
    };
    let response = |stub: &Stub| Response::decode(stub.opnum, &stub.bytes, Little).unwrap().0;
    let share_name = r"\\127.0.0.1\plain\".to_owned();
    assert_eq!(UncPath::parse(&share_name).unwrap().share.as_str(), "plain");
    assert_eq!(
        request(&stubs[0]),
        Request::IsPathSupported {
            share_name: share_name.clone()
        }
    );
    assert_eq!(
        response(&stubs[1]),
        Response::IsPathSupported {
            supported_by_this_provider: true,
            owner_machine_name: Some("H1SRV".to_owned()),
            status: Status::ZERO
        }
    );
    let set = "d68a2600-64bd-4e69-8537-ab02c7a3a615";
    let copy = "8e2c19be-e7d1-425b-9978-816cf6d2388d";
    match request(&stubs[12]) {
        Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        } => assert_eq!(
            (shadow_copy_set_id.to_string().as_str(), timeout_ms),
            (set, 180_000)
        ),
        other => panic!("{other:?}"),
    }
    match request(&stubs[16]) {
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name: asked,
            level,
        } => {
            assert_eq!(shadow_copy_id.to_string(), copy);
            assert_eq!(shadow_copy_set_id.to_string(), set);
            assert_eq!((asked, level), (share_name, 1));
        }
        other => panic!("{other:?}"),
    }
    match response(&stubs[17]) {
        Response::GetShareMapping {
            level: 1,
            mapping: Some(mapping),
            status: Status::ZERO,
        } => check_mapping(&mapping, set, copy),
        other => panic!("{other:?}"),
    }
}

fn check_mapping(mapping: &ShareMapping, set: &str, copy: &str) {
    assert_eq!(mapping.shadow_copy_set_id.to_string(), set);
    assert_eq!(mapping.shadow_copy_id.to_string(), copy);
    assert_eq!(mapping.share_name_unc, r"\\H1SRV\plain");
    let exposed = mapping.shadow_copy_share_name.as_deref();
    assert_eq!(
        exposed,
        Some("plain@{8e2c19be-e7d1-425b-9978-816cf6d2388d}")
    );
    // 2026-11-22, the day of the capture.
    assert_eq!(mapping.creation_timestamp.unix_seconds() / 86_400, 20_779);
}

/// Samba's failure replies are the ones that we build for the same status.
#[test]
fn failure_replies_are_those_of_a_real_server() {
    let mut failures = 0;
    for stub in all() {
        if stub.direction == Direction::In {
            continue;
        }
        let (response, _) = Response::decode(stub.opnum, &stub.bytes, Little).unwrap();
        if !response.status().is_ok() {
            failures += 1;
            let ours = Response::failed(stub.opnum, response.status());
            assert_eq!(ours.encode(), stub.bytes, "{}", stub.place);
        }
    }
    assert!(failures >= 10, "only {failures} failure replies found");
}
