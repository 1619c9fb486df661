//! The pipe beside a real smbd: hand-over, and the fight for the socket with samba-dcerpcd.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod lab;

use fsrvp_samba::npa::{HandOver, Level};
use fsrvp_samba::pipe::{PipeConfig, PipeListener};
use lab::Lab;
use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// samba-dcerpcd serves nothing without the last three; the first is the one that takes our socket.
const DCERPCD: [&str; 5] = [
    "rpcd_fsrvp",
    "rpcd_classic",
    "rpcd_lsad",
    "rpcd_winreg",
    "rpcd_epmapper",
];

const LIMIT: Duration = Duration::from_secs(10);

/// Header of a bind_ack that accepts the first context, by hand: a stub agent knows no RPC.
fn bind_ack(bind: &[u8]) -> Vec<u8> {
    let mut pdu = vec![5, 0, 12, 3, 0x10, 0, 0, 0, 0, 0, 0, 0];
    pdu.extend_from_slice(&bind[12..16]); // call id
    pdu.extend_from_slice(&4280_u16.to_le_bytes());
    pdu.extend_from_slice(&4280_u16.to_le_bytes());
    pdu.extend_from_slice(&1_u32.to_le_bytes()); // association group
    let address = b"\\pipe\\FssagentRpc\0";
    pdu.extend_from_slice(&u16::try_from(address.len()).unwrap().to_le_bytes());
    pdu.extend_from_slice(address);
    pdu.resize(pdu.len().next_multiple_of(4), 0);
    pdu.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]); // one result: acceptance
    pdu.extend_from_slice(&bind[bind.len() - 20..]); // the transfer syntax that was offered
    finish(pdu)
}

/// GetSupportedVersion: 1, 1, success.
fn supported_version(request: &[u8]) -> Vec<u8> {
    let mut pdu = vec![5, 0, 2, 3, 0x10, 0, 0, 0, 0, 0, 0, 0];
    pdu.extend_from_slice(&request[12..16]);
    pdu.extend_from_slice(&12_u32.to_le_bytes()); // alloc_hint
    pdu.extend_from_slice(&[0, 0, 0, 0]); // context, cancel count
    for value in [1_u32, 1, 0] {
        pdu.extend_from_slice(&value.to_le_bytes());
    }
    finish(pdu)
}

fn finish(mut pdu: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(pdu.len()).unwrap().to_le_bytes();
    pdu[8..10].copy_from_slice(&length);
    pdu
}

/// Serves one client: a bind and one call.
async fn serve_one(listener: &mut PipeListener) -> HandOver {
    let raw = listener.accept().await.unwrap();
    let mut pipe = raw.hand_over(LIMIT).await.unwrap();
    let bind = pipe.reader.read().await.unwrap().unwrap();
    pipe.writer.write([bind_ack(&bind)]).await.unwrap();
    let request = pipe.reader.read().await.unwrap().unwrap();
    let reply = supported_version(&request);
    pipe.writer.write([reply]).await.unwrap();
    assert!(pipe.reader.read().await.unwrap().is_none());
    pipe.peer
}

fn rpcclient(lab: &Lab, options: &[&str], call: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("rpcclient");
    command
        .arg("-s")
        .arg(lab.smb_conf())
        .args(["-p", &lab.port.to_string(), "-U", "root%Pass1"])
        .args(options)
        .arg(format!("ncacn_np:{}", lab.host))
        .args(["-c", call])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn call(lab: &Lab, listener: &mut PipeListener, options: &[&str]) -> HandOver {
    let output = rpcclient(lab, options, "fss_get_sup_version").output();
    let served = tokio::time::timeout(LIMIT, serve_one(listener));
    let (output, peer) = tokio::join!(output, served);
    let text = lab::text(&output.unwrap());
    assert!(text.contains("FSRVP versions from 1 to 1"), "{text}");
    peer.unwrap()
}

#[tokio::test]
async fn smbd_hands_its_clients_over() {
    if !lab::can_run() {
        return;
    }
    let lab = Lab::boot("", "");
    let mut listener = PipeListener::bind(PipeConfig::new(lab.np_directory())).unwrap();
    let peer = call(&lab, &mut listener, &[]).await;
    let host = lab.host.parse().unwrap();
    assert_eq!(peer.server.address, Some(host));
    assert_eq!(peer.server.port, lab.port);
    assert!(peer.client.address.unwrap().is_loopback());
    assert!(matches!(peer.level, Level::Seven | Level::Eight));
    assert_eq!(peer.facts.encryption, None);
    let token = peer.token.unwrap();
    assert_eq!(token.qualified_account(), "FSLAB\\root");
    assert_eq!(token.unix.as_ref().unwrap().uid, 0);
    let sids: Vec<String> = token.sids.iter().map(ToString::to_string).collect();
    assert!(sids.contains(&"S-1-5-11".to_owned()), "{sids:?}");
    assert!(!sids.iter().any(|sid| sid.starts_with("S-1-22-2041152804")));

    // A BUILTIN group, and an encrypted session.
    lab.tool(
        "net",
        &[
            "groupmap",
            "add",
            "sid=S-1-5-32-551",
            "ntgroup=Backup Operators",
            "unixgroup=root",
            "type=builtin",
        ],
    );
    let peer = call(&lab, &mut listener, &["--client-protection=encrypt"]).await;
    let encryption = peer.facts.encryption.unwrap();
    assert_eq!(encryption.dialect, 0x0311);
    let sids: Vec<String> = peer
        .token
        .unwrap()
        .sids
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(sids.contains(&"S-1-5-32-551".to_owned()), "{sids:?}");
}

/// Runs the listener until `done`.
async fn accept_nobody_until(listener: &mut PipeListener, done: impl Fn() -> bool) {
    // Looked at beside the listener, on one thread with it: a wait that blocks would stop both.
    let polled = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = listener.accept() => panic!("nobody connects here"),
        result = tokio::time::timeout(LIMIT, polled) => result.unwrap(),
    }
}

#[tokio::test]
async fn the_pipe_survives_samba_dcerpcd() {
    let fsrvp = Path::new("/usr/libexec/samba/rpcd_fsrvp");
    if !lab::can_run() {
        return;
    }
    if !fsrvp.exists() {
        assert!(
            std::env::var_os("FSRVP_REQUIRE_LAB").is_none(),
            "FSRVP_REQUIRE_LAB is set, but there is no {}: has it been diverted?",
            fsrvp.display()
        );
        eprintln!("skipped: rpcd_fsrvp is not installed, so nobody takes the socket");
        return;
    }
    let mut lab = Lab::boot("", "");
    let mut listener = PipeListener::bind(PipeConfig::new(lab.np_directory())).unwrap();
    let counters = listener.counters();
    call(&lab, &mut listener, &[]).await;

    let socket = listener.path().to_owned();
    let inode = || std::fs::metadata(&socket).map(|data| data.ino()).ok();
    for round in 1..=2 {
        let ours = inode();
        lab.start_dcerpcd(&DCERPCD);
        let lost = Cell::new(None);
        accept_nobody_until(&mut listener, || {
            if inode() != ours && lost.get().is_none() {
                lost.set(Some(Instant::now()));
            }
            counters.take_backs() >= round
        })
        .await;
        let late = lost.get().map(|since| since.elapsed());
        println!("taken back from samba-dcerpcd: {late:?} after the loss was seen");
        assert!(late.unwrap_or_default() < Duration::from_millis(100));
        call(&lab, &mut listener, &[]).await;

        // Samba's own pipes are served beside ours.
        let done = Cell::new(false);
        let other = async {
            let output = rpcclient(&lab, &[], "srvinfo").output().await.unwrap();
            done.set(true);
            lab::text(&output)
        };
        let (text, ()) = tokio::join!(other, accept_nobody_until(&mut listener, || done.get()));
        assert!(text.contains("server type"), "{text}");
        lab.stop_dcerpcd();
    }
    assert_eq!(counters.take_back_failures(), 0);
    assert_eq!(counters.contested(), 0);
}
