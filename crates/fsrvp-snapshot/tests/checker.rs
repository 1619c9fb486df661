//! What `fsrvpctl backend-check` finds.
#![allow(clippy::unwrap_used, reason = "the helpers of a test")]

mod common;

use common::{Ground, lab};
use fsrvp_snapshot::ExecLimits;
use fsrvp_snapshot::battery::{Verdict, check_program};
use fsrvp_sys::mountinfo::MountTable;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The example with some of its words exchanged, checked on an XFS of its own.
fn broken(changes: &[(&str, &str)]) -> Vec<String> {
    let ground = Ground::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/backends");
    let mut text = fs::read_to_string(example.join("reflink-tree")).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let script = ground.path("script");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let directory = ground.xfs("a").join("tests");
    fs::create_dir(&directory).unwrap();
    let mut broken = Vec::new();
    let mut tried = 0;
    let mut not_tried = Vec::new();
    let report = |name: &'static str, verdict: Verdict| {
        println!("{name}: {verdict:?}");
        match verdict {
            Verdict::Kept => tried += 1,
            Verdict::Broken(_) => broken.push(name.to_owned()),
            Verdict::NotTried(needs) => not_tried.push((name, needs)),
        }
    };
    let command = [script.to_str().unwrap().to_owned()];
    check_program(&command, ExecLimits::default(), &directory, None, report).unwrap();
    assert!(tried > 20);
    // Programs keep no snapshots, and this one copies a share at a time.
    let keeping = "a backend that keeps snapshots";
    let expected = [
        (
            "two_shares_of_a_volume_in_one_copy",
            "volumes that hold several shares",
        ),
        ("a_kept_snapshot_outlives_its_copy", keeping),
        ("a_copy_is_kept_once_under_a_name", keeping),
        ("what_can_still_be_written_is_not_kept", keeping),
        ("kept_snapshots_are_in_nobody_s_way", keeping),
    ];
    assert_eq!(not_tried, expected);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    let mounts = MountTable::read().unwrap().0;
    let below = mounts
        .iter()
        .filter(|mount| mount.point.starts_with(&directory));
    assert_eq!(below.count(), 0);
    broken
}

#[test]
fn the_example_keeps_the_contract() {
    if !lab() {
        return;
    }
    assert_eq!(broken(&[]), [""; 0]);
}

#[test]
fn a_script_that_cuts_corners_is_found_out() {
    if !lab() {
        return;
    }
    let found = broken(&[
        // It says that it speaks every version.
        ("request[\"version\"] != 1", "False"),
        // It makes a copy again that it has.
        (
            "            return\n        part, path",
            "            shutil.rmtree(os.path.join(area, copy[\"id\"]))\n        part, path",
        ),
        // It does not look whose copy it deletes.
        ("        if found != volume:", "        if False:"),
    ]);
    let expected = [
        "an_unknown_version_is_an_error",
        "everything_may_be_repeated",
        "everything_may_be_repeated_after_a_restart",
        "a_copy_of_another_volume_is_not_touched",
    ];
    assert_eq!(found, expected);
}
