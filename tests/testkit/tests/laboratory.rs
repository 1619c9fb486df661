//! The laboratory itself, with Samba's own agent so that nothing of ours can be to blame.

use fsrvp_testkit::{
    AgentKind, Environment, Lab, LabOptions, Run, ShareKey, down, laboratory_required,
    machine_fits, process,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// False, with a printed line, when the machine cannot carry a laboratory.
fn possible() -> bool {
    match machine_fits() {
        Ok(()) => true,
        Err(why) => {
            assert!(!laboratory_required(), "{why}");
            println!("skipped: {why}");
            false
        }
    }
}

fn options() -> LabOptions {
    LabOptions::for_test(AgentKind::Samba { workers: 1 })
}

fn assert_no_trace(dir: &Path) {
    assert!(!dir.exists());
    let text = &*dir.to_string_lossy();
    let mounts = Run::new("cat").arg("/proc/self/mountinfo").check();
    let devices = Run::new("losetup")
        .args(["--list", "--output", "BACK-FILE"])
        .check();
    for listed in [mounts, devices] {
        assert!(listed.is_ok_and(|listed| !listed.says(text)));
    }
    assert!(process::of_laboratory(dir).is_empty());
}

/// The keys that other tools read, letter by letter.
const KEYS: &str = "HOST PORT SERVER_NAME SMB_CONF NP_SOCKET BACKUP_USER BACKUP_PASSWORD \
     PLAIN_USER PLAIN_PASSWORD ADMIN_USER ADMIN_PASSWORD SHARE_A SHARE_A2 SHARE_B SHARE_HIDDEN \
     SHARE_XFS SHARE_SUBDIR SHARE_NESTED SHARE_UNSUPPORTED TORTURE_SHARE AGENT_PID CONFIG STATE_DIR \
     ADMIN_SOCKET METRICS SHARE_A_PATH SHARE_A2_PATH SHARE_B_PATH SHARE_HIDDEN_PATH SHARE_XFS_PATH \
     SHARE_SUBDIR_PATH SHARE_NESTED_PATH SHARE_UNSUPPORTED_PATH TORTURE_SHARE_PATH";

#[test]
fn a_laboratory_is_what_it_promises_and_leaves_no_trace() {
    if !possible() {
        return;
    }
    let lab = Lab::up(options()).unwrap();
    let environment = Environment::read(&lab.environment_file()).unwrap();
    for key in KEYS.split_whitespace() {
        assert!(environment.value(key).is_some(), "{key} is missing");
    }
    assert_eq!(environment.to_map().len(), KEYS.split_whitespace().count());
    assert!(lab.share(ShareKey::Hidden).name.ends_with('$'));
    assert_eq!(lab.share(ShareKey::A).path, lab.share(ShareKey::A2).path);

    // Two of the accounts may make shadow copies, by their groups alone; the third may not.
    let supports = |who| lab.rpcclient(who, "fss_is_path_sup vm").output().unwrap();
    assert!(supports(lab.backup()).says("supports shadow copy requests"));
    assert!(supports(lab.admin()).says("supports shadow copy requests"));
    assert!(supports(lab.plain()).says("0x80070005"));

    // Everybody may write every share, from any address of the loopback network.
    for key in ShareKey::ALL {
        for who in [lab.backup(), lab.admin(), lab.plain()] {
            let share = lab.share(key).name;
            lab.smbclient(who, share, "put /etc/hostname greeting; del greeting")
                .check()
                .unwrap();
        }
    }

    // A second one in the same place is refused and the first is not disturbed.
    let again = LabOptions::new(lab.dir(), AgentKind::Samba { workers: 1 });
    assert!(
        Lab::up(again)
            .unwrap_err()
            .to_string()
            .contains("is a laboratory already")
    );
    lab.restart_smbd().unwrap();
    lab.restart_dcerpcd().unwrap();
    assert!(supports(lab.backup()).says("supports shadow copy requests"));

    let dir = lab.dir().to_owned();
    lab.down().unwrap();
    assert_no_trace(&dir);
}

#[test]
fn a_half_made_laboratory_is_removed() {
    if !possible() {
        return;
    }
    // An agent that cannot be started: volumes and accounts exist by then.
    let options = LabOptions::for_test(AgentKind::Fsrvpd("/no/such/fsrvpd".into()));
    let error = Lab::up(options).unwrap_err().to_string();
    assert!(error.contains("/no/such/fsrvpd"), "{error}");
    let error = error
        .split_whitespace()
        .find(|word| word.contains("fsrvp-lab."))
        .unwrap();
    let dir = Path::new(error).parent().unwrap().parent().unwrap();
    assert_no_trace(dir);
}

#[test]
fn what_a_crashed_owner_left_is_found_by_looking() {
    if !possible() {
        return;
    }
    let lab = Lab::up(options()).unwrap();
    let dir = lab.dir().to_owned();
    lab.keep();
    // A program of the laboratory that nobody wrote down, a mount and a loop device likewise.
    let mut stray = Command::new("sleep")
        .arg("600")
        .env("FSRVP_LAB_DIR", &dir)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let inner = dir.join("mnt/btrfs2/data/stray");
    fs::create_dir(&inner).unwrap();
    Run::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&inner)
        .check()
        .unwrap();
    // A namespace that somebody else made meanwhile holds copies of the mounts.
    let mut elsewhere = Command::new("unshare")
        .args(["--mount", "sleep", "600"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt"));
    while namespace(&elsewhere.id().to_string())
        .is_ok_and(|other| namespace("self").unwrap() == other)
    {
        std::thread::yield_now();
    }
    for file in fs::read_dir(dir.join("samba/pid")).unwrap().flatten() {
        fs::remove_file(file.path()).unwrap();
    }
    down(&dir).unwrap();
    assert_no_trace(&dir);
    stray.wait().unwrap();
    elsewhere.kill().unwrap();
    elsewhere.wait().unwrap();
}

#[test]
fn what_others_have_in_the_directory_stays() {
    if !possible() {
        return;
    }
    // As `mktemp -d` makes them: nobody else can pass.
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let dir = closed.path().join("lab");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("notes"), "mine").unwrap();
    let lab = Lab::up(LabOptions::new(&dir, AgentKind::Samba { workers: 1 })).unwrap();
    let share = lab.share(ShareKey::A);
    assert!(!share.path.starts_with(closed.path()));
    lab.smbclient(lab.plain(), share.name, "put /etc/hostname file")
        .check()
        .unwrap();
    let mounts = share.path.ancestors().nth(3).unwrap().to_owned();
    lab.down().unwrap();
    assert_eq!(fs::read_to_string(dir.join("notes")).unwrap(), "mine");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    assert_no_trace(&mounts);

    down(&dir).unwrap();
    fs::write(dir.join("env"), "mine").unwrap();
    let taken = LabOptions::new(&dir, AgentKind::Samba { workers: 1 });
    assert!(
        Lab::up(taken)
            .unwrap_err()
            .to_string()
            .contains("not a laboratory's")
    );
    assert!(dir.join("env").exists());
}
