//! A backend that is a program of the site, the example that is shipped, on XFS and behind smbd.

use fsrvp_testkit::{Lab, LabOptions, ShareKey};
use fsrvp_tests::descriptors::descriptors_are_the_same;
use fsrvp_tests::obstacles::{Obstacle, are_named};
use fsrvp_tests::others::{walks, what_is_said};
use fsrvp_tests::restarts::{Victim, set_with};
use fsrvp_tests::{CaseResult, Suite, fail};
use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let suite = Suite::new(|agent| LabOptions::for_test(agent).site_program());
    walks(suite)
        .case(
            "security_descriptors_are_the_same",
            descriptors_are_the_same,
        )
        .case("what_is_said_of_it", |lab| {
            what_is_said(lab, "tree", "Hardware")
        })
        .case("restarts_of_the_agent", |lab| {
            set_with(lab, Victim::AgentKilled)
        })
        .case("what_is_in_the_way_is_named", |lab| {
            are_named(lab, ShareKey::B, &[Obstacle::Mount])
        })
        .and_nothing_is_left()
        .case("nothing_is_left_in_the_area", nothing_is_left)
        .run()
}

fn nothing_is_left(lab: &Lab) -> CaseResult {
    for volume in ["btrfs1", "btrfs2"] {
        let area = lab.volume(volume).join(".fsrvpd-trees");
        for entry in fs::read_dir(area.join(lab.server_name()))? {
            let name = entry?.file_name();
            if name != "lock" {
                return fail(format!("{name:?} is left in {}", area.display()));
            }
        }
    }
    Ok(())
}
