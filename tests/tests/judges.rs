//! Microsoft's flows, names, sets, states and seals under the `spec` profile, every call signed, judged
//! by impacket. Garbage is thrown in `unsigned.rs`, where it gets further.

use fsrvp_testkit::LabOptions;
use fsrvp_tests::{Judge, Suite};
use std::process::ExitCode;

/// Needs another configuration: `shared_volume.rs`.
const ELSEWHERE: &str = "sets::two_shares_of_a_volume_share_a_copy";
/// Judged in suites of their own: `security.rs`, `winbind.rs`, `domain.rs`, `coerce.rs`.
const OTHERS: [&str; 3] = ["security::", "logons::", "coerce::"];

fn main() -> ExitCode {
    Suite::new(LabOptions::for_test)
        .cases(Judge::cases(|name| {
            let elsewhere = OTHERS.iter().any(|module| name.starts_with(module));
            name != ELSEWHERE && !name.starts_with("garbage::") && !elsewhere
        }))
        .run()
}
