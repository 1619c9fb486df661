//! docs/install.md, word for word, on a fresh server with systemd, and what comes after: upgrades in the
//! middle of a set, removal and purge with living copies.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use fsrvp_testkit::programs;
use fsrvp_tests::{Booted, Root, debian_to_install, guide, package};

/// What the guide promises.
const MOST_COMMANDS: usize = 10;

fn text() -> String {
    std::fs::read_to_string(programs::workspace().join("docs/install.md")).unwrap()
}

/// A server of this release with systemd, the package in `/inbox` and a newer one in `/inbox/next`.
fn server(release: &str) -> Option<Booted> {
    if !Root::is_possible() {
        return None;
    }
    let root = Root::new(&debian_to_install(release).unwrap()).unwrap();
    let fsrvpd = programs::program("fsrvpd").unwrap();
    let programs = fsrvpd.parent().unwrap();
    package(programs, &root.inbox(), "0.1.0-1").unwrap();
    package(programs, &root.inbox().join("next"), "0.1.0-2").unwrap();
    Some(root.boot().unwrap())
}

/// Runs a command that has to succeed, and returns what it printed.
fn good(server: &Booted, command: &str) -> String {
    let output = server.shell(command).unwrap();
    if !output.status.success() {
        let log = server.shell("journalctl --no-pager -n 60 -u fsrvpd -u smbd");
        let log = log.map(|log| log.text()).unwrap_or_default();
        panic!("{command}\n{}\n{log}", output.text());
    }
    output.text()
}

/// Replays a block; every command has to succeed. Returns what the last printed.
fn replay(server: &Booted, name: &str) -> String {
    let mut said = String::new();
    for command in guide::block(&text(), name).unwrap() {
        said = good(server, &command);
        println!("$ {command}{said}");
    }
    said
}

/// The commands of the guide on a release, with its first shadow copy.
fn first_copy(server: &Booted) {
    let commands = guide::block(&text(), "stand-alone").unwrap().len();
    assert!(commands <= MOST_COMMANDS, "{commands} commands");
    let sets = replay(server, "stand-alone");
    assert!(sets.contains("projects"), "{sets}");
    // The exposed share is there for the client who reads it.
    let shares = good(
        server,
        "smbclient -U 'fsbackup%a long secret' -L localhost --grepable",
    );
    assert!(shares.contains("projects@{"), "{shares}");
}

fn rpc(call: &str) -> String {
    format!("rpcclient -U 'fsbackup%a long secret' 'ncacn_np:localhost[sign]' -c '{call}'")
}

#[test]
fn debian_12() {
    let Some(server) = server("bookworm") else {
        return;
    };
    first_copy(&server);
    upgraded_in_the_middle_of_a_set(&server);
    let shares = replay(&server, "registry");
    assert!(shares.contains("accounts"), "{shares}");
    let score = replay(&server, "after");
    assert!(
        text().contains("**4.8 OK**") && score.contains("4.8 OK"),
        "{score}"
    );
    // A writable copy is sealed where the unit's limits are in force, by the view of smbd.
    let made = good(&server, &rpc("fss_create_expose backup rw projects"));
    let share = made
        .split_whitespace()
        .find(|word| word.contains("@{"))
        .unwrap();
    let write = format!(
        "smbclient -U 'fsbackup%a long secret' '//localhost/{share}' -c 'put /etc/hostname name'"
    );
    good(&server, "chmod 0777 /srv/projects");
    let set = last_set(&server);
    good(&server, &rpc(&format!("fss_recovery_complete {set}")));
    assert!(!server.shell(&write).unwrap().status.success());
    let state = good(&server, "fsrvpctl status");
    assert!(!state.contains("debt"), "{state}");
    removed_with_living_copies(&server);
}

/// The set of the guide is exposed and not recovered. What it is in other states is tried by the suite
/// of restarts, which is all that an upgrade is for the daemon.
fn upgraded_in_the_middle_of_a_set(server: &Booted) {
    let set = last_set(server);
    let process = || good(server, "systemctl show --property MainPID --value fsrvpd");
    let before = process();
    good(server, "apt-get install --yes ./next/fsrvpd_*.deb");
    assert_ne!(process(), before, "the daemon was not restarted");
    good(server, &rpc(&format!("fss_recovery_complete {set}")));
    let sets = good(server, "fsrvpctl sets");
    assert!(sets.contains(&set) && sets.contains("recovered"), "{sets}");
}

/// The id of the set that was begun last.
fn last_set(server: &Booted) -> String {
    let sets = good(server, "fsrvpctl sets");
    let last = sets.lines().last().unwrap_or_default();
    last.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Snapshots below /srv, by their directories.
fn snapshots(server: &Booted) -> usize {
    let list = good(server, "btrfs subvolume list /srv");
    list.lines()
        .filter(|line| line.contains(".fsrvpd/"))
        .count()
}

fn removed_with_living_copies(server: &Booted) {
    let before = snapshots(server);
    assert_eq!(before, 2, "the two recovered sets");
    let removed = good(server, "apt-get remove --yes fsrvpd");
    assert!(removed.contains("left-behind.txt"), "{removed}");
    good(server, "test -e /usr/libexec/samba/rpcd_fsrvp");
    let note = good(server, "cat /var/lib/fsrvpd/left-behind.txt");
    assert!(note.contains("projects"), "{note}");
    // Nobody answers: kept.
    good(server, "dpkg --purge fsrvpd");
    assert_eq!(snapshots(server), before);
    // Installed again, fsrvpd has them all.
    good(server, "apt-get install --yes ./next/fsrvpd_*.deb");
    let sets = good(server, "fsrvpctl sets");
    assert_eq!(sets.matches("projects").count(), 2, "{sets}");
    // Somebody has answered yes.
    good(
        server,
        "echo 'fsrvpd fsrvpd/delete-copies boolean true' | debconf-set-selections
         dpkg --remove fsrvpd
         dpkg --purge fsrvpd",
    );
    assert_eq!(snapshots(server), 0);
    good(server, "test ! -e /var/lib/fsrvpd");
    let shares = good(server, "net conf listshares");
    assert!(!shares.contains("@{"), "{shares}");
}
