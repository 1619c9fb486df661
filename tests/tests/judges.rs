//! Microsoft's flows, names, sets, states and seals under the `spec` profile, every call signed, judged
//! by impacket. Garbage is thrown in `unsigned.rs`, where it gets further.

use fsrvp_testkit::LabOptions;
use fsrvp_tests::{Judge, Suite};
use std::process::ExitCode;

/// Needs another configuration: `shared_volume.rs`.
const ELSEWHERE: &str = "sets::two_shares_of_a_volume_share_a_copy";
/// Needs several configurations: `security.rs`, `winbind.rs`, `domain.rs`.
const SECURITY: &str = "security::";

fn main() -> ExitCode {
    Suite::new(LabOptions::for_test)
        .cases(Judge::cases(|name| {
            name != ELSEWHERE && !name.starts_with("garbage::") && !name.starts_with(SECURITY)
        }))
        .run()
}
