use super::*;
use rustix::fs::{IFlags, ioctl_setflags};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

const ALWAYS: fn() -> Result<(), Failure> = || Ok(());

struct Room {
    _place: tempfile::TempDir,
    copy: PathBuf,
    share: PathBuf,
}

impl Room {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().canonicalize().unwrap();
        let (copy, share) = (path.join("copy"), path.join("share"));
        fs::create_dir_all(copy.join("dir/deep")).unwrap();
        fs::create_dir_all(share.join("dir")).unwrap();
        fs::write(copy.join("dir/deep/file"), "old").unwrap();
        fs::write(copy.join("file"), "old").unwrap();
        fs::write(share.join("dir/new"), "new").unwrap();
        Self {
            _place: place,
            copy,
            share,
        }
    }

    fn restore(&self, inner: &str) -> Result<u64, Failure> {
        let restored = self.restore_if(inner, ALWAYS)?;
        assert_eq!(restored.left, None);
        Ok(restored.files)
    }

    fn restore_if(
        &self,
        inner: &str,
        may: impl Fn() -> Result<(), Failure>,
    ) -> Result<Restored, Failure> {
        let inner = inside(Path::new(inner))?;
        let source = Entry::of(&self.copy, &inner)?;
        let target = Entry::of(&self.share, &inner)?;
        check_replaceable(&target)?;
        bring_back(&source, &target, may)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.share).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn read(&self, inner: &str) -> String {
        fs::read_to_string(self.share.join(inner)).unwrap()
    }
}

#[test]
fn a_path_stays_below_the_share() {
    assert_eq!(inside(Path::new("./a/b")).unwrap(), Path::new("a/b"));
    for root in ["", "."] {
        assert_eq!(inside(Path::new(root)).unwrap(), Path::new(""));
    }
    for bad in ["/etc", "../x", "a/../../x"] {
        assert!(inside(Path::new(bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_tree_and_a_file_come_back_and_nothing_lies_beside_them() {
    let room = Room::new();
    assert_eq!(room.restore("dir").unwrap(), 3);
    assert_eq!(room.read("dir/deep/file"), "old");
    assert!(!room.share.join("dir/new").exists());
    // A file that is not there any more.
    assert_eq!(room.restore("file").unwrap(), 1);
    assert_eq!(room.read("file"), "old");
    let missing = room.restore("none").unwrap_err();
    assert_eq!(missing.exit, Exit::NotFound);
    assert_eq!(room.names(), ["dir", "file"]);
}

/// A directory out of which nothing can be removed: its owner may not write it, and root neither, where
/// the file system knows the attribute "immutable".
struct Stubborn(PathBuf);

impl Stubborn {
    fn new(directory: PathBuf) -> Option<Self> {
        let stubborn = Self(directory);
        if rustix::process::geteuid().is_root() {
            return stubborn.set(IFlags::IMMUTABLE).then_some(stubborn);
        }
        fs::set_permissions(&stubborn.0, fs::Permissions::from_mode(0o500)).unwrap();
        Some(stubborn)
    }

    fn set(&self, flags: IFlags) -> bool {
        let file = fs::File::open(&self.0).unwrap();
        ioctl_setflags(&file, flags).is_ok()
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        if rustix::process::geteuid().is_root() {
            self.set(IFlags::empty());
        } else {
            let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700));
        }
    }
}

#[test]
fn a_restore_has_succeeded_though_what_was_there_before_cannot_be_removed() {
    let room = Room::new();
    let locked = room.share.join("dir/locked");
    fs::create_dir(&locked).unwrap();
    fs::write(locked.join("file"), "new").unwrap();
    // It is elsewhere afterwards.
    let file = fs::File::open(&locked).unwrap();
    let held = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Some(stubborn) = Stubborn::new(held) else {
        println!("skipped: this file system has no immutable files");
        return;
    };
    let restored = room.restore_if("dir", ALWAYS);
    drop(stubborn);
    let restored = restored.unwrap();
    assert_eq!(restored.files, 3);
    let left = restored.left.unwrap();
    assert!(
        left.contains("cannot remove") && left.contains(".fsrvp-restore."),
        "{left}"
    );
    assert_eq!(room.read("dir/deep/file"), "old");
    // The next restore there can.
    room.restore("file").unwrap();
    assert_eq!(room.names(), ["dir", "file"]);
}

#[test]
fn why_a_copy_failed_is_told_though_its_rest_cannot_be_removed() {
    let room = Room::new();
    let stubborn = std::cell::RefCell::new(None);
    let refused = room.restore_if("dir", || {
        let names = room.names();
        let stage = names
            .iter()
            .find(|name| name.starts_with(".fsrvp-restore."));
        let copied = room.share.join(stage.unwrap()).join("x/deep");
        stubborn.replace(Stubborn::new(copied));
        Err(Failure::new(Exit::BadState, "somebody has it open"))
    });
    if stubborn.take().is_none() {
        println!("skipped: this file system has no immutable files");
        return;
    }
    let refused = refused.unwrap_err();
    assert_eq!(refused.exit, Exit::BadState);
    let text = refused.to_string();
    assert!(
        text.starts_with("somebody has it open; besides, cannot remove "),
        "{text}"
    );
    assert_eq!(room.read("dir/new"), "new");
}

#[test]
fn a_mount_cannot_be_replaced_but_can_be_read() {
    // Every machine has this one.
    let mount = Entry::of(Path::new("/proc"), Path::new("")).unwrap();
    let failure = check_replaceable(&mount).unwrap_err();
    assert!(failure.to_string().contains("one by one"), "{failure}");
    let room = Room::new();
    let share = Entry::of(&room.share, Path::new("")).unwrap();
    check_replaceable(&share).unwrap();
    let new = share.beside(OsStr::new("none"));
    check_replaceable(&new).unwrap();
}

#[test]
fn the_root_of_a_share_comes_back_in_one_step() {
    let room = Room::new();
    fs::set_permissions(&room.copy, fs::Permissions::from_mode(0o2770)).unwrap();
    assert_eq!(room.restore(".").unwrap(), 5);
    assert_eq!(room.names(), ["dir", "file"]);
    let mode = fs::metadata(&room.share).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o2770);
    let beside = fs::read_dir(room.share.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 2, "something lies beside the share");
}

#[test]
fn what_a_killed_run_left_goes_and_what_is_not_ours_stays() {
    let room = Room::new();
    let left = room.share.join(".fsrvp-restore.1.0");
    fs::create_dir(&left).unwrap();
    fs::create_dir_all(left.join("x/deep")).unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o700)).unwrap();
    // Made by a user, who lets others in; and a name that leads elsewhere.
    let foreign = room.share.join(".fsrvp-restore.2.0");
    fs::create_dir_all(foreign.join("x")).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).unwrap();
    let victim = room.copy.join("dir");
    symlink(&victim, room.share.join(".fsrvp-restore.3.0")).unwrap();
    room.restore("file").unwrap();
    assert!(!left.exists());
    assert!(foreign.join("x").exists());
    assert!(victim.join("deep/file").exists());
}

#[test]
fn links_on_the_way_are_not_followed_but_those_to_the_share_are() {
    let room = Room::new();
    let outside = room.share.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink("../outside", room.share.join("link")).unwrap();
    fs::create_dir(room.copy.join("link")).unwrap();
    fs::write(room.copy.join("link/file"), "old").unwrap();
    assert_eq!(room.restore("link/file").unwrap_err().exit, Exit::Usage);
    assert!(!outside.join("file").exists());
    // The same on the side of the copy.
    fs::create_dir(room.share.join("in")).unwrap();
    symlink("dir", room.copy.join("in")).unwrap();
    assert_eq!(room.restore("in/deep").unwrap_err().exit, Exit::Usage);
    // smb.conf may name the share over a link.
    let alias = room.share.parent().unwrap().join("alias");
    symlink(&room.share, &alias).unwrap();
    let target = Entry::of(&alias, Path::new("file")).unwrap();
    let source = Entry::of(&room.copy, Path::new("file")).unwrap();
    bring_back(&source, &target, ALWAYS).unwrap();
    assert_eq!(room.read("file"), "old");
}

/// A user who puts links where cp writes: it writes in a directory that he cannot enter.
#[test]
fn a_link_in_place_of_what_is_copied_is_not_written_through() {
    let room = Room::new();
    let victim = room.share.parent().unwrap().join("victim");
    fs::write(&victim, "untouched").unwrap();
    for number in 0..4 {
        let name = format!(".fsrvp-restore.{}.{number}", std::process::id());
        symlink(&victim, room.share.join(name)).unwrap();
    }
    symlink(&victim, room.share.join(".fsrvp-restore.file")).unwrap();
    symlink(&victim, room.share.join("file")).unwrap();
    room.restore("file").unwrap();
    assert_eq!(room.read("file"), "old");
    assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
}

#[test]
fn what_somebody_makes_or_removes_meanwhile_is_left_alone() {
    let room = Room::new();
    let made = || {
        fs::write(room.share.join("file"), "a user's").unwrap();
        Ok(())
    };
    let failure = room.restore_if("file", made).unwrap_err();
    assert_eq!(failure.exit, Exit::BadState, "{failure}");
    assert_eq!(room.read("file"), "a user's");
    let removed = || {
        fs::remove_file(room.share.join("file")).unwrap();
        Ok(())
    };
    let failure = room.restore_if("file", removed).unwrap_err();
    assert_eq!(failure.exit, Exit::BadState, "{failure}");
    assert_eq!(room.names(), ["dir"]);
    let refused = || Err(Failure::new(Exit::BadState, "open"));
    room.restore_if("file", refused).unwrap_err();
    assert_eq!(room.names(), ["dir"]);
}

/// More complaints than a pipe holds: a limit of 0 bytes a file fails every one of them.
#[test]
fn a_cp_that_complains_much_is_heard_to_its_end() {
    let room = Room::new();
    for number in 0..1_500 {
        fs::write(
            room.copy
                .join(format!("dir/a-name-of-some-length-{number}")),
            "x",
        )
        .unwrap();
    }
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("prlimit")
        .args(["--fsize=0", "env", "--ignore-signal=XFSZ", "timeout", "60"])
        .arg(program)
        .args([
            "--exact",
            "bring_back::tests::complaining",
            "--ignored",
            "--nocapture",
        ])
        .env("FSRVP_TEST_ROOM", room.share.parent().unwrap())
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_ne!(output.status.code(), Some(124), "it waits for ever");
    assert!(said.contains("could not be copied: cp: "), "{said}");
    assert_eq!(room.names(), ["dir"]);
}

/// The part of the test above that runs under a limit.
#[test]
#[ignore = "a part of another test"]
fn complaining() {
    let Some(place) = std::env::var_os("FSRVP_TEST_ROOM").map(PathBuf::from) else {
        return;
    };
    let source = Entry::of(&place.join("copy"), Path::new("dir")).unwrap();
    let target = Entry::of(&place.join("share"), Path::new("dir")).unwrap();
    let failure = bring_back(&source, &target, ALWAYS).unwrap_err();
    println!("{failure}");
}
