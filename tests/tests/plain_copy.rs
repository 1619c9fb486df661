//! Plain copies on ext4, the whole program behind smbd.

use fsrvp_testkit::{Lab, LabOptions, ShareKey};
use fsrvp_tests::descriptors::descriptors_are_the_same;
use fsrvp_tests::obstacles::{Obstacle, are_named};
use fsrvp_tests::others::{refused_without_a_disk, walks, what_is_said};
use fsrvp_tests::walk::Walk;
use fsrvp_tests::{CaseResult, Suite, fail};
use std::fs::{self, File};
use std::process::ExitCode;

fn main() -> ExitCode {
    let suite = Suite::new(|agent| LabOptions::for_test(agent).plain_copies());
    walks(suite)
        .case(
            "security_descriptors_are_the_same",
            descriptors_are_the_same,
        )
        .case("what_is_said_of_it", |lab| {
            what_is_said(lab, "copy", "Software")
        })
        .case("a_share_that_is_too_large_is_refused", too_large)
        .case("what_has_no_disk_is_refused", refused_without_a_disk)
        .case("what_is_in_the_way_is_named", |lab| {
            let all = [
                Obstacle::Link,
                Obstacle::Pipe,
                Obstacle::TooDeep,
                Obstacle::Mount,
            ];
            are_named(lab, ShareKey::B, &all)
        })
        .and_nothing_is_left()
        .case("nothing_is_left_in_the_area", nothing_is_left)
        .run()
}

/// At IsPathSupported already, and the log says how large it is.
fn too_large(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::B);
    let large = share.path.join("large");
    let file = File::create(&large)?;
    // It counts what takes space: this takes more than max_bytes without writing it.
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, (1 << 30) + 1)?;
    let supported = format!("fss_is_path_sup {}", share.name);
    let output = lab.rpcclient(lab.backup(), &supported).output()?;
    drop(file);
    fs::remove_file(large)?;
    if !output.says("0x8004230c") {
        return fail(output.text());
    }
    let log = fs::read_to_string(lab.agent_log())?;
    if !log.contains("max_bytes of [server.copy] is 1073741824") {
        return fail("the log does not say what is too large");
    }
    Walk::of(lab).succeeds(&supported)
}

fn nothing_is_left(lab: &Lab) -> CaseResult {
    for volume in ["btrfs1", "btrfs2"] {
        let server = format!("{}+copy", lab.server_name());
        let area = lab
            .volume(volume)
            .join(".fsrvpd")
            .join(server)
            .join("clone");
        for entry in fs::read_dir(&area)? {
            let name = entry?.file_name();
            if name != "trash" {
                return fail(format!("{name:?} is left in {}", area.display()));
            }
        }
    }
    Ok(())
}
