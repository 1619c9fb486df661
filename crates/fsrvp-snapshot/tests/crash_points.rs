//! The lists of crash points and the points in the code are the same.
#![allow(clippy::unwrap_used, reason = "the helpers of a test")]

use fsrvp_snapshot::{PREVIOUS_CRASH_POINTS, btrfs, clone, exec, zfs};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Points in a file, or in all files of a directory.
fn passed_in(path: &Path) -> BTreeSet<String> {
    if path.is_dir() {
        let files = fs::read_dir(path).unwrap();
        return files
            .flat_map(|file| passed_in(&file.unwrap().path()))
            .collect();
    }
    let text = fs::read_to_string(path).unwrap();
    let points = text.split("crash::point(\"").skip(1);
    points
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_lists_are_complete() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (place, listed) in [
        (
            "btrfs",
            [btrfs::CRASH_POINTS, btrfs::KEEP_CRASH_POINTS].concat(),
        ),
        ("clone", clone::CRASH_POINTS.to_vec()),
        ("exec", exec::CRASH_POINTS.to_vec()),
        ("previous.rs", PREVIOUS_CRASH_POINTS.to_vec()),
        ("zfs", zfs::CRASH_POINTS.to_vec()),
    ] {
        let listed = listed.into_iter().map(str::to_owned).collect();
        assert_eq!(passed_in(&sources.join(place)), listed, "{place}");
    }
}
