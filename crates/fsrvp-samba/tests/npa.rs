//! The hand-over codec against captured frames, made-up claims, and garbage.

#![allow(clippy::unwrap_used)]

use fsrvp_samba::npa::{
    AuthRequest, Claim, ClaimValues, DecodeError, HandOver, Level, MAX_FRAME, NpaFlags,
    SecurityToken, Sid, SmbEncryption, auth_reply, check_auth_reply,
};
use proptest::prelude::*;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/npa")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn requests() -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("req_"))
        .map(|name| (name.clone(), fixture(&name)))
        .collect();
    found.sort();
    found
}

#[test]
fn every_frame_is_encoded_again_byte_for_byte() {
    let requests = requests();
    assert_eq!(requests.len(), 11);
    for (name, frame) in requests {
        let request = AuthRequest::decode(&frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(request.encode(), frame, "{name}");
    }
}

struct Expected {
    file: &'static str,
    level: Level,
    account: &'static str,
    domain: &'static str,
    sids: &'static [&'static str],
    backup_privilege: bool,
    unix: u64,
    ports: (u16, u16),
    encryption: Option<SmbEncryption>,
}

const EXPECTED: &[Expected] = &[
    Expected {
        file: "req_l7_user_daemon.bin",
        level: Level::Seven,
        account: "daemon",
        domain: "H1SRV",
        sids: &[
            "S-1-5-21-215261748-3607029981-3649647815-1002",
            "S-1-5-21-215261748-3607029981-3649647815-513",
            "S-1-22-2-1",
            "S-1-1-0",
            "S-1-5-2",
            "S-1-5-11",
            "S-1-22-1-1",
        ],
        backup_privilege: false,
        unix: 1,
        ports: (49538, 4450),
        encryption: None,
    },
    Expected {
        file: "req_l7_backup_privilege.bin",
        level: Level::Seven,
        account: "backup",
        domain: "H1SRV",
        sids: &[
            "S-1-5-21-215261748-3607029981-3649647815-1001",
            "S-1-5-21-215261748-3607029981-3649647815-513",
            "S-1-22-2-34",
            "S-1-1-0",
            "S-1-5-2",
            "S-1-5-11",
            "S-1-22-1-34",
        ],
        backup_privilege: true,
        unix: 34,
        ports: (49546, 4450),
        encryption: None,
    },
    Expected {
        file: "req_l7_root_smb3_encrypted.bin",
        level: Level::Seven,
        account: "root",
        domain: "H1SRV",
        sids: &[
            "S-1-5-21-215261748-3607029981-3649647815-1000",
            "S-1-5-21-215261748-3607029981-3649647815-513",
            "S-1-22-2-0",
            "S-1-1-0",
            "S-1-5-2",
            "S-1-5-11",
            "S-1-22-1-0",
        ],
        backup_privilege: false,
        unix: 0,
        ports: (49548, 4450),
        encryption: Some(SmbEncryption {
            dialect: 0x0311,
            encryption: 2,
            cipher: 2,
        }),
    },
    Expected {
        file: "req_l8_samba4.22_1.bin",
        level: Level::Eight,
        account: "backup",
        domain: "RVSRV13",
        sids: &[
            "S-1-5-21-2912464547-685639889-892623566-1001",
            "S-1-5-21-2912464547-685639889-892623566-513",
            "S-1-5-32-551",
            "S-1-1-0",
            "S-1-5-2",
            "S-1-5-11",
            "S-1-22-1-34",
            "S-1-22-2-34",
        ],
        backup_privilege: false,
        unix: 34,
        ports: (0xE68A, 0x116F),
        encryption: None,
    },
];

#[test]
fn frames_say_what_was_captured() {
    for expected in EXPECTED {
        let file = expected.file;
        let hand_over = HandOver::from(AuthRequest::decode(&fixture(file)).unwrap());
        assert_eq!(hand_over.level, expected.level, "{file}");
        let ports = (hand_over.client.port, hand_over.server.port);
        assert_eq!(ports, expected.ports, "{file}");
        let loopback = Some("127.0.0.1".parse().unwrap());
        assert_eq!(hand_over.client.address, loopback, "{file}");
        assert_eq!(hand_over.server.address, loopback, "{file}");
        assert_eq!(hand_over.server.name.as_deref(), Some("vm"), "{file}");
        assert_eq!(hand_over.facts.encryption, expected.encryption, "{file}");
        assert!(!hand_over.facts.probe_only(), "{file}");
        let token = hand_over.token.unwrap();
        assert_eq!(token.account, expected.account, "{file}");
        assert_eq!(token.domain, expected.domain, "{file}");
        assert_eq!(
            token.has_backup_privilege(),
            expected.backup_privilege,
            "{file}"
        );
        let sids: Vec<String> = token.sids.iter().map(Sid::to_string).collect();
        assert_eq!(sids, expected.sids, "{file}");
        let unix = token.unix.unwrap();
        assert_eq!(
            (unix.uid, unix.gid),
            (expected.unix, expected.unix),
            "{file}"
        );
        assert_eq!(unix.groups, [expected.unix], "{file}");
    }
}

#[test]
fn the_full_account_is_there() {
    let request = AuthRequest::decode(&fixture("req_l7_root.bin")).unwrap();
    let info = request.session.unwrap().info.unwrap();
    assert_eq!(info.session_key.expose().len(), 16);
    assert_eq!(info.session_key.expose()[..2], [0x71, 0xed]);
    let user = info.user.unwrap();
    let profile = Some("\\\\H1SRV\\root\\profile");
    assert_eq!(user.profile_path.as_deref(), profile);
    assert_eq!(user.logon_script.as_deref(), Some(""));
    assert_eq!(user.user_principal_name, None);
    assert_eq!(user.last_logoff, i64::MAX as u64);
    assert_eq!(user.last_password_change, 134_397_839_890_000_000);
    assert_eq!(user.acct_flags, 16);
    assert_eq!(user.user_flags, 1);
    let names = info.unix_names.unwrap();
    assert_eq!(names.sanitized_username.as_deref(), Some("root"));
}

#[test]
fn the_session_key_is_in_no_debug_text() {
    let request = AuthRequest::decode(&fixture("req_l7_root.bin")).unwrap();
    let text = format!("{request:?}");
    assert!(text.contains("session_key: <16 bytes>"), "{text}");
    assert!(!text.contains("113, 237"), "{text}");
}

fn token_of(request: &mut AuthRequest) -> &mut SecurityToken {
    let session = request.session.as_mut().unwrap();
    let info = session.info.as_mut().unwrap();
    info.security_token.as_mut().unwrap()
}

#[test]
fn a_probe_is_told_from_a_client() {
    let mut request = AuthRequest::decode(&fixture("req_l8_samba4.22_0.bin")).unwrap();
    let sids = &mut token_of(&mut request).sids;
    *sids.last_mut().unwrap() = "S-1-22-2041152804-4".parse().unwrap();
    let count = sids.len();
    let hand_over = HandOver::from(AuthRequest::decode(&request.encode()).unwrap());
    assert!(hand_over.facts.probe_only());
    assert_eq!(hand_over.facts.flags, NpaFlags::PROBE_ONLY);
    assert_eq!(hand_over.token.unwrap().sids.len(), count - 1);
}

fn with_claims() -> AuthRequest {
    let mut request = AuthRequest::decode(&fixture("req_l8_samba4.22_1.bin")).unwrap();
    let token = token_of(&mut request);
    let claim = |name: &str, values| Claim {
        name: Some(name.to_owned()),
        flags: 2,
        values,
    };
    token.local_claims = vec![claim("lokal", ClaimValues::Int64(vec![Some(7), None]))];
    token.user_claims = vec![
        claim(
            "ad://ext/department",
            ClaimValues::String(vec![Some("Büro".to_owned()), Some(String::new())]),
        ),
        claim("b", ClaimValues::Boolean(vec![Some(1)])),
        claim("u", ClaimValues::Uint64(vec![Some(u64::MAX)])),
        Claim {
            name: None,
            flags: 0,
            values: ClaimValues::Sid(vec![Some(vec![1, 0, 0, 0, 0, 0, 0, 5])]),
        },
    ];
    token.device_claims = vec![claim("d", ClaimValues::OctetString(vec![Some(vec![9; 3])]))];
    token.device_sids = vec!["S-1-5-32-545".parse().unwrap()];
    token.evaluate_claims = 1;
    request
}

#[test]
fn what_follows_claims_is_found() {
    let request = with_claims();
    let decoded = AuthRequest::decode(&request.encode()).unwrap();
    assert_eq!(decoded, request);
    let token = HandOver::from(decoded).token.unwrap();
    assert_eq!(token.account, "backup");
    assert_eq!(token.unix.unwrap().uid, 34);
}

#[test]
fn claims_that_point_back_or_out_are_refused() {
    let frame = with_claims().encode();
    let name: Vec<u8> = "lokal".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = frame.windows(name.len()).position(|w| w == name).unwrap();
    let pointer = u32::try_from(at).unwrap().to_le_bytes();
    let place = frame.windows(4).position(|w| w == pointer).unwrap();
    for target in [1_u32, u32::MAX] {
        let mut frame = frame.clone();
        frame[place..place + 4].copy_from_slice(&target.to_le_bytes());
        let error = DecodeError::Pointer {
            field: "claim pointer",
        };
        assert_eq!(AuthRequest::decode(&frame), Err(error));
    }
}

#[test]
fn malformed_frames_are_refused_by_name() {
    let good = fixture("req_l7_root.bin");
    let patched = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        AuthRequest::decode(&frame)
    };
    let found = good.len() - 4;
    let announced = MAX_FRAME + 1;
    let count = |field, count| DecodeError::Count { field, count };
    let cases = [
        (
            patched(0, &announced.to_be_bytes()),
            DecodeError::Length { announced, found },
        ),
        (patched(4, b"NPAX"), DecodeError::Magic(*b"NPAX")),
        (patched(8, &[6]), DecodeError::Level(6)),
        (patched(12, &[8]), DecodeError::Level(8)),
        (patched(200, &[0xff; 4]), count("num_sids", u32::MAX)),
        (patched(204, &[7]), count("sids", 7)),
        (patched(209, &[16]), DecodeError::Sid { field: "sids" }),
        (
            patched(152, &[1]),
            DecodeError::Pointer { field: "torture" },
        ),
        (
            patched(60, b"\xff"),
            DecodeError::Text {
                field: "remote_client_name",
            },
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, Err(expected));
    }
}

#[test]
fn every_truncation_is_refused() {
    for (name, frame) in requests() {
        for length in 4..frame.len() {
            let mut short = frame[..length].to_vec();
            let announced = u32::try_from(length - 4).unwrap();
            short[..4].copy_from_slice(&announced.to_be_bytes());
            let decoded = AuthRequest::decode(&short);
            assert!(decoded.is_err(), "{name} cut at {length}");
        }
    }
}

#[test]
fn the_reply_is_the_one_of_samba() {
    assert_eq!(auth_reply(Level::Seven)[..], fixture("rep_l7_ok_samba.bin"));
    let eight = auth_reply(Level::Eight);
    assert_eq!(check_auth_reply(&eight, Level::Eight), Ok(()));
    assert_eq!(
        check_auth_reply(&eight, Level::Seven),
        Err(DecodeError::Level(8))
    );
    let mut refused = auth_reply(Level::Seven);
    refused[32..].copy_from_slice(&0xC000_0022_u32.to_le_bytes());
    assert_eq!(
        check_auth_reply(&refused, Level::Seven),
        Err(DecodeError::Status(0xC000_0022))
    );
}

#[test]
fn sids_are_read_and_shown() {
    for text in ["S-1-5-32-551", "S-1-22-2041152804-0", "S-1-0"] {
        assert_eq!(text.parse::<Sid>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "S",
        "S-1",
        "s-1-5",
        "S-1-5-x",
        "S-1-5-4294967296",
        "S-1-281474976710656",
    ] {
        assert!(text.parse::<Sid>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = AuthRequest::decode(&bytes);
    }

    #[test]
    fn damaged_frames_never_panic(
        file in 0_usize..11,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (_, mut frame) = requests().swap_remove(file);
        for (at, value) in damage {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        if let Ok(request) = AuthRequest::decode(&frame) {
            let again = AuthRequest::decode(&request.encode()).unwrap();
            prop_assert_eq!(again, request);
        }
    }
}
