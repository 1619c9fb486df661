//! What must not stand in a log, at any level, whatever happens.

use crate::attacker::{DOORS, Logon, Peer, Wire};
use crate::{BACKUP_PASSWORD, PLAIN_PASSWORD, Target, lab};
use dcerpc_proto::security::{AuthLevel, AuthType};
use fsrvp_client::PipeIdentity;
use fsrvp_samba::npa::AuthRequest;

/// MD4 of the passwords in UTF-16, as `openssl dgst -md4` has it.
const BACKUP_HASH: &str = "545DC77D5F0C815C0290A007C1CB809A";
const PLAIN_HASH: &str = "BC9A5DAB09FD4991ED6EDD65B815F1E5";

/// A session key of the SMB session, as the hand-over brings it.
const SESSION_KEY: [u8; 16] = *b"SMB-session-key!";

#[test]
fn logs_hold_no_secrets() {
    let lab = lab("");
    lab.log_everything();
    let daemon = lab.start();
    let mut target = Target::new(&daemon);
    for door in DOORS {
        for auth_type in [AuthType::WINNT, AuthType::GSS_NEGOTIATE] {
            for level in [AuthLevel::Connect, AuthLevel::Integrity, AuthLevel::Privacy] {
                for (user, password) in [
                    ("backup", BACKUP_PASSWORD),
                    ("plain", PLAIN_PASSWORD),
                    ("plain", BACKUP_PASSWORD),
                    ("former", BACKUP_PASSWORD),
                ] {
                    let logon = Logon {
                        user,
                        password,
                        auth_type,
                        level,
                        ..Logon::RIGHT
                    };
                    if let Ok(mut peer) = Peer::try_new(&daemon, door, logon, |_, _| {}) {
                        let pdu = peer.pdu(&fsrvp_idl::Request::GetSupportedVersion);
                        peer.wire.send(&pdu);
                        peer.wire.answer();
                    }
                }
            }
        }
        target.stands("many logons");
    }
    let mut hand_over = AuthRequest::from(PipeIdentity::default());
    let info = hand_over.session.as_mut().unwrap().info.as_mut().unwrap();
    info.session_key = SESSION_KEY.to_vec().into();
    let mut wire = Wire::hand_over(&daemon, &hand_over.encode());
    wire.send(b"no PDU at all");
    wire.finish();
    wire.answer();

    let log = daemon.log();
    assert!(log.contains("TRACE"), "{log}");
    assert_silent(&log);
}

fn assert_silent(log: &str) {
    let folded = log.to_lowercase();
    for secret in [BACKUP_PASSWORD, PLAIN_PASSWORD, BACKUP_HASH, PLAIN_HASH] {
        assert!(!folded.contains(&secret.to_lowercase()), "{secret}");
    }
    assert!(!log.contains(&*String::from_utf8_lossy(&SESSION_KEY)));
    assert!(!log.contains(&format!("{SESSION_KEY:?}")));
    let hexadecimal = SESSION_KEY.map(|byte| format!("{byte:02x}")).concat();
    assert!(!folded.contains(&hexadecimal));
    // Keys that the peers chose by chance have no other form than these.
    for line in log.lines() {
        let is_hex = |c: char| c.is_ascii_hexdigit();
        let longest = line.split(|c| !is_hex(c)).map(str::len).max();
        assert!(longest < Some(32), "looks like a key: {line}");
        let bytes = |part: &str| part.split(", ").filter(|n| n.parse::<u8>().is_ok()).count();
        let numbers = line.split(['[', ']']).map(bytes).max();
        assert!(numbers < Some(8), "looks like bytes: {line}");
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let finds = |line: &str| std::panic::catch_unwind(|| assert_silent(line)).is_err();
    assert!(!finds(
        "2026 TRACE uuid=3f0cf0ff-d2a0-4b8e-8e94-0123456789ab sids=[S-1-5-32-551]"
    ));
    assert!(finds(&format!("password={BACKUP_PASSWORD}")));
    assert!(finds(&format!("hash={}", BACKUP_HASH.to_lowercase())));
    assert!(finds(&format!("key={SESSION_KEY:?}")));
    assert!(finds("key=00112233445566778899aabbccddeeff"));
}
