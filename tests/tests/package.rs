//! The Debian package in a root with Samba: what its maintainer scripts do and undo.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use fsrvp_testkit::programs;
use fsrvp_tests::{Root, debian_to_install, package};

const AGENT: &str = "/usr/libexec/samba/rpcd_fsrvp";
const ASIDE: &str = "/usr/lib/fsrvpd/samba-rpcd_fsrvp";

/// A root with packages of these versions in `/inbox`, as `VERSION.deb`.
fn root(versions: &[&str]) -> Option<Root> {
    if !Root::is_possible() {
        return None;
    }
    let root = Root::new(&debian_to_install("bookworm").unwrap()).unwrap();
    let fsrvpd = programs::program("fsrvpd").unwrap();
    for version in versions {
        let built = package(fsrvpd.parent().unwrap(), &root.inbox(), version).unwrap();
        std::fs::rename(built, root.inbox().join(format!("{version}.deb"))).unwrap();
    }
    Some(root)
}

/// Runs a script that has to succeed, and returns what it printed.
fn good(root: &Root, script: &str) -> String {
    let output = root.shell(script).unwrap();
    assert!(output.status.success(), "{script}\n{}", output.text());
    output.text()
}

/// Runs a script that has to fail, and returns what it printed.
fn bad(root: &Root, script: &str) -> String {
    let output = root.shell(script).unwrap();
    assert!(!output.status.success(), "{script}\n{}", output.text());
    output.text()
}

fn has(root: &Root, path: &str) -> bool {
    let output = root.shell(&format!("test -e {path} || test -L {path}"));
    output.unwrap().status.success()
}

/// Every file that is in neither state differs: what dpkg and its helpers note for themselves aside.
fn files(root: &Root) -> String {
    good(
        root,
        "find / -xdev \\( -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /root \\
         -o -path /inbox -o -path /tmp \\) -prune -o -type f -printf '%p %s %m\\n' -o -type l -printf '%p %l\\n' | sort",
    )
}

#[test]
fn installed_installed_again_removed_and_purged() {
    let Some(root) = root(&["0.1.0-1"]) else {
        return;
    };
    let samba = good(&root, &format!("md5sum <{AGENT}"));
    let before = files(&root);
    good(&root, "dpkg -i 0.1.0-1.deb");
    for _ in 0..2 {
        assert!(!has(&root, AGENT));
        assert_eq!(good(&root, &format!("md5sum <{ASIDE}")), samba);
        // Nothing that samba-dcerpcd would start has our agent's place.
        let listed = good(&root, "ls /usr/libexec/samba");
        assert!(!listed.contains("fsrvp"), "{listed}");
        for path in [
            "/usr/sbin/fsrvpd",
            "/etc/fsrvpd.toml",
            "/usr/lib/systemd/system/fsrvpd.service",
            "/etc/systemd/system/multi-user.target.wants/fsrvpd.service",
            "/usr/share/man/man1/fsrvpctl.1.gz",
            "/usr/share/man/man1/fsrvpctl-delete.1.gz",
            "/usr/share/bash-completion/completions/fsrvpctl",
            "/usr/share/doc/fsrvpd/copyright",
            "/usr/share/doc/fsrvpd/changelog.gz",
            "/usr/share/doc/fsrvpd/configuration.md",
            "/usr/share/doc/fsrvpd/examples/backends/lvm-thin",
        ] {
            assert!(has(&root, path), "{path}");
        }
        good(&root, "fsrvpd --config /etc/fsrvpd.toml --check-config");
        // A second installation of the same changes nothing, an edited configuration is kept.
        good(
            &root,
            "echo '# edited' >>/etc/fsrvpd.toml; dpkg -i 0.1.0-1.deb",
        );
    }
    let changed = good(&root, "dpkg --verify fsrvpd || true");
    assert!(
        changed
            .lines()
            .all(|line| line.ends_with("/etc/fsrvpd.toml")),
        "{changed}"
    );
    good(&root, "dpkg --remove fsrvpd");
    assert_eq!(good(&root, &format!("md5sum <{AGENT}")), samba);
    assert!(!has(&root, ASIDE));
    assert_eq!(good(&root, "tail -n 1 /etc/fsrvpd.toml"), "# edited\n");
    good(&root, "dpkg --purge fsrvpd");
    assert_eq!(files(&root), before);
    assert_eq!(good(&root, "dpkg-divert --list '*fsrvp*'"), "");
}

#[test]
fn a_diversion_made_by_hand_is_taken_over() {
    let Some(root) = root(&["0.1.0-1"]) else {
        return;
    };
    good(
        &root,
        &format!("mkdir -p /usr/lib/fsrvpd; dpkg-divert --divert {ASIDE} --rename {AGENT}"),
    );
    good(&root, "dpkg -i 0.1.0-1.deb");
    assert_eq!(
        good(&root, &format!("dpkg-divert --listpackage {AGENT}")),
        "fsrvpd\n"
    );
    good(&root, "dpkg --remove fsrvpd");
    assert!(has(&root, AGENT));
}

#[test]
fn an_agent_that_an_upgrade_of_samba_brings_back_is_diverted_again() {
    let Some(root) = root(&["0.1.0-1"]) else {
        return;
    };
    good(&root, "dpkg -i 0.1.0-1.deb");
    // As if another version of the package had had it elsewhere.
    good(
        &root,
        &format!(
            "dpkg-divert --package fsrvpd --rename --remove {AGENT}
             dpkg-divert --package fsrvpd --divert {ASIDE} --no-rename --add /usr/lib/old/rpcd_fsrvp
             dpkg-trigger --no-await /usr/libexec/samba
             dpkg --triggers-only --pending"
        ),
    );
    assert!(!has(&root, AGENT) && has(&root, ASIDE));
    let diversions = good(&root, "dpkg-divert --list '*rpcd_fsrvp'");
    assert_eq!(
        diversions,
        format!("diversion of {AGENT} to {ASIDE} by fsrvpd\n")
    );
}

#[test]
fn purging_keeps_what_may_be_alive_when_nobody_answers() {
    let Some(root) = root(&["0.1.0-1"]) else {
        return;
    };
    good(&root, "dpkg -i 0.1.0-1.deb");
    good(
        &root,
        "mkdir -p /var/lib/fsrvpd; echo table >/var/lib/fsrvpd/table.redb",
    );
    let removed = good(&root, "dpkg --remove fsrvpd");
    assert!(removed.contains("left-behind.txt"), "{removed}");
    let purged = good(&root, "dpkg --purge fsrvpd");
    assert!(purged.contains("kept"), "{purged}");
    let note = good(&root, "cat /var/lib/fsrvpd/left-behind.txt");
    assert!(note.contains("there may be copies"), "{note}");
    assert!(has(&root, "/var/lib/fsrvpd/table.redb"));
    // Installed again, the note has done its work.
    good(&root, "dpkg -i 0.1.0-1.deb");
    assert!(has(&root, "/var/lib/fsrvpd/table.redb"));
    assert!(!has(&root, "/var/lib/fsrvpd/left-behind.txt"));
    // Without a table there is nothing to keep.
    good(&root, "rm /var/lib/fsrvpd/table.redb; dpkg --purge fsrvpd");
    assert!(!has(&root, "/var/lib/fsrvpd"));
}

#[test]
fn an_older_version_is_refused_where_it_could_not_read_the_table() {
    let Some(root) = root(&["0.1.0-1", "0.1.0-2", "0.0.9-1"]) else {
        return;
    };
    good(&root, "dpkg -i 0.1.0-2.deb");
    good(
        &root,
        "mkdir -p /var/lib/fsrvpd; echo table >/var/lib/fsrvpd/table.redb",
    );
    // The same form of the table: no objection.
    good(&root, "dpkg -i 0.1.0-1.deb");
    let refused = bad(&root, "dpkg -i 0.0.9-1.deb");
    assert!(refused.contains("cannot read the table"), "{refused}");
    let version = good(&root, "dpkg-query --show --showformat='${Version}' fsrvpd");
    assert_eq!(version, "0.1.0-1");
    assert!(!has(&root, AGENT));
    good(&root, "rm /var/lib/fsrvpd/table.redb; dpkg -i 0.0.9-1.deb");
}

#[test]
fn a_table_elsewhere_counts_like_one_at_its_usual_place() {
    let Some(root) = root(&["0.1.0-1", "0.0.9-1"]) else {
        return;
    };
    good(&root, "dpkg -i 0.1.0-1.deb");
    good(
        &root,
        "mkdir -p /srv/table; echo table >/srv/table/table.redb
         printf 'state_dir = \"/srv/table\"\\n' >>/etc/fsrvpd.toml
         fsrvpd --config /etc/fsrvpd.toml --check-config",
    );
    let refused = bad(&root, "dpkg -i 0.0.9-1.deb");
    assert!(refused.contains("the table in /srv/table"), "{refused}");
    let removed = good(&root, "dpkg --remove fsrvpd");
    assert!(removed.contains("left-behind.txt"), "{removed}");
    let purged = good(&root, "dpkg --purge fsrvpd");
    assert!(purged.contains("kept"), "{purged}");
    assert!(has(&root, "/srv/table/table.redb"));
}

#[test]
fn nothing_of_the_machine_that_built_it_is_in_the_package() {
    let Some(root) = root(&["0.1.0-1"]) else {
        return;
    };
    let listed = good(&root, "dpkg-deb --contents 0.1.0-1.deb");
    for line in listed.lines() {
        let mut fields = line.split_whitespace();
        let mode = fields.next().unwrap_or_default();
        assert_eq!(fields.next(), Some("root/root"), "{line}");
        assert!(
            ["drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"].contains(&mode),
            "{line}"
        );
    }
    let workspace = programs::workspace();
    let words = good(
        &root,
        "dpkg-deb --raw-extract 0.1.0-1.deb tree; cat tree/DEBIAN/* tree/usr/share/doc/fsrvpd/*.md",
    );
    assert!(!words.contains(&*workspace.to_string_lossy()));
    assert!(!words.contains("@VERSION@") && !words.contains("@TABLE_SINCE@"));
}
