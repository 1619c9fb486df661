//! docs/install.md, word for word, on a fresh server with systemd, and what comes after: shares in the registry,
//! removal and purge with living copies. Upgrades are in `upgrade.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value without a field is null"
)]

use fsrvp_testkit::until;
use fsrvp_tests::{FileServer, guide};
use std::time::Duration;

/// For what follows behind a call.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the guide promises.
const MOST_COMMANDS: usize = 10;

/// Package versions: the guide's, and the one that is installed again after the removal.
const VERSIONS: &[&str] = &["0.1.0-1", "0.1.0-2"];

fn block(name: &str) -> Vec<String> {
    guide::commands_of("docs/install.md", name).unwrap()
}

fn replay(server: &FileServer, name: &str) -> String {
    server.replay(&block(name)).unwrap()
}

/// The commands of the guide, with its first shadow copy.
fn first_copy(server: &FileServer) {
    let commands = block("stand-alone").len();
    assert!(commands <= MOST_COMMANDS, "{commands} commands");
    let sets = replay(server, "stand-alone");
    assert!(sets.contains("projects"), "{sets}");
    // The exposed share is there for the client who reads it.
    let list = format!(
        "smbclient -U '{}' -L localhost --grepable",
        FileServer::ACCOUNT
    );
    let shares = server.good(&list).unwrap();
    let share = shares
        .split('|')
        .find(|word| word.starts_with("projects@{"))
        .unwrap();
    server.good(&FileServer::smb(share, "ls")).unwrap();
}

#[test]
fn debian_12() {
    let Some(server) = FileServer::boot("bookworm", VERSIONS).unwrap() else {
        return;
    };
    first_copy(&server);
    let shares = replay(&server, "registry");
    assert!(shares.contains("accounts"), "{shares}");
    let score = replay(&server, "after");
    let page = guide::text("docs/install.md").unwrap();
    assert!(
        page.contains("**4.8 OK**") && score.contains("4.8 OK"),
        "{score}"
    );
    other_pages(&server);
    told_to_the_journal(&server);
    sealed_within_the_units_limits(&server);
    removed_with_living_copies(&server);
    by_hand(&server);
}

/// What other pages have the operator type.
fn other_pages(server: &FileServer) {
    let page = |page: &str, name: &str| {
        let commands = guide::commands_of(page, name).unwrap();
        server.replay(&commands).unwrap()
    };
    let log = page("docs/windows.md", "seen");
    assert!(log.contains("set exposed"), "{log}");
    page("docs/events.md", "events");
    let [health, abort] = &*guide::commands_of("docs/admin-api.md", "admin-api").unwrap() else {
        unreachable!("two requests");
    };
    let health = server.good(health).unwrap();
    assert!(health.contains("\"servers\""), "{health}");
    let set = last_set(server);
    server.good(&format!("SET={set}\n{abort}")).unwrap();
    let sets = server.good("fsrvpctl sets").unwrap();
    assert!(!sets.contains(&set), "{sets}");
    server
        .good(
            "mkdir -p /srv/vms/vm2 && touch /srv/vms/vm1 /srv/vms/vm2/disk.vhdx
             printf '[vms]\npath = /srv/vms\n' >>/etc/samba/smb.conf
             printf '\n[[server.share]]\nname = \"vms\"\nbackend = \"clone\"\n' >>/etc/fsrvpd.toml
             smbcontrol smbd reload-config
             systemctl restart fsrvpd",
        )
        .unwrap();
    let list = page("docs/backends.md", "file-list");
    assert!(list.contains("vm2/disk.vhdx"), "{list}");
}

/// The events that Windows and ONTAP have, as a real journald gives them: ids that never change, and their fields.
fn told_to_the_journal(server: &FileServer) {
    let good = |command: &str| server.good(command).unwrap();
    good(
        "cp /etc/fsrvpd.toml fsrvpd.toml.before
         mkdir -p /srv/slow && touch /srv/slow/file
         printf '[slow]\npath = /srv/slow\n' >>/etc/samba/smb.conf
         smbcontrol smbd reload-config
         cat >/usr/local/bin/slow <<'END'
#!/bin/sh
[ \"$1\" != commit ] || sleep 11
exec /usr/share/doc/fsrvpd/examples/backends/reflink-tree \"$@\"
END
         chmod 755 /usr/local/bin/slow
         sed -i '0,/^\\[\\[server\\]\\]/s//&\\nshort_timer = \"5s\"\\nlong_timer = \"5s\"/' /etc/fsrvpd.toml
         cat >>/etc/fsrvpd.toml <<'END'
[[server.exec]]
name = \"slow\"
command = [\"/usr/local/bin/slow\"]
limits = { commit = \"30s\" }
[[server.share]]
name = \"slow\"
backend = \"slow\"
END
         fsrvpd --config /etc/fsrvpd.toml --check-config
         systemctl restart fsrvpd",
    );
    // Nobody completes it.
    good(&FileServer::rpc("fss_create_expose backup rw projects"));
    let silent = last_set(server);
    let committed = entry(server, "fsrvp.set.committed", &silent);
    told(&committed, &[("FSRVP_EVENT_ID", "4089"), ("PRIORITY", "6")]);
    assert!(
        committed["FSRVP_MILLISECONDS"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    let aborted = entry(server, "cifs.shadowcopy.abort", &silent);
    told(
        &aborted,
        &[
            ("FSRVP_REASON", "timed_out"),
            ("FSRVP_IDLE_MINUTES", "0"),
            ("PRIORITY", "4"),
        ],
    );
    assert!(
        aborted["FSRVP_IDLE_SECONDS"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 5
    );
    // The cut takes more than ten seconds, and is undone.
    let slow = FileServer::rpc("fss_create_expose backup ro slow");
    let refused = server.shell(&slow).unwrap();
    assert!(!refused.text().contains("exposed as"), "{}", refused.text());
    let failed = entry(server, "cifs.shadowcopy.failure", "");
    told(
        &failed,
        &[
            ("FSRVP_OPERATION", "commit"),
            ("FSRVP_SHARE", "slow"),
            ("FSRVP_STATUS", "0x80042314 VSS_E_HOLD_WRITES_TIMEOUT"),
            ("PRIORITY", "4"),
        ],
    );
    for field in [
        "FSRVP_SET",
        "FSRVP_CLIENT_SET",
        "FSRVP_COPY",
        "FSRVP_CLIENT_COPY",
    ] {
        assert_eq!(
            failed[field].as_str().unwrap().len(),
            36,
            "{field}: {failed}"
        );
    }
    assert!(!failed["FSRVP_REASON"].as_str().unwrap().is_empty());
    let set = failed["FSRVP_SET"].as_str().unwrap();
    let late = entry(server, "fsrvp.commit.slow", set);
    told(&late, &[("FSRVP_EVENT_ID", "4364"), ("PRIORITY", "4")]);
    // What the operator's own tool has of it.
    let shown = good(&format!("fsrvpctl events --set {set}"));
    assert!(
        shown.contains("4364") && shown.contains("commit"),
        "{shown}"
    );
    good(
        "mv fsrvpd.toml.before /etc/fsrvpd.toml
         sed -i '/^\\[slow\\]/,$d' /etc/samba/smb.conf
         smbcontrol smbd reload-config
         systemctl restart fsrvpd",
    );
}

/// The newest entry of an event, of a set if one is given, once it is there.
fn entry(server: &FileServer, event: &str, set: &str) -> serde_json::Value {
    let of = if set.is_empty() {
        String::new()
    } else {
        format!("FSRVP_SET={set}")
    };
    let look = || {
        let listed = server.shell(&format!(
            "journalctl --no-pager -n 1 -o json FSRVP_EVENT={event} {of}"
        ))?;
        Ok::<_, fsrvp_testkit::Error>(serde_json::from_str(listed.stdout.trim()).ok())
    };
    let found: Option<serde_json::Value> = until(PATIENCE, look).unwrap();
    let found = found.unwrap_or_else(|| unreachable!("{event} is not in the journal"));
    // The id of the handbook.
    let page = guide::text("docs/events.md").unwrap();
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| `{event}` |")))
        .unwrap();
    let id = row.rsplit('`').nth(1).unwrap().to_owned();
    told(
        &found,
        &[
            ("MESSAGE_ID", &id),
            ("FSRVP_EVENT", event),
            ("SYSLOG_IDENTIFIER", "fsrvpd"),
            ("_SYSTEMD_UNIT", "fsrvpd.service"),
        ],
    );
    found
}

fn told(entry: &serde_json::Value, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        assert_eq!(entry[*name], *value, "{name}: {entry}");
    }
}

/// Without the package, on the server that had it: from a directory with what a clone has after its build.
fn by_hand(server: &FileServer) {
    server
        .good(
            "dpkg-deb --raw-extract ./fsrvpd_*.deb by-hand
             cd by-hand
             mkdir -p target/release packaging/systemd
             mv usr/sbin/fsrvpd usr/sbin/fsrvpctl target/release/
             mv etc/fsrvpd.toml packaging/
             mv usr/lib/systemd/system/fsrvpd.service packaging/systemd/",
        )
        .unwrap();
    for command in block("by-hand") {
        server.good(&format!("cd by-hand\n{command}")).unwrap();
    }
    let made = FileServer::rpc("fss_create_expose backup ro projects");
    server.good(&made).unwrap();
    let sets = server.good("fsrvpctl sets").unwrap();
    assert!(sets.contains("projects"), "{sets}");
}

/// The Samba there is 4.22, the systemd 257.
#[test]
fn debian_13() {
    let Some(server) = FileServer::boot("trixie", VERSIONS).unwrap() else {
        return;
    };
    let version = server.good("smbd --version").unwrap();
    assert!(version.contains("4.22"), "{version}");
    first_copy(&server);
    let shares = replay(&server, "registry");
    assert!(shares.contains("accounts"), "{shares}");
    replay(&server, "after");
    sealed_within_the_units_limits(&server);
    removed_with_living_copies(&server);
}

/// A writable copy is sealed where the unit's limits are in force, by the view of smbd; so is the one of the
/// guide, which is still exposed or dropped by now.
fn sealed_within_the_units_limits(server: &FileServer) {
    let made = FileServer::rpc("fss_create_expose backup rw projects");
    let made = server.good(&made).unwrap();
    let share = made
        .split_whitespace()
        .find(|word| word.contains("@{"))
        .unwrap();
    server.good("chmod 0777 /srv/projects").unwrap();
    let complete = format!("fss_recovery_complete {}", last_set(server));
    server.good(&FileServer::rpc(&complete)).unwrap();
    let write = FileServer::smb(share, "put /etc/hostname name");
    assert!(!server.shell(&write).unwrap().status.success());
    let state = server.good("fsrvpctl status").unwrap();
    assert!(!state.contains("debt"), "{state}");
}

/// The id of the set that was begun last.
fn last_set(server: &FileServer) -> String {
    let sets = server.good("fsrvpctl sets").unwrap();
    let last = sets.lines().last().unwrap_or_default();
    last.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Snapshots below /srv, by their directories.
fn snapshots(server: &FileServer) -> usize {
    let list = server.good("btrfs subvolume list /srv").unwrap();
    list.lines()
        .filter(|line| line.contains(".fsrvpd/"))
        .count()
}

fn removed_with_living_copies(server: &FileServer) {
    let good = |command: &str| server.good(command).unwrap();
    let before = snapshots(server);
    assert_eq!(before, 1, "the recovered set");
    let removed = good("apt-get remove --yes fsrvpd");
    assert!(removed.contains("left-behind.txt"), "{removed}");
    good("test -e /usr/libexec/samba/rpcd_fsrvp || test -e /usr/lib/*/samba/rpcd_fsrvp");
    let note = good("cat /var/lib/fsrvpd/left-behind.txt");
    assert!(note.contains("projects"), "{note}");
    // Nobody answers: kept.
    good("dpkg --purge fsrvpd");
    assert_eq!(snapshots(server), before);
    // Installed again, fsrvpd has them all.
    good("apt-get install --yes ./0.1.0-2/fsrvpd_*.deb");
    let sets = good("fsrvpctl sets");
    assert_eq!(sets.matches("projects").count(), 1, "{sets}");
    // Somebody is asked at a terminal, and says no.
    asked(server, "no");
    assert_eq!(snapshots(server), before);
    good("apt-get install --yes ./0.1.0-2/fsrvpd_*.deb");
    asked(server, "yes");
    assert_eq!(snapshots(server), 0);
    good("test ! -e /var/lib/fsrvpd");
    let shares = good("net conf listshares");
    assert!(!shares.contains("@{"), "{shares}");
}

/// Removes and purges at a terminal; the question has to come, and is answered.
fn asked(server: &FileServer, answer: &str) {
    let script = format!(
        "apt-get remove --yes fsrvpd
         export DEBIAN_FRONTEND=teletype DEBIAN_PRIORITY=low
         printf '{answer}\\n' | script --quiet --return --command 'dpkg --purge fsrvpd' /dev/null"
    );
    let said = server.good(&script).unwrap();
    assert!(
        said.contains("Delete the shadow copies that still exist?"),
        "{said}"
    );
}
