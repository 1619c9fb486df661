//! Attacks on memory, descriptors and patience.

use crate::attacker::{Answer, DOORS, Door, Logon, Peer, Wire};
use crate::support::{Daemon, one_of_many};
use crate::{Target, lab};
use bytes::{BufMut as _, Bytes, BytesMut};
use dcerpc_proto::FaultStatus;
use fsrvp_samba::npa::AuthRequest;
use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

/// Opnums with a name first, and with a name after two GUIDs.
const IS_PATH_SUPPORTED: u16 = 8;
const DELETE_SHARE_MAPPING: u16 = 11;

/// Most that the daemon may grow by, whatever lengths a client writes, in KiB.
const GROWTH: u64 = 16 * 1024;

/// A line of the daemon's `/proc/PID/status`, in KiB.
fn memory(daemon: &Daemon, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line));
    let value = value.unwrap().trim_start_matches(':').trim();
    value.trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn lengths_of_four_gigabytes_are_not_believed() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    let before = memory(&daemon, "VmHWM");
    let lies = [
        [u32::MAX, 0, u32::MAX],
        [u32::MAX, 0, 4],
        [4, 0, u32::MAX],
        [4, u32::MAX, 4],
        [0x8000_0000, 0, 0x8000_0000],
        [0x7FFF_FFFF, 0, 0x7FFF_FFFF],
        [0, 0, 0],
    ];
    for door in DOORS {
        for (opnum, guids) in [(IS_PATH_SUPPORTED, 0), (DELETE_SHARE_MAPPING, 2)] {
            for counts in lies {
                let mut stub = BytesMut::new();
                stub.put_bytes(3, guids * 16);
                counts.iter().for_each(|count| stub.put_u32_le(*count));
                stub.put_slice(b"a\0b\0c\0\0\0");
                let mut peer = Peer::new(&daemon, door, Logon::RIGHT);
                let pdus = peer.pdus(opnum, stub.freeze());
                assert!(peer.wire.send(&pdus[0]));
                let answer = peer.wire.answer();
                let bad_stub = Answer::Fault(FaultStatus::BAD_STUB_DATA.0);
                assert_eq!(answer, bad_stub, "{door:?} {opnum} {counts:?}");
            }
        }
        // alloc_hint, in a request that nobody signed.
        let mut peer = Peer::new(&daemon, door, Logon::RIGHT);
        let mut pdu = peer.pdu(&target.abort());
        pdu[16..20].fill(0xFF);
        assert!(peer.wire.send(&pdu));
        assert!(matches!(peer.wire.answer(), Answer::Fault(_)));
        target.stands(&format!("{door:?}"));
    }
    let grown = memory(&daemon, "VmHWM") - before;
    assert!(grown < GROWTH, "grown by {grown} KiB");
}

#[test]
fn a_hand_over_of_four_gigabytes_is_no_hand_over() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    let before = memory(&daemon, "VmHWM");
    for length in [u32::MAX, 0x7FFF_FFFF, 0x0100_0000, 0] {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend_from_slice(b"NPAM");
        frame.resize(1 << 20, 0x41);
        // The daemon closes as soon as it has seen the length.
        let _ = stream.write_all(&frame);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{length:#x}: {answer:?}");
    }
    target.stands("long hand-overs");
    let grown = memory(&daemon, "VmHWM") - before;
    assert!(grown < GROWTH, "grown by {grown} KiB");
}

#[test]
fn a_request_without_end_is_cut_off() {
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    let before = memory(&daemon, "VmHWM");
    for door in DOORS {
        for _ in 0..8 {
            let mut peer = Peer::new(&daemon, door, Logon::RIGHT);
            let mut pdus = peer.pdus(IS_PATH_SUPPORTED, Bytes::from(vec![b'A'; 4 << 20]));
            // The last fragment never comes.
            pdus.pop();
            let taken = pdus.iter().take_while(|pdu| peer.wire.send(pdu)).count();
            assert!(taken > 10, "{taken}");
            let answer = peer.wire.answer();
            // A fault, unless the end of the connection has overtaken it.
            let refused = [Answer::Fault(FaultStatus::ACCESS_DENIED.0), Answer::End];
            assert!(refused.contains(&answer), "{door:?}: {answer:?}");
            assert_eq!(peer.wire.answer(), Answer::End);
        }
        target.stands(&format!("{door:?}"));
    }
    let grown = memory(&daemon, "VmHWM") - before;
    assert!(grown < GROWTH, "grown by {grown} KiB");
}

/// Whoever can log on can send what does not decode, before anybody asks who may call.
#[test]
fn requests_that_do_not_decode_do_not_fill_the_log() {
    let lab = lab("");
    let daemon = lab.start();
    let mut peer = Peer::new(&daemon, Door::Pipe, Logon::RIGHT);
    for _ in 0..500 {
        for pdu in peer.pdus(IS_PATH_SUPPORTED, Bytes::from_static(b"\x01")) {
            assert!(peer.wire.send(&pdu));
        }
        let bad_stub = Answer::Fault(FaultStatus::BAD_STUB_DATA.0);
        assert_eq!(peer.wire.answer(), bad_stub);
    }
    let lines = daemon.log().matches("a request does not decode").count();
    // Twenty in ten seconds; a loaded machine may take three spans.
    assert!((1..=60).contains(&lines), "{lines} lines");
}

/// Clients that hand a pipe over, begin to log on, and say no more.
const HALF_OPEN: usize = 10_000;
/// `max_connections` where nothing is configured.
const CAP: usize = 2_048;
/// Accounts among which they are spread: one alone may have half of the places.
const ACCOUNTS: usize = 8;
/// What the daemon may use while it holds them, in KiB.
const WITH_ALL: u64 = 192 * 1024;

#[test]
fn ten_thousand_half_open_binds_find_a_cap_and_an_answer() {
    let lab = lab("");
    // A service manager's usual limit of descriptors is below the cap: the daemon must raise it.
    let daemon = lab.start_with_descriptors(1_024, 8_192);
    let mut target = Target::new(&daemon);
    let first_leg = RefCell::new(Vec::new());
    let peer = Peer::try_new(&daemon, Door::Pipe, Logon::RIGHT, |number, pdu| {
        if number == 0 {
            first_leg.replace(pdu.clone());
        }
    });
    drop(peer);
    let first_leg = first_leg.into_inner();
    let hand_overs: [_; ACCOUNTS] =
        std::array::from_fn(|number| AuthRequest::from(one_of_many(number)).encode());
    let mut open = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    let began = std::time::Instant::now();
    for number in 0..HALF_OPEN {
        let mut wire = Wire::hand_over(&daemon, &hand_overs[number % ACCOUNTS]);
        assert!(wire.send(&first_leg));
        match wire.answer() {
            Answer::Acknowledged => taken += 1,
            // local_limit_exceeded
            Answer::BindNak(2) => refused += 1,
            other => panic!("client {number}: {other:?}"),
        }
        open.push(wire);
        if number % 1_000 == 0 {
            let answer = target
                .bystander
                .call(&fsrvp_idl::Request::GetSupportedVersion);
            let answer = format!("{answer:?}");
            assert!(answer.contains("GetSupportedVersion"), "{answer}");
        }
    }
    let held = memory(&daemon, "VmRSS");
    println!(
        "{taken} taken, {refused} told that there is no place, {held} KiB, {:.1?}",
        began.elapsed()
    );
    // The bystander has a place too.
    assert_eq!((taken, refused), (CAP - 1, HALF_OPEN - CAP + 1));
    assert!(held < WITH_ALL, "{held} KiB");
    let told = daemon.admin("/metrics");
    assert!(told.contains("turned_away"), "{told}");
    drop(open);
    // The places are free again a moment after the clients have gone.
    daemon.wait_for_places(|| Peer::try_new(&daemon, Door::Pipe, Logon::RIGHT, |_, _| {}).is_ok());
    target.stands("half-open binds");
}
