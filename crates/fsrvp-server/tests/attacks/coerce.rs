//! ShadowCoerce (CVE-2022-30154): the host of a UNC name is compared with our own names and never
//! looked up, connected to or asked for anything.

use crate::attacker::{Door, Logon, Peer};
use crate::support::Daemon;
use crate::{Target, lab};
use fsrvp_idl::Request;
use fsrvp_testkit::NetworkTrace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Hosts as attackers write them: names, addresses, and what Windows takes for WebDAV. The control
/// really asks for these, so none of them leads out of the machine.
const HOSTS: [&str; 12] = [
    "listener",
    "listener.example",
    "127.0.0.9",
    "::1",
    "[::1]",
    "fe80--1.ipv6-literal.net",
    "0--1.ipv6-literal.net",
    "listener@80",
    "listener@SSL@443",
    "127.0.0.9@80",
    "listener@80\\DavWWWRoot",
    "2130706441",
];

/// Opnums 3, 8, 9, 10 and 11: those with a share name.
fn requests(unc: &str) -> Vec<Request> {
    let mut requests = crate::support::one_of_each_about(unc);
    requests.retain(|request| matches!(u16::from(request.opnum()), 3 | 8..=11));
    requests
}

fn strace_is_there() -> bool {
    if Command::new("strace").arg("-V").output().is_ok() {
        return true;
    }
    println!("skipped: strace is not installed");
    let required = std::env::var_os("FSRVP_REQUIRE_LAB").is_some_and(|value| value == "1");
    assert!(!required, "strace is not installed");
    false
}

/// What the daemon says to the network while it is asked about a host.
fn provoked(daemon: &Daemon, peer: &mut Peer, host: &str) -> Vec<String> {
    let trace = NetworkTrace::of(&[daemon.pid()]).unwrap();
    for request in requests(&format!(r"\\{host}\NETLOGON")) {
        let response = peer.call(&request);
        assert_ne!(response.status().0, 0, "{request:?}");
    }
    trace.network_calls().unwrap()
}

#[test]
fn hosts_of_unc_names_are_never_asked() {
    if !strace_is_there() {
        return;
    }
    let lab = lab("");
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    let mut peer = Peer::new(&daemon, Door::Pipe, Logon::RIGHT);
    for host in HOSTS {
        let calls = provoked(&daemon, &mut peer, host);
        assert!(calls.is_empty(), "{host}: {calls:?}");
    }
    target.stands("ShadowCoerce");
}

/// The same test against a daemon that does ask: the control.
#[test]
fn a_daemon_that_asks_is_caught() {
    if !strace_is_there() {
        return;
    }
    let lab = lab("");
    let daemon = lab.start_program(&control());
    let mut peer = Peer::new(&daemon, Door::Pipe, Logon::RIGHT);
    for host in ["127.0.0.9", "::1", "[::1]", "127.0.0.9@80", "localhost"] {
        let calls = provoked(&daemon, &mut peer, host);
        // Each of the five methods.
        assert!(calls.len() >= 5, "{host}: {calls:?}");
    }
}

/// The example beside the programs that cargo has built for this test.
fn control() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_fsrvpd")).parent().unwrap();
    let control = programs.join("examples/resolving_fsrvpd");
    let how = "cargo builds it with all tests of the package, and with --examples";
    assert!(control.exists(), "{} is missing: {how}", control.display());
    control
}
