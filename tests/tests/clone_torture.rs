//! The same as `torture.rs` where every share is on XFS and copies are clones.

use fsrvp_tests::torture::{options, previous_versions, ten_of_ten};
use fsrvp_tests::{Judge, Suite};
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new(|agent| options(agent).xfs())
        .case("ten_of_ten_in_one_process", ten_of_ten)
        .case("ten_of_ten_in_one_process_again", ten_of_ten)
        .case("previous_versions_hold_the_data", previous_versions)
        .cases(Judge::cases(|name| {
            name == "sets::two_shares_of_a_volume_share_a_copy"
        }))
        .run()
}
