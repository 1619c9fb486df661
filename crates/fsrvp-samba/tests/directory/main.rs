//! One battery for all share directories; Samba's with both of its means.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod clients;
mod helper;
#[path = "../lab/mod.rs"]
mod lab;

use fsrvp_idl::{FileTime, ShadowCopyId, ShareName};
use fsrvp_proto::ShareDirectory;
use fsrvp_proto::directory::{ExposedShare, Publication};
use fsrvp_proto::job::{BackendName, CopyRef, Exposure, Failure, FailureKind, VolumeId};
use fsrvp_samba::directory::{
    HelperConfig, Operation, SambaConfig, SambaDirectory, StaticDirectory,
};
use lab::Lab;
use std::path::{Path, PathBuf};

fn publication(base: &str, name: &str, path: &Path, writable: bool) -> Publication {
    Publication {
        exposure: Exposure {
            copy: CopyRef {
                copy: ShadowCopyId(uuid::Uuid::from_u128(7)),
                backend: BackendName("memory".to_owned()),
                volume: VolumeId("v".to_owned()),
            },
            base: ShareName::new(base),
            name: name.to_owned(),
            inner: PathBuf::new(),
            writable,
            created: FileTime(0),
        },
        path: path.to_owned(),
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T, Failure>) -> FailureKind {
    result.unwrap_err().kind
}

fn exposed(directory: &dyn ShareDirectory) -> Vec<ExposedShare> {
    let mut shares = directory.exposed().unwrap();
    shares.sort_by(|a, b| a.name.cmp(&b.name));
    shares
}

/// What every directory does. It has the shares `docs` and `Büro €$`, at `docs`.
fn battery(directory: &dyn ShareDirectory, docs: &Path, copies: &Path) {
    let found = directory.lookup(&ShareName::new("DOCS")).unwrap();
    assert_eq!(found.name.as_str(), "docs");
    assert_eq!(found.path, docs);
    assert_eq!(
        directory.lookup(&ShareName::new("büro €$")).unwrap().path,
        docs
    );
    for name in ["nosuch", "homes", "printers", "global", "IPC$", ""] {
        let result = directory.lookup(&ShareName::new(name));
        assert_eq!(kind(result), FailureKind::NotFound, "{name}");
    }

    let (one, two) = ("docs@{A b-1}", "Büro €$@{A b-1}$");
    let both = [
        publication("docs", one, copies, true),
        publication("büro €$", two, copies, false),
    ];
    for _ in 0..2 {
        directory.publish(&both).unwrap();
        let shares = exposed(directory);
        let expected = [(two, true), (one, false)];
        let shares: Vec<_> = shares
            .iter()
            .map(|share| {
                assert_eq!(share.path, copies);
                (share.name.as_str(), share.read_only)
            })
            .collect();
        assert_eq!(shares, expected);
    }

    // All or none: the second base share does not exist.
    let half = [
        publication("docs", "docs@{half}", copies, true),
        publication("nosuch", "nosuch@{half}", copies, true),
    ];
    assert_eq!(kind(directory.publish(&half)), FailureKind::NotFound);
    assert_eq!(exposed(directory).len(), 2);

    // What is not ours is neither replaced nor removed.
    let over = [publication("docs", "docs", copies, true)];
    assert_eq!(kind(directory.publish(&over)), FailureKind::Other);
    assert_eq!(
        directory.lookup(&ShareName::new("docs")).unwrap().path,
        docs
    );

    for _ in 0..2 {
        directory.make_read_only(&[one.to_owned()]).unwrap();
        assert!(exposed(directory).iter().all(|share| share.read_only));
    }
    let names = [one.to_owned(), "docs@{absent}".to_owned()];
    assert_eq!(
        kind(directory.make_read_only(&names)),
        FailureKind::NotFound
    );

    for _ in 0..2 {
        directory.withdraw(one).unwrap();
        assert_eq!(exposed(directory).len(), 1);
    }
    directory.withdraw(two).unwrap();
    assert_eq!(exposed(directory), []);
}

#[test]
fn the_static_directory_passes() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("shares.json");
    let text = r#"{"names": ["LAB"], "shares": [
        {"name": "docs", "path": "/srv/docs"}, {"name": "Büro €$", "path": "/srv/docs"}]}"#;
    std::fs::write(&file, text).unwrap();
    let directory = StaticDirectory::load(&file).unwrap();
    assert_eq!(directory.server_names().unwrap(), ["LAB"]);
    battery(&directory, Path::new("/srv/docs"), Path::new("/srv/copy"));

    let share = [publication("docs", "docs@{1}", Path::new("/c"), true)];
    directory.publish(&share).unwrap();
    let again = StaticDirectory::load(&file).unwrap();
    assert_eq!(exposed(&again), exposed(&directory));
}

#[test]
fn faults_can_be_injected() {
    let directory = StaticDirectory::new("LAB");
    directory.add_share("docs", "/srv/docs");
    let failure = Failure::new(FailureKind::NoSpace, "full");
    directory.set_fault(Operation::Publish, Some(failure.clone()));
    let share = [publication("docs", "docs@{1}", Path::new("/c"), true)];
    assert_eq!(directory.publish(&share), Err(failure));
    assert_eq!(exposed(&directory), []);
    directory.set_fault(Operation::Publish, None);
    directory.publish(&share).unwrap();
    directory.make_read_only(&["docs@{1}".to_owned()]).unwrap();
    assert_eq!(directory.cut_connections(), ["docs@{1}"]);
}

const SHARES: &str = "include = {base}/more.conf\n\
    [docs]\n path = {base}/data/docs\n read only = no\n vfs objects = shadow_copy2 acl_xattr\n \
    shadow:snapdir = {base}/data\n btrfs: manipulate snapshots = yes\n comment = Documents\n \
    veto files = /secret/\n write list = root\n\
    [template]\n path = {base}/data/docs\n hosts allow = 127.\n available = no\n\
    [copied]\n copy = template\n available = yes\n\
    [peruser]\n path = /home/%U\n\
    [printer]\n path = /tmp\n printable = yes\n\
    [homes]\n browseable = no\n";

const MORE: &str = "[Büro €$]\n path = {base}/data/docs\n writeable = yes\n browseable = no\n";

fn samba_lab() -> Lab {
    let lab = Lab::prepare("", SHARES);
    let base = lab.path().display().to_string();
    std::fs::write(lab.path().join("more.conf"), MORE.replace("{base}", &base)).unwrap();
    std::fs::create_dir(lab.data().join("docs")).unwrap();
    std::fs::create_dir(lab.data().join("copy")).unwrap();
    std::fs::write(lab.data().join("copy/old.txt"), "old").unwrap();
    lab.start()
}

fn config(lab: &Lab, helper: bool) -> SambaConfig {
    SambaConfig {
        helper: helper.then(HelperConfig::default),
        ..SambaConfig::new(lab.smb_conf(), "test-agent")
    }
}

/// Both means, each on a lab of its own.
fn with_both(test: impl Fn(&Lab, &SambaDirectory)) {
    if !lab::can_run() {
        return;
    }
    for helper in [true, false] {
        let lab = samba_lab();
        let directory = SambaDirectory::open(config(&lab, helper)).unwrap();
        assert_eq!(directory.helper_process().is_some(), helper);
        println!("helper: {helper}");
        test(&lab, &directory);
    }
}

#[test]
fn samba_passes_with_both_means() {
    with_both(|lab, directory| {
        battery(
            directory,
            &lab.data().join("docs"),
            &lab.data().join("copy"),
        );
        let smbd = directory.serving_process().unwrap();
        let name = std::fs::read_to_string(format!("/proc/{smbd}/comm")).unwrap();
        assert_eq!(name.trim(), "smbd");
        assert_eq!(
            directory.server_names().unwrap(),
            ["FSLAB", "FSALIAS", "FSOTHER", "files.example.test"]
        );
        let facts = directory.facts().unwrap();
        assert_eq!(facts.np_directory, lab.np_directory());
    });
}

#[test]
fn definitions_are_found_wherever_they_stand() {
    with_both(|lab, directory| {
        let copied = directory.lookup(&ShareName::new("copied")).unwrap();
        assert_eq!(copied.path, lab.data().join("docs"));
        for (name, expected) in [
            ("template", FailureKind::NotFound),
            ("peruser", FailureKind::Unsupported),
            ("printer", FailureKind::Unsupported),
        ] {
            let failure = directory.lookup(&ShareName::new(name)).unwrap_err();
            assert_eq!(failure.kind, expected, "{failure}");
        }

        // In the registry, under its name in any case; and seen as soon as it is there.
        let name = ShareName::new("REGISTERED");
        assert_eq!(kind(directory.lookup(&name)), FailureKind::NotFound);
        let path = lab.data().join("docs").display().to_string();
        lab.tool("net", &["conf", "addshare", "Registered", &path]);
        let found = directory.lookup(&name).unwrap();
        assert_eq!(
            (found.name.as_str(), found.path),
            ("Registered", path.into())
        );
        lab.tool("net", &["conf", "delshare", "Registered"]);
        assert_eq!(kind(directory.lookup(&name)), FailureKind::NotFound);

        // A change of an include file is seen at once.
        let more = lab.path().join("more.conf");
        let text = std::fs::read_to_string(&more).unwrap();
        std::fs::write(&more, format!("{text}\n[later]\n path = /srv\n")).unwrap();
        let later = directory.lookup(&ShareName::new("later")).unwrap();
        assert_eq!(later.path, Path::new("/srv"));
        std::fs::write(&more, text).unwrap();
        let gone = directory.lookup(&ShareName::new("later"));
        assert_eq!(kind(gone), FailureKind::NotFound);
    });
}

#[test]
fn a_clone_has_the_definition_without_what_would_break_it() {
    with_both(|lab, directory| {
        let copy = lab.data().join("copy");
        let clone = |name: &str, writable| {
            directory
                .publish(&[publication("docs", name, &copy, writable)])
                .unwrap();
            let section = format!("--section-name={name}");
            let output = std::process::Command::new("testparm")
                .args(["-s", &section])
                .arg(lab.smb_conf())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines()
                .map(|line| line.trim().to_owned())
                .collect::<Vec<_>>()
        };
        let lines = clone("docs@{1}", true);
        let has = |lines: &[String], line: &str| lines.iter().any(|found| found == line);
        assert!(
            has(&lines, &format!("path = {}", copy.display())),
            "{lines:?}"
        );
        assert!(has(&lines, "read only = No"), "{lines:?}");
        assert!(has(&lines, "veto files = /secret/"), "{lines:?}");
        assert!(has(&lines, "vfs objects = acl_xattr"), "{lines:?}");
        assert!(has(&lines, "write list = root"), "{lines:?}");
        for dropped in ["shadow", "manipulate", "Documents"] {
            let found = lines
                .iter()
                .find(|line| line.contains(dropped) && !line.starts_with("fsrvpd:"));
            assert!(
                found.is_none_or(|line| line.starts_with("comment = Shadow")),
                "{found:?}"
            );
        }
        // Read-only means that nobody may write, not even those of `write list`.
        let lines = clone("docs@{2}", false);
        assert!(!has(&lines, "read only = No"), "{lines:?}");
        assert!(!has(&lines, "write list = root"), "{lines:?}");

        let bad = publication("docs", "docs@{3}", Path::new("/srv/100%U"), true);
        assert_eq!(kind(directory.publish(&[bad])), FailureKind::Unsupported);
    });
}

const DESCRIPTOR: &str = "O:BAG:BAD:(A;;0x001f01ff;;;WD)(A;;0x00120089;;;BO)";
const EVERYBODY: &str = "D:(A;;0x001f01ff;;;WD)";

#[test]
fn the_share_security_descriptor_is_copied_and_removed() {
    with_both(|lab, directory| {
        let copy = lab.data().join("copy");
        let name = "docs@{F00}";
        let publish = || {
            directory
                .publish(&[publication("docs", name, &copy, true)])
                .unwrap();
            lab.tool("sharesec", &[name, "--viewsddl"])
                .trim()
                .to_owned()
        };
        assert_eq!(publish(), EVERYBODY);
        lab.tool("sharesec", &["docs", &format!("--setsddl={DESCRIPTOR}")]);
        assert_eq!(publish(), DESCRIPTOR);
        lab.tool("sharesec", &["docs", "-D"]);
        assert_eq!(publish(), EVERYBODY);
        lab.tool("sharesec", &["docs", &format!("--setsddl={DESCRIPTOR}")]);
        assert_eq!(publish(), DESCRIPTOR);
        directory.make_read_only(&[name.to_owned()]).unwrap();
        let kept = lab.tool("sharesec", &[name, "--viewsddl"]);
        assert_eq!(kept.trim(), DESCRIPTOR);
        directory.withdraw(name).unwrap();
        let path = copy.display().to_string();
        // A share of the same name that comes later has no descriptor of ours.
        lab.tool("net", &["conf", "addshare", name, &path]);
        let later = lab.tool("sharesec", &[name, "--viewsddl"]);
        assert_eq!(later.trim(), EVERYBODY);
        // And it is not ours.
        let over = [publication("docs", name, &copy, true)];
        for refused in [directory.withdraw(name), directory.publish(&over)] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind, FailureKind::Other);
            let words = format!("the share {name:?} exists and is not ours; rename it");
            assert_eq!(refused.detail, words);
        }
        lab.tool("net", &["conf", "showshare", name]);
        assert_eq!(exposed(directory), []);
    });
}

/// As a helper leaves it that died when the share had gone and its descriptor had not.
#[test]
fn a_descriptor_without_a_share_is_removed() {
    with_both(|lab, directory| {
        let copy = lab.data().join("copy").display().to_string();
        let name = "docs@{F00}";
        lab.tool("net", &["conf", "addshare", name, &copy]);
        lab.tool("sharesec", &[name, &format!("--setsddl={DESCRIPTOR}")]);
        let key = format!(r"HKLM\Software\Samba\smbconf\{name}");
        lab.tool("net", &["registry", "deletekey", &key]);
        directory.withdraw(name).unwrap();
        assert_eq!(exposed(directory), []);
        lab.tool("net", &["conf", "addshare", name, &copy]);
        let later = lab.tool("sharesec", &[name, "--viewsddl"]);
        assert_eq!(later.trim(), EVERYBODY);
        lab.tool("net", &["conf", "delshare", name]);
    });
}

#[test]
fn shares_of_users_are_refused_by_name() {
    use std::os::unix::fs::PermissionsExt;
    if !lab::can_run() {
        return;
    }
    let lab = Lab::prepare("usershare path = {base}/usershares", "");
    let folder = lab.path().join("usershares");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o1770)).unwrap();
    let data = lab.data().display().to_string();
    let arguments = ["usershare", "add", "Mine", &data, "", "S-1-1-0:R"];
    lab.tool("net", &arguments);
    let directory = SambaDirectory::open(config(&lab, false)).unwrap();
    let failure = directory.lookup(&ShareName::new("MINE")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unsupported, "{failure}");
    assert!(failure.detail.contains("net usershare"), "{failure}");
}

#[test]
fn servers_that_cannot_be_served_are_refused_with_the_cure() {
    if !lab::can_run() {
        return;
    }
    let open = |global: &str| {
        let lab = Lab::prepare(global, "");
        SambaDirectory::open(config(&lab, false))
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let error = open("registry shares = no");
    assert!(
        error.contains("add the line \"registry shares = yes\""),
        "{error}"
    );
    let error = open("clustering = yes");
    assert!(error.contains("CTDB clusters are not supported"), "{error}");
    let missing = SambaConfig::new("/nonexistent/smb.conf", "x");
    let error = SambaDirectory::open(missing).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}
