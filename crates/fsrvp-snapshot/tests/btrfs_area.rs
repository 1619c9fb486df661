//! The area, our mount, the previous versions, and what is not ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test"
)]

mod common;

use common::{
    Ground, backend, copy_ref, exposed, exposure, lab, run, source, subvolume, unmount_all,
};
use fsrvp_proto::job::{CopyRef, VolumeId};
use fsrvp_snapshot::{BackendError, Btrfs, BtrfsConfig, Deadline, SnapshotBackend};
use fsrvp_sys::mountinfo::MountTable;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn mounts_below(path: &Path) -> usize {
    let table = MountTable::read().unwrap();
    table
        .0
        .iter()
        .filter(|mount| mount.point.starts_with(path))
        .count()
}

fn a_share(ground: &Ground) -> PathBuf {
    subvolume(&ground.btrfs("a").join("share"))
}

/// The name of the server's folder in the areas.
fn folder(ground: &Ground) -> String {
    fsrvp_snapshot::names::component(&ground.server())
}

#[test]
fn modes_let_users_pass_to_their_copies() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    fs::set_permissions(&share, fs::Permissions::from_mode(0o2770)).unwrap();
    chown(&share, Some(1234), Some(4321)).unwrap();
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    assert_eq!(mode(&copy), 0o2770);
    let owner = fs::metadata(&copy).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1234, 4321));
    let area = copy.parent().unwrap();
    assert_eq!(mode(area), 0o711);
    assert_eq!(mode(area.parent().unwrap()), 0o711);
    assert_eq!(mode(&area.join("previous")), 0o711);
    assert_eq!(mode(&area.join("previous/share")), 0o755);
    assert_eq!(mode(&ground.path("run")), 0o711);
    assert_eq!(mode(&ground.path("run/mounts")), 0o711);
    assert!(area.ends_with(Path::new(".fsrvpd").join(folder(&ground))));
}

#[test]
fn somebody_else_who_was_there_first_is_refused() {
    if !lab() {
        return;
    }
    type Plant = fn(&Path);
    let plant: [(&str, Plant); 4] = [
        ("symlink", |path| symlink("/tmp", path).unwrap()),
        ("file", |path| fs::write(path, b"").unwrap()),
        ("owner", |path| {
            fs::create_dir(path).unwrap();
            chown(path, Some(1234), None).unwrap();
        }),
        ("mode", |path| {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }),
    ];
    let ground = Ground::new();
    let share = a_share(&ground);
    let top = share.parent().unwrap();
    for (name, plant) in plant {
        for path in [
            top.join(".fsrvpd"),
            top.join(".fsrvpd").join(folder(&ground)),
        ] {
            if !path.ends_with(".fsrvpd") {
                fs::create_dir(path.parent().unwrap()).unwrap();
            }
            plant(&path);
            let backend = backend(&ground, &[&share]);
            let source = source(&backend, &share);
            let result = backend.prepare(std::slice::from_ref(&source), &Deadline::default());
            assert!(
                matches!(result, Err(BackendError::Conflict(_))),
                "{name}: {result:?}"
            );
            let result = backend.enumerate();
            assert!(
                matches!(result, Err(BackendError::Conflict(_))),
                "{name}: {result:?}"
            );
            let planted = top.join(".fsrvpd");
            run("rm", &["-r", planted.to_str().unwrap()]);
        }
    }
}

#[test]
fn the_mount_is_found_again_and_never_stacked() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let run_dir = ground.path("run/mounts");
    let first = backend(&ground, &[&share]);
    first.probe(&share).unwrap();
    first.enumerate().unwrap();
    assert_eq!(mounts_below(&run_dir), 0, "looking mounts nothing");
    let source = source(&first, &share);
    let copy = exposed(&first, &source);
    assert_eq!(mounts_below(&run_dir), 1);
    let second = backend(&ground, &[&share]);
    assert_eq!(second.expose(&exposure(&source)).unwrap(), copy);
    assert_eq!(mounts_below(&run_dir), 1);
    // Somebody takes it away: the next call brings it back.
    run(
        "umount",
        &[
            "-l",
            run_dir.join(copy_mount(&copy, &run_dir)).to_str().unwrap(),
        ],
    );
    assert!(!copy.exists());
    assert_eq!(second.expose(&exposure(&source)).unwrap(), copy);
    assert!(copy.exists());
    assert_eq!(mounts_below(&run_dir), 1);
}

/// The first component of `copy` below `run_dir`.
fn copy_mount(copy: &Path, run_dir: &Path) -> PathBuf {
    let below = copy.strip_prefix(run_dir).unwrap();
    below.components().next().unwrap().as_os_str().into()
}

#[test]
fn everything_can_be_unmounted() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let run_dir = ground.path("run/mounts");
    let first = backend(&ground, &[&share]);
    let kept = source(&first, &share);
    let copy = exposed(&first, &kept);
    let file = fs::File::open(&copy).unwrap();
    let busy = backend(&ground, &[&share]).unmount_all();
    assert!(matches!(busy, Err(BackendError::Busy(_))), "{busy:?}");
    drop(file);
    unmount_all(&first);
    assert!(!run_dir.exists());
    first.unmount_all().unwrap();
    // As after a reboot.
    let next = backend(&ground, &[&share]);
    assert_eq!(next.enumerate().unwrap(), [copy_ref(&kept)]);
    assert_eq!(next.expose(&exposure(&kept)).unwrap(), copy);
    next.delete(&copy_ref(&kept)).unwrap();
}

#[test]
fn another_mount_at_our_mount_point_is_refused() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let id = source.volume.0.split(':').nth(1).unwrap().to_owned();
    let point = ground.path("run/mounts").join(id);
    fs::create_dir_all(&point).unwrap();
    run("mount", &["-t", "tmpfs", "none", point.to_str().unwrap()]);
    let result = backend.prepare(std::slice::from_ref(&source), &Deadline::default());
    assert!(
        matches!(result, Err(BackendError::Conflict(_))),
        "{result:?}"
    );
}

#[test]
fn what_is_not_ours_in_the_area_is_left_alone() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let backend = backend(&ground, &[&share]);
    let ours = source(&backend, &share);
    let copy = exposed(&backend, &ours);
    let area = copy.parent().unwrap();
    let odd = subvolume(&area.join("somebody's"));
    // Bears the name of a copy, but was never one.
    let posing = source(&backend, &share);
    let posing_path = subvolume(&area.join(posing.copy.to_string()));
    let file = source(&backend, &share);
    fs::write(area.join(file.copy.to_string()), b"a file").unwrap();

    assert_eq!(backend.enumerate().unwrap(), [copy_ref(&ours)]);
    for foreign in [&posing, &file] {
        let sources = std::slice::from_ref(foreign);
        for result in [
            backend.delete(&copy_ref(foreign)),
            backend.seal(&copy_ref(foreign)),
            backend.commit(sources, true, &Deadline::default()),
        ] {
            assert!(
                matches!(result, Err(BackendError::Conflict(_))),
                "{result:?}"
            );
        }
    }
    // A cut that succeeded beside one that could not be made is undone.
    let fresh = source(&backend, &share);
    for sources in [[fresh.clone(), posing.clone()], [posing.clone(), fresh]] {
        let result = backend.commit(&sources, true, &Deadline::default());
        assert!(
            matches!(result, Err(BackendError::Conflict(_))),
            "{result:?}"
        );
        assert_eq!(backend.enumerate().unwrap(), [copy_ref(&ours)]);
    }
    assert!(odd.exists() && posing_path.exists());
    assert_eq!(
        fs::read(area.join(file.copy.to_string())).unwrap(),
        b"a file"
    );
    backend.delete(&copy_ref(&ours)).unwrap();
}

/// A start trusts names where the table knows the copy, and mends the links that are missing.
#[test]
fn a_start_looks_only_at_names_of_recorded_copies() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let first = backend(&ground, &[&share]);
    let [kept, unlinked, file, other] = [(); 4].map(|()| source(&first, &share));
    let copy = exposed(&first, &kept);
    exposed(&first, &unlinked);
    let area = copy.parent().unwrap().to_owned();
    fs::write(area.join(file.copy.to_string()), b"a file").unwrap();
    // A directory of that name is not looked into; a copy of another file system is not here.
    subvolume(&area.join(other.copy.to_string()));
    let elsewhere = CopyRef {
        volume: VolumeId(other.volume.0.replace(
            other.volume.0.split(':').nth(1).unwrap(),
            "0f0e0d0c-0b0a-0908-0706-050403020100",
        )),
        ..copy_ref(&other)
    };
    let links = area.join("previous/share");
    let link_to = |id: String| {
        let entries = fs::read_dir(&links)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .filter(|link| fs::read_link(link).unwrap().to_string_lossy().contains(&id))
            .collect::<Vec<_>>()
    };
    let lost = link_to(unlinked.copy.to_string());
    fs::remove_file(lost.first().unwrap()).unwrap();
    unmount_all(&first);

    let next = backend(&ground, &[&share]);
    let recorded = [
        copy_ref(&kept),
        copy_ref(&unlinked),
        copy_ref(&file),
        elsewhere,
    ];
    let mut found = next.enumerate_beside(&recorded).unwrap();
    found.sort();
    let mut expected = [copy_ref(&kept), copy_ref(&unlinked)];
    expected.sort();
    assert_eq!(found, expected);
    let reached = next.reach(&[&kept, &unlinked, &file].map(exposure));
    assert!(
        matches!(
            reached.as_slice(),
            [Ok(()), Ok(()), Err(BackendError::Conflict(_))]
        ),
        "{reached:?}"
    );
    assert!(copy.exists(), "the mount is back");
    assert_eq!(link_to(unlinked.copy.to_string()).len(), 1);
    assert_eq!(link_to(kept.copy.to_string()).len(), 1);
    for source in [&kept, &unlinked] {
        next.delete(&copy_ref(source)).unwrap();
    }
}

#[test]
fn another_fsrvpd_with_the_same_name_keeps_its_copies() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground);
    let ours = backend(&ground, &[&share]);
    let copied = source(&ours, &share);
    exposed(&ours, &copied);
    let config = |run_dir: &str| BtrfsConfig {
        server: ground.server(),
        run_dir: ground.path(run_dir),
        known: Vec::new(),
    };
    assert_eq!(Btrfs::new(config("another")).enumerate().unwrap(), []);
    // The share has left the configuration: its copies are found all the same.
    let next = Btrfs::new(config("run/mounts"));
    assert_eq!(next.enumerate().unwrap(), [copy_ref(&copied)]);
    // The run directory has moved: the configured share tells that they are ours.
    let moved = BtrfsConfig {
        known: vec![share],
        ..config("another")
    };
    assert_eq!(Btrfs::new(moved).enumerate().unwrap(), [copy_ref(&copied)]);
}

#[test]
fn previous_versions_lead_to_the_data() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = a_share(&ground).join("deep/er");
    fs::create_dir_all(&share).unwrap();
    fs::write(share.join("file"), b"old").unwrap();
    let first = backend(&ground, &[&share]);
    let copied = source(&first, &share);
    exposed(&first, &copied);
    fs::write(share.join("file"), b"new").unwrap();
    let name = &copied.shares[0].share;
    let folder = first.previous_versions(&share, name).unwrap();
    let label = folder.join("@GMT-2024.01.17-21.20.00");
    assert_eq!(fs::read(label.join("file")).unwrap(), b"old");
    // Links of somebody else stay, and their seconds stay theirs.
    symlink("/etc", folder.join("@GMT-2024.01.17-21.20.01")).unwrap();
    symlink("/etc", folder.join("mine")).unwrap();
    let another = source(&first, &share);
    exposed(&first, &another);
    assert!(folder.join("@GMT-2024.01.17-21.20.02/file").exists());
    // A new process finds them all; a link that was removed by hand comes back.
    let second: Btrfs = backend(&ground, &[&share]);
    fs::remove_file(&label).unwrap();
    second.expose(&exposure(&copied)).unwrap();
    assert_eq!(fs::read(label.join("file")).unwrap(), b"old");
    second.delete(&copy_ref(&copied)).unwrap();
    second.delete(&copy_ref(&another)).unwrap();
    let mut left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["@GMT-2024.01.17-21.20.01", "mine"]);
}
