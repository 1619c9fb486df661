//! A laboratory's agent without RPC security: the pipe's identity decides, and garbage reaches every
//! decoder.

use fsrvp_testkit::{LabOptions, MinAuthLevel};
use fsrvp_tests::{Judge, Suite};
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted = |name: &str| {
        name.starts_with("garbage::")
            || name.starts_with("flows::writable")
            || name == "states::a_plain_user_may_nothing"
    };
    Suite::new(|agent| LabOptions::for_test(agent).min_auth_level(MinAuthLevel::None))
        .cases(Judge::cases(wanted))
        .and_nothing_is_left()
        .run()
}
