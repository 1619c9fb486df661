//! Copies among the other things of a pool.

use crate::bed::{Pool, backend, destroy, zfs};
use crate::common::{Ground, copy_ref, exposed, exposure, run, source};
use fsrvp_snapshot::{BackendError, SnapshotBackend, Zfs, ZfsConfig};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn attributes(directory: &Path) -> String {
    let dump = ["--dump", "--absolute-names", "--match=-", "file"];
    let output = Command::new("getfattr")
        .args(dump)
        .current_dir(directory)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn acl(directory: &Path) -> String {
    let mut getfacl = Command::new("getfacl");
    let output = getfacl
        .args(["--numeric", "file"])
        .current_dir(directory)
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

pub(crate) fn metadata() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    // The pool's root says otherwise, and the clone is put below it.
    zfs(&["set", "xattr=off", &pool.name]);
    let share = pool.data_set("vm");
    zfs(&["set", "xattr=on", &format!("{}/vm", pool.name)]);
    let file = share.join("file");
    fs::write(&file, b"data").unwrap();
    chown(&file, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let name = file.to_str().unwrap();
    for attribute in ["user.DOSATTRIB", "security.NTACL", "trusted.own"] {
        run("setfattr", &["-n", attribute, "-v", "0x0001ff", name]);
    }
    run("setfacl", &["-m", "u:1235:rw,g:4322:r", name]);
    let backend = backend(&ground);
    let copied = source(&backend, &share);
    let copy = exposed(&backend, &copied);
    assert!(acl(&share).contains("user:1235:rw-"), "{}", acl(&share));
    assert_eq!(acl(&share), acl(&copy));
    let [original, found] = [&file, &copy.join("file")].map(|path| fs::metadata(path).unwrap());
    let facts = |of: &fs::Metadata| (of.uid(), of.gid(), of.mode(), of.mtime(), of.mtime_nsec());
    assert_eq!(facts(&original), facts(&found));
    assert!(attributes(&share).contains("security.NTACL=0sAAH/"));
    assert_eq!(attributes(&share), attributes(&copy));
    // Users pass the directories above the copy.
    for above in copy.ancestors().skip(1).take(2) {
        assert_eq!(fs::metadata(above).unwrap().mode() & 0o7777, 0o711);
    }
    backend.delete(&copy_ref(&copied)).unwrap();
    assert_eq!(fs::read_dir(copy.parent().unwrap()).unwrap().count(), 1);
}

pub(crate) fn reboot() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    fs::write(share.join("file"), b"base").unwrap();
    let first = backend(&ground);
    let [open, sealed] = [source(&first, &share), source(&first, &share)];
    let paths = [&open, &sealed].map(|copied| exposed(&first, copied));
    fs::write(paths[0].join("file"), b"auto").unwrap();
    fs::write(paths[1].join("file"), b"done").unwrap();
    first.seal(&copy_ref(&sealed)).unwrap();
    // Mounts and the run directory are gone.
    for copied in [&open, &sealed] {
        zfs(&["umount", &format!("{}/fsrvp-{}", pool.name, copied.copy)]);
    }
    fs::remove_dir_all(ground.path("run")).unwrap();
    let second = backend(&ground);
    assert_eq!(second.enumerate().unwrap().len(), 2);
    let again = [&open, &sealed].map(|copied| second.expose(&exposure(copied)).unwrap());
    assert_eq!(again, paths);
    assert_eq!(fs::read(paths[0].join("file")).unwrap(), b"auto");
    fs::write(paths[0].join("file"), b"more").unwrap();
    assert_eq!(fs::read(paths[1].join("file")).unwrap(), b"done");
    second.verify_sealed(&copy_ref(&sealed), &paths[1]).unwrap();
    for copied in [&open, &sealed] {
        second.delete(&copy_ref(copied)).unwrap();
    }
    assert_eq!(pool.list("snapshot"), [""; 0]);
    assert_eq!(pool.list("filesystem").len(), 2);
}

pub(crate) fn dependants() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let backend = backend(&ground);
    let copied = source(&backend, &share);
    exposed(&backend, &copied);
    let snapshot = format!("{}/vm@fsrvp-{}", pool.name, copied.copy);
    let users = format!("{}/users", pool.name);
    zfs(&["clone", &snapshot, &users]);
    let busy = backend.delete(&copy_ref(&copied)).unwrap_err();
    assert!(
        matches!(&busy, BackendError::Busy(text) if text.contains("dependent clones")),
        "{busy}"
    );
    assert!(pool.list("filesystem").contains(&users));
    // What is left of the copy is still known.
    assert_eq!(backend.enumerate().unwrap(), [copy_ref(&copied)]);
    destroy(&users);
    zfs(&["hold", "keep", &snapshot]);
    let busy = backend.delete(&copy_ref(&copied)).unwrap_err();
    assert!(matches!(busy, BackendError::Busy(_)), "{busy}");
    zfs(&["release", "keep", &snapshot]);
    backend.delete(&copy_ref(&copied)).unwrap();
    assert_eq!(pool.list("snapshot"), [""; 0]);
}

pub(crate) fn destroyed_clone() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let backend = backend(&ground);
    let copied = source(&backend, &share);
    exposed(&backend, &copied);
    let clone = format!("{}/fsrvp-{}", pool.name, copied.copy);
    zfs(&["umount", &clone]);
    destroy(&clone);
    // Made anew, it would lack what auto-recovery wrote.
    let error = backend.expose(&exposure(&copied)).unwrap_err();
    assert!(matches!(error, BackendError::NotFound(_)), "{error}");
    backend.delete(&copy_ref(&copied)).unwrap();
    // A data set of that name that is not ours is left alone.
    let copied = source(&backend, &share);
    let foreign = format!("{}/fsrvp-{}", pool.name, copied.copy);
    zfs(&["create", &foreign]);
    let sources = std::slice::from_ref(&copied);
    let deadline = fsrvp_snapshot::Deadline::default();
    backend.commit(sources, true, &deadline).unwrap();
    for result in [
        backend.expose(&exposure(&copied)).map(drop),
        backend.delete(&copy_ref(&copied)),
    ] {
        assert!(
            matches!(result, Err(BackendError::Conflict(_))),
            "{result:?}"
        );
    }
    assert!(pool.list("filesystem").contains(&foreign));
}

pub(crate) fn exported_pool() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let first = backend(&ground);
    let copied = source(&first, &share);
    exposed(&first, &copied);
    let clone = format!("{}/fsrvp-{}", pool.name, copied.copy);
    zfs(&["umount", &clone]);
    run("zpool", &["export", &pool.name]);
    let away = backend(&ground);
    assert_eq!(away.enumerate().unwrap(), []);
    // Neither gone nor deleted: nobody knows.
    for result in [
        away.expose(&exposure(&copied)).map(drop),
        away.delete(&copy_ref(&copied)),
    ] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("is not imported"), "{error}");
    }
    let directory = ground.path("");
    run(
        "zpool",
        &["import", "-d", directory.to_str().unwrap(), &pool.name],
    );
    assert_eq!(away.enumerate().unwrap(), [copy_ref(&copied)]);
    away.delete(&copy_ref(&copied)).unwrap();
    // The whole data set gone, with its copies: there is nothing left to delete.
    destroy(&format!("{}/vm", pool.name));
    away.delete(&copy_ref(&copied)).unwrap();
}

pub(crate) fn two_servers() {
    let ground = Ground::new();
    let pool = Pool::new(&ground, "a");
    let share = pool.data_set("vm");
    let first = backend(&ground);
    let other = |server: String, run_dir: &str| {
        Zfs::new(ZfsConfig {
            program: "zfs".into(),
            limit: Duration::from_secs(60),
            server,
            run_dir: ground.path(run_dir),
        })
    };
    let copied = source(&first, &share);
    exposed(&first, &copied);
    // Another name, and the same name in another place.
    for second in [other("other".into(), "run"), other(ground.server(), "run2")] {
        assert_eq!(second.enumerate().unwrap(), []);
    }
    assert_eq!(first.enumerate().unwrap(), [copy_ref(&copied)]);
}
