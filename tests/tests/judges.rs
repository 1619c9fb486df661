//! Microsoft's flows, names, sets, states and seals under the `spec` profile, every call signed, judged
//! by impacket. Garbage is thrown in `unsigned.rs`, where it gets further.

use fsrvp_testkit::{Lab, LabOptions, Run, programs};
use fsrvp_tests::{CaseResult, Judge, Suite, guide};
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
        .case("as_the_guide_calls_them", as_the_guide)
        .run()
}

/// The commands of docs/laboratory.md, in a laboratory that is there.
fn as_the_guide(lab: &Lab) -> CaseResult {
    Judge::ready()?;
    let file = lab.environment_file();
    for command in guide::commands_of("docs/laboratory.md", "judges")? {
        let run = Run::new("sh").args(["-ec", &command]);
        let directory = file.parent().unwrap_or(&file);
        run.env("DIR", directory)
            .directory(programs::workspace())
            .check()?;
    }
    Ok(())
}
