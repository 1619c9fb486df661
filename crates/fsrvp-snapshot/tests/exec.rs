//! The backend that is a program of the site: what the program may do wrong. The battery over the
//! example that is shipped is in `checker.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of a test"
)]

mod common;

use common::{Ground, copy_ref, exposed, exposure, lab, run, source};
use fsrvp_snapshot::{BackendError, Deadline, Exec, ExecConfig, ExecLimits, SnapshotBackend};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn example() -> String {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let path = packaging.join("backends/reflink-tree");
    path.to_str().unwrap().to_owned()
}

fn backend(ground: &Ground, command: &[&str]) -> Exec {
    Exec::new(ExecConfig {
        name: "array".into(),
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        limits: ExecLimits::default(),
        server: ground.server(),
        run_dir: ground.path("run"),
    })
}

#[test]
fn the_example_keeps_metadata_and_its_seal_waits_for_writers() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = ground.xfs("a").join("share");
    fs::create_dir(&share).unwrap();
    fs::write(share.join("file"), b"base").unwrap();
    fs::set_permissions(&share, fs::Permissions::from_mode(0o2770)).unwrap();
    let backend = backend(&ground, &[&example()]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    let kept = fs::metadata(&copy).unwrap();
    assert_eq!(kept.mode() & 0o7777, 0o2770);
    assert_eq!(
        kept.modified().unwrap(),
        fs::metadata(&share).unwrap().modified().unwrap()
    );
    let file = OpenOptions::new()
        .write(true)
        .open(copy.join("file"))
        .unwrap();
    file.write_all_at(b"auto", 0).unwrap();
    let busy = backend.seal(&copy_ref(&source)).unwrap_err();
    assert!(matches!(busy, BackendError::Busy(_)), "{busy}");
    assert!(backend.verify_sealed(&copy_ref(&source), &copy).is_err());
    drop(file);
    backend.seal(&copy_ref(&source)).unwrap();
    backend.verify_sealed(&copy_ref(&source), &copy).unwrap();
    assert_eq!(fs::read(copy.join("file")).unwrap(), b"auto");
    // The share itself is not the copy.
    let elsewhere = backend.verify_sealed(&copy_ref(&source), &share);
    assert!(
        matches!(elsewhere, Err(BackendError::Unsupported { .. })),
        "{elsewhere:?}"
    );
    // As after a reboot: the mounts have gone, the seal has not.
    common::umount(&copy);
    assert_eq!(backend.expose(&exposure(&source)).unwrap(), copy);
    backend.verify_sealed(&copy_ref(&source), &copy).unwrap();
    backend.delete(&copy_ref(&source)).unwrap();
    assert!(!copy.exists());
}

/// Only root walks to a copy past its mount, and an area that is somebody else's is not used.
#[test]
fn the_examples_area_is_its_own() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let top = ground.xfs("a");
    let share = top.join("share");
    fs::create_dir(&share).unwrap();
    let backend = backend(&ground, &[&example()]);
    let copied = source(&backend, &share);
    exposed(&backend, &copied);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let area = top.join(".fsrvpd-trees");
    assert_eq!(mode(&area), 0o700);
    for server in fs::read_dir(&area).unwrap() {
        let server = server.unwrap().path();
        assert_eq!(mode(&server), 0o700);
        assert_eq!(mode(&server.join(copied.copy.to_string())), 0o700);
    }
    backend.delete(&copy_ref(&copied)).unwrap();
    fs::remove_dir_all(&area).unwrap();
    fs::create_dir(&area).unwrap();
    for (owner, mode) in [(1234, 0o700), (0, 0o770), (0, 0o702)] {
        std::os::unix::fs::chown(&area, Some(owner), None).unwrap();
        fs::set_permissions(&area, fs::Permissions::from_mode(mode)).unwrap();
        let sources = [source(&backend, &share)];
        let refused = backend.prepare(&sources, &Deadline::default());
        assert!(
            matches!(refused, Err(BackendError::Conflict(_))),
            "{owner} {mode:o}: {refused:?}"
        );
    }
}

/// A program that does what files beside it say, and writes down what it is asked.
struct Fake {
    ground: Ground,
    backend: Exec,
}

impl Fake {
    fn new() -> Self {
        let ground = Ground::new();
        fs::create_dir(ground.path("copy")).unwrap();
        fs::create_dir(ground.path("share")).unwrap();
        let script = ground.path("array");
        let text = "cd \"$(dirname \"$0\")\"\ncat >\"asked.$1\"\necho \"$1\" >>log\n\
            if [ -f \"do.$1\" ]; then . \"./do.$1\"; else echo '{}'; fi\n";
        fs::write(&script, text).unwrap();
        let limits = ExecLimits {
            seal: Duration::from_millis(200),
            ..ExecLimits::default()
        };
        let backend = Exec::new(ExecConfig {
            name: "array".into(),
            command: vec!["/bin/sh".into(), script.to_str().unwrap().into()],
            limits,
            server: "FILER".into(),
            run_dir: ground.path("run"),
        });
        let fake = Self { ground, backend };
        fake.answers("probe", r#"echo '{"volume":"v1"}'"#);
        let root = fake.ground.path("copy");
        fake.answers("expose", &format!(r#"echo '{{"root":{root:?}}}'"#));
        fake
    }

    fn answers(&self, verb: &str, script: &str) {
        fs::write(self.ground.path(&format!("do.{verb}")), script).unwrap();
    }

    fn share(&self) -> PathBuf {
        self.ground.path("share")
    }

    /// The verbs since the last call.
    fn asked(&self) -> String {
        let log = self.ground.path("log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        text.trim().replace('\n', " ")
    }

    fn request(&self, verb: &str) -> serde_json::Value {
        let path = self.ground.path(&format!("asked.{verb}"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn commit(&self, deadline: &Deadline) -> (fsrvp_proto::job::CopySource, BackendError) {
        let source = source(&self.backend, &self.share());
        self.asked();
        let sources = std::slice::from_ref(&source);
        let error = self.backend.commit(sources, true, deadline).unwrap_err();
        (source, error)
    }
}

#[test]
fn a_request_says_everything_in_json_and_nothing_in_arguments() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    let mut copy = source(&fake.backend, &fake.share());
    copy.shares[0].share = fsrvp_idl::ShareName::new("$(touch /x); \"'\n--");
    exposed(&fake.backend, &copy);
    assert_eq!(fake.asked(), "probe probe prepare commit expose");
    let request = fake.request("commit");
    let directory = fake.share();
    let expected = serde_json::json!({
        "version": 1, "verb": "commit", "server": "FILER",
        "run_dir": fake.ground.path("run/exec/array"), "limit_ms": 60_000, "writable": true,
        "copies": [{ "id": copy.copy.to_string(), "volume": "v1", "shares": [
            { "share": "$(touch /x); \"'\n--", "directory": directory, "inner": "" }
        ]}]
    });
    assert_eq!(request, expected);
    fake.backend.delete(&copy_ref(&copy)).unwrap();
    assert_eq!(
        fake.request("delete")["copy"],
        serde_json::json!({ "id": copy.copy.to_string(), "volume": "v1" })
    );
}

#[test]
fn a_program_that_hangs_in_commit_is_killed_and_its_work_undone() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    fake.answers(
        "commit",
        "touch begun; sleep 86420; touch finished; echo '{}'",
    );
    let started = Instant::now();
    let limit = Duration::from_millis(300);
    let (_, error) = fake.commit(&Deadline::within(Some(limit)));
    assert!(matches!(error, BackendError::Deadline), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(fake.ground.path("begun").exists());
    assert_eq!(fake.asked(), "probe commit delete");
    assert!(fake.request("commit")["limit_ms"].as_u64().unwrap() <= 300);
}

#[test]
fn what_could_not_be_undone_is_undone_before_the_next_commit() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    fake.answers("commit", "kill -9 $$");
    fake.answers("delete", "echo array is asleep >&2; exit 13");
    let (source, error) = fake.commit(&Deadline::default());
    assert!(
        matches!(error, BackendError::Indeterminate { .. }),
        "{error}"
    );
    assert_eq!(fake.asked(), "probe commit delete");
    fake.answers("commit", "echo '{}'");
    let sources = std::slice::from_ref(&source);
    let busy = fake.backend.commit(sources, true, &Deadline::default());
    let busy = busy.unwrap_err();
    assert!(busy.to_string().contains("array is asleep"), "{busy}");
    assert_eq!(fake.asked(), "probe delete delete");
    fake.answers("delete", "echo '{}'");
    fake.backend
        .commit(sources, true, &Deadline::default())
        .unwrap();
    assert_eq!(fake.asked(), "probe delete commit");
    fake.backend
        .commit(sources, true, &Deadline::default())
        .unwrap();
    assert_eq!(fake.asked(), "probe commit");
}

#[test]
fn a_hanging_seal_is_indeterminate() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    let copy = source(&fake.backend, &fake.share());
    exposed(&fake.backend, &copy);
    fake.answers("seal", "sleep 86421");
    let error = fake.backend.seal(&copy_ref(&copy)).unwrap_err();
    assert!(
        matches!(error, BackendError::Indeterminate { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("array seal: did not end within")
    );
}

#[test]
fn a_program_that_only_says_that_it_sealed_is_found_out() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    let copy = source(&fake.backend, &fake.share());
    let path = exposed(&fake.backend, &copy);
    fake.backend.seal(&copy_ref(&copy)).unwrap();
    match fake.backend.verify_sealed(&copy_ref(&copy), &path) {
        Err(BackendError::NotSealed(via)) => assert_eq!(via, path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_answer() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    let probe = |answer: &str| {
        fake.answers("probe", answer);
        fake.backend.probe(&fake.share()).unwrap_err()
    };
    for wrong in [
        "echo garbage",
        "exit 1",
        "echo '{}'",
        r#"echo '{"volume":""}'"#,
        r#"echo '{"volume":"v","inner":"../up"}'"#,
        r#"echo '{"volume":"v","inner":"/abs"}'"#,
    ] {
        let error = probe(wrong);
        assert!(
            matches!(error, BackendError::Tool { .. }),
            "{wrong}: {error}"
        );
    }
    let error =
        probe(r#"echo '{"error":{"kind":"unsupported","path":"/a/b","reason":"no"}}'; exit 1"#);
    assert_eq!(error.to_string(), "/a/b: no");
    for wrong in [
        r#"{"copies":[{"id":"../x","volume":"v"}]}"#,
        "{}",
        r#"{"copies":1}"#,
    ] {
        fake.answers("enumerate", &format!("echo '{wrong}'"));
        let error = fake.backend.enumerate().unwrap_err();
        assert!(
            matches!(error, BackendError::Tool { .. }),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn a_root_has_to_hold_the_share() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    let mut copy = source(&fake.backend, &fake.share());
    copy.shares[0].inner = "a/b".into();
    let mut exposed = exposure(&copy);
    exposed.inner = "a/b".into();
    let expose = || fake.backend.expose(&exposed);
    let missing = expose().unwrap_err();
    assert!(matches!(missing, BackendError::NotFound(_)), "{missing}");
    // A link that leads out of the copy is not followed.
    fs::create_dir(fake.ground.path("b")).unwrap();
    symlink(fake.ground.path(""), fake.ground.path("copy/a")).unwrap();
    let outside = expose().unwrap_err();
    assert!(matches!(outside, BackendError::NotFound(_)), "{outside}");
    fs::remove_file(fake.ground.path("copy/a")).unwrap();
    fs::create_dir_all(fake.ground.path("copy/a/b")).unwrap();
    assert_eq!(expose().unwrap(), fake.ground.path("copy/a/b"));
    fake.answers("expose", r#"echo '{"root":"copy"}'"#);
    assert!(matches!(expose(), Err(BackendError::Tool { .. })));
}

#[test]
fn a_share_that_moves_after_prepare_is_not_copied() {
    if !lab() {
        return;
    }
    let fake = Fake::new();
    let copy = source(&fake.backend, &fake.share());
    let sources = std::slice::from_ref(&copy);
    fake.backend.prepare(sources, &Deadline::default()).unwrap();
    fs::rename(fake.share(), fake.ground.path("moved")).unwrap();
    fs::create_dir(fake.share()).unwrap();
    fake.asked();
    let error = fake
        .backend
        .commit(sources, true, &Deadline::default())
        .unwrap_err();
    assert!(matches!(error, BackendError::Unsupported { .. }), "{error}");
    assert_eq!(fake.asked(), "delete");
    // Nor one whose volume is another one now.
    fake.backend.prepare(sources, &Deadline::default()).unwrap();
    fake.answers("probe", r#"echo '{"volume":"v2"}'"#);
    run(
        "mount",
        &[
            "-t",
            "tmpfs",
            "none",
            fake.ground.path("copy").to_str().unwrap(),
        ],
    );
    fake.asked();
    let error = fake
        .backend
        .commit(sources, true, &Deadline::default())
        .unwrap_err();
    assert!(matches!(error, BackendError::Unsupported { .. }), "{error}");
    assert_eq!(fake.asked(), "probe delete");
}

#[test]
fn a_path_that_is_no_text_is_refused() {
    if !lab() {
        return;
    }
    use std::os::unix::ffi::OsStrExt;
    let fake = Fake::new();
    let odd = fake.share().join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    let error = fake.backend.probe(&odd).unwrap_err();
    assert!(matches!(error, BackendError::Unsupported { .. }), "{error}");
    assert_eq!(fake.asked(), "");
}
