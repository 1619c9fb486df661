//! Two shares of one volume in one set, where the configuration allows it.

use fsrvp_testkit::LabOptions;
use fsrvp_tests::{Judge, Suite};
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted = [
        "sets::two_shares_of_a_volume_share_a_copy",
        "sets::two_volumes",
    ];
    Suite::new(|agent| LabOptions::for_test(agent).allow_shared_volume())
        .cases(Judge::cases(|name| wanted.contains(&name)))
        .and_nothing_is_left()
        .run()
}
