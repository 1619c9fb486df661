//! Attacks on a running daemon, over TCP and over the pipe's socket. After each of them nothing has
//! changed, who was served is still served, and so is the next client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attacker;
mod coerce;
mod floods;
mod logons;
mod others;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod tampering;

use attacker::{Door, Logon, Peer};
use fsrvp_idl::{Request, Response};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use support::{Daemon, Lab};

pub(crate) const BACKUP_PASSWORD: &str = "Bkp-3c9f-geheim";
pub(crate) const PLAIN_PASSWORD: &str = "Pln-7d21-geheim";

/// A laboratory with users: a backup operator, somebody without rights, and somebody disabled.
fn lab(server: &str) -> Lab {
    let lab = Lab::new("");
    let users = lab.users_file();
    std::fs::write(
        &users,
        format!(
            "[[user]]\nname = \"backup\"\npassword = {BACKUP_PASSWORD:?}\n\
             sids = [\"S-1-5-21-1-2-3-1000\", \"S-1-5-32-551\"]\n\
             [[user]]\nname = \"plain\"\npassword = {PLAIN_PASSWORD:?}\n\
             sids = [\"S-1-5-21-1-2-3-1001\"]\n\
             [[user]]\nname = \"former\"\npassword = {BACKUP_PASSWORD:?}\ndisabled = true\n\
             sids = [\"S-1-5-21-1-2-3-1002\", \"S-1-5-32-551\"]\n"
        ),
    )
    .unwrap();
    std::fs::set_permissions(&users, Permissions::from_mode(0o600)).unwrap();
    lab.configure(&format!(
        "{server}\n[server.security]\nkerberos = false\nusers_file = {users:?}\n"
    ));
    lab
}

/// A daemon under attack, with a client that has nothing to do with it.
struct Target<'a> {
    daemon: &'a Daemon,
    bystander: Peer,
    sets: serde_json::Value,
    /// What was left of the sequence timer, in milliseconds: restarting it would be a change.
    timer: std::cell::Cell<u64>,
}

impl<'a> Target<'a> {
    /// A set stands in creation: methods that change something would find something to change.
    fn new(daemon: &'a Daemon) -> Self {
        let mut bystander = Peer::new(daemon, Door::Pipe, Logon::RIGHT);
        let context = Request::SetContext { context: 0x40_0000 };
        assert!(matches!(
            bystander.call(&context),
            Response::SetContext { status } if status.0 == 0
        ));
        let start = Request::StartShadowCopySet {
            client_shadow_copy_set_id: support::client_set(),
        };
        let Response::StartShadowCopySet { status, .. } = bystander.call(&start) else {
            panic!()
        };
        assert_eq!(status.0, 0);
        let (sets, timer) = state(daemon);
        assert!(sets.to_string().contains("started"), "{sets}");
        Self {
            daemon,
            bystander,
            sets,
            timer: timer.into(),
        }
    }

    /// Nothing has changed.
    fn is_untouched(&self, what: &str) {
        let (sets, timer) = state(self.daemon);
        assert_eq!(sets, self.sets, "{what}");
        assert!(timer <= self.timer.replace(timer), "{what}: the timer");
    }

    /// Nothing has changed and everybody is served.
    fn stands(&mut self, what: &str) {
        self.is_untouched(what);
        let served = |peer: &mut Peer| {
            let response = peer.call(&Request::GetSupportedVersion);
            assert!(
                matches!(response, Response::GetSupportedVersion { .. }),
                "{what}: {response:?}"
            );
        };
        served(&mut self.bystander);
        for door in attacker::DOORS {
            served(&mut Peer::new(self.daemon, door, Logon::RIGHT));
        }
    }

    /// A request that would abort the set.
    fn abort(&self) -> Request {
        let id = self.sets.pointer("/servers/LAB/sets/0/id").unwrap();
        Request::AbortShadowCopySet {
            shadow_copy_set_id: serde_json::from_value(id.clone()).unwrap(),
        }
    }
}

/// `/v1/sets`, and what is left of the sequence timer.
fn state(daemon: &Daemon) -> (serde_json::Value, u64) {
    let mut sets: serde_json::Value = serde_json::from_str(&daemon.admin("/v1/sets")).unwrap();
    let server = sets.pointer_mut("/servers/LAB").unwrap();
    let timer = server.as_object_mut().unwrap().remove("timer_remaining_ms");
    (sets, timer.unwrap().as_u64().unwrap())
}

/// The request that the attacks send would be carried out if it came untouched.
#[test]
fn untouched_requests_are_carried_out() {
    for door in attacker::DOORS {
        let lab = lab("");
        let daemon = lab.start();
        let target = Target::new(&daemon);
        let mut peer = Peer::new(&daemon, door, Logon::RIGHT);
        let pdu = peer.pdu(&target.abort());
        assert!(peer.wire.send(&pdu));
        assert_eq!(peer.wire.answer(), attacker::Answer::Response);
        assert!(!daemon.admin("/v1/sets").contains("started"));
    }
}
