//! The package is upgraded in every state of a set, by `apt-get`, on a booted server, and the client carries on.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use fsrvp_testkit::comes_true;
use fsrvp_tests::{FileServer, Finally, Judge};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A version for every state, the one before the first set, and one that is too old for the table.
const VERSIONS: &[&str] = &[
    "0.1.0-1", "0.1.0-2", "0.1.0-3", "0.1.0-4", "0.1.0-5", "0.1.0-6", "0.1.0-7", "0.1.0-8",
    "0.1.0-9", "0.0.9-1",
];
const SHARE: &str = r"\\127.0.0.1\projects";
/// A writable backup, so that RecoveryComplete has something to seal.
const CONTEXT: &str = "0x00400000";
const PATIENCE: Duration = Duration::from_secs(60);

struct Client {
    server: FileServer,
    judge: Judge,
    /// Packages that have not been installed yet.
    newer: std::slice::Iter<'static, &'static str>,
}

impl Client {
    fn good(&self, command: &str) -> String {
        self.server.good(command).unwrap()
    }

    /// A call on a connection of its own that has to succeed; the id that it returns, if any.
    fn call(&self, words: &[&str]) -> String {
        let answer = self.server.call(&self.judge, words);
        let answer = answer.unwrap_or_else(|failed| {
            let log = self.good("journalctl --no-pager -n 40 -u fsrvpd");
            fail_now(&format!(
                "{words:?}: {}\n{log}",
                failed.message().unwrap_or_default()
            ))
        });
        answer.as_str().unwrap_or_default().to_owned()
    }

    fn process(&self) -> String {
        self.good("systemctl show --property MainPID --value fsrvpd")
    }

    /// Upgrades and checks that the set, if there is one, is what it was.
    fn upgrade(&mut self, set: &str, status: &str) {
        assert_eq!(self.status(set), status);
        let (version, before) = (*self.newer.next().unwrap(), self.process());
        self.good(&format!("apt-get install --yes ./{version}/fsrvpd_*.deb"));
        assert_ne!(
            self.process(),
            before,
            "{version}: the daemon was not restarted"
        );
        assert_eq!(self.status(set), status, "after the upgrade to {version}");
    }

    /// The word for a set's state; nothing for one that is not there.
    fn status(&self, set: &str) -> String {
        let sets = self.good("fsrvpctl --json sets");
        let sets: serde_json::Value = serde_json::from_str(&sets).unwrap();
        let servers = sets.get("servers").and_then(|servers| servers.as_object());
        let servers = servers
            .unwrap()
            .values()
            .filter_map(|server| server.get("sets"));
        let mut sets = servers.flat_map(|sets| sets.as_array().unwrap());
        let found = sets.find(|found| found.get("id").is_some_and(|id| id == set));
        let status = found.map_or("", |found| {
            found.get("status").and_then(|word| word.as_str()).unwrap()
        });
        status.to_owned()
    }

    /// Upgrades while btrfs holds a Commit up, and lets it go when the old daemon has been told to end.
    fn upgrade_in_the_middle_of_commit(&mut self, set: &str) {
        let (version, before) = (*self.newer.next().unwrap(), self.process());
        let thawed = AtomicBool::new(false);
        self.good("fsfreeze --freeze /srv");
        let (client, thawed) = (&*self, &thawed);
        // What waits for a frozen file system cannot be killed, and the scope waits for its threads.
        let thaw = || drop(client.server.shell("fsfreeze --unfreeze /srv"));
        std::thread::scope(|scope| {
            let frozen = Finally(thaw);
            let commit = scope.spawn(|| {
                // Whatever it says: its daemon ends before it does.
                let answer = client.server.call(&client.judge, &["commit", set]);
                println!("the Commit that was under way: {answer:?}");
            });
            wait("Commit is under way", || {
                client.status(set) == "creation_in_progress"
            });
            let upgrade = scope.spawn(|| {
                client.good(&format!("apt-get install --yes ./{version}/fsrvpd_*.deb"));
                assert!(
                    thawed.load(Ordering::Relaxed),
                    "the upgrade did not meet the Commit"
                );
            });
            wait("the old daemon ends", || {
                let state = "systemctl show --property ActiveState --value fsrvpd";
                client.good(state).trim() == "deactivating" || client.process() != before
            });
            thawed.store(true, Ordering::Relaxed);
            drop(frozen);
            upgrade.join().unwrap();
            commit.join().unwrap();
        });
        assert_ne!(self.process(), before);
    }
}

fn wait(what: &str, there: impl FnMut() -> bool) {
    assert!(comes_true(PATIENCE, there), "not seen: {what}");
}

#[expect(clippy::panic, reason = "tests fail so")]
fn fail_now(why: &str) -> ! {
    panic!("{why}")
}

#[test]
fn a_client_carries_on_whatever_the_state_of_its_set() {
    let Some(server) = FileServer::boot("bookworm", VERSIONS).unwrap() else {
        return;
    };
    server.install().unwrap();
    let judge = Judge::ready().unwrap();
    let mut newer = VERSIONS.iter();
    // The one that the guide installs.
    newer.next();
    let mut client = Client {
        server,
        judge,
        newer,
    };
    client.good("chmod 0777 /srv/projects; echo before >/srv/projects/moment");

    client.call(&["set_context", CONTEXT]);
    client.upgrade("", "");
    let set = client.call(&["start"]);
    client.upgrade(&set, "started");
    let copy = client.call(&["add", &set, SHARE]);
    client.upgrade(&set, "added");
    client.call(&["prepare", &set]);
    client.upgrade(&set, "added");
    client.upgrade_in_the_middle_of_commit(&set);
    client.call(&["commit", &set]);
    client.good("echo after >/srv/projects/moment");
    client.upgrade(&set, "committed");
    client.call(&["expose", &set]);
    client.upgrade(&set, "exposed");
    older_is_refused(&client, &set);
    let share = format!("projects@{{{copy}}}");
    client.call(&["get_share_mapping", &set, &copy, SHARE]);
    client.good(&FileServer::smb(&share, "put /etc/hostname made"));
    client.call(&["recovery_complete", &set]);
    client.upgrade(&set, "recovered");
    let late = FileServer::smb(&share, "put /etc/hostname late");
    assert!(!client.server.shell(&late).unwrap().status.success());
    let read = client.good(&FileServer::smb(&share, "get moment -"));
    assert!(read.contains("before"), "{read}");
    client.call(&["delete_share_mapping", &set, &copy, SHARE]);
    assert_eq!(client.status(&set), "");
    let left = client.good("btrfs subvolume list /srv");
    assert!(!left.contains(&copy), "{left}");
}

/// A downgrade to a version that does not know the table's form is refused with the reason; the daemon and the set
/// go on as if nobody had tried.
fn older_is_refused(client: &Client, set: &str) {
    let before = client.process();
    let older = "apt-get install --yes --allow-downgrades ./0.0.9-1/fsrvpd_*.deb";
    let refused = client.server.shell(older).unwrap();
    assert!(!refused.status.success());
    assert!(refused.says("cannot read the table"), "{}", refused.text());
    assert_eq!(client.process(), before);
    assert_eq!(client.status(set), "exposed");
    client.good("systemctl is-active fsrvpd && dpkg --verify fsrvpd");
}
