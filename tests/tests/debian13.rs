//! The same walks with the Samba of Debian 13 (4.22), whose pipe hand-over has another level.

use fsrvp_testkit::{Lab, LabOptions, ShareKey};
use fsrvp_tests::restarts::{Victim, set_with};
use fsrvp_tests::walk::Walk;
use fsrvp_tests::{CaseResult, Judge, Suite, debian, fail};
use std::process::ExitCode;

/// What a hand-over, a share definition or a seal could do differently there.
const JUDGES: [&str; 9] = [
    "flows::writable_snapshot_single_node",
    "flows::readonly_snapshot_backup",
    "names::own_hosts",
    "sets::hidden_share",
    "sets::share_from_the_registry",
    "sets::share_from_an_included_file",
    "states::a_plain_user_may_nothing",
    "seal::an_open_handle_cannot_write",
    "seal::root_cannot_write_where_smbd_serves",
];

fn main() -> ExitCode {
    let mut suite = Suite::new(|agent| {
        let options = LabOptions::for_test(agent);
        // Without a root the laboratory fails to come up, and that says why.
        options.system(debian("trixie").unwrap_or_else(|error| error.to_string().into()))
    })
    .case("samba_is_4_22", version);
    for key in [ShareKey::A, ShareKey::Hidden, ShareKey::Subdir] {
        for writable in [false, true] {
            let name = format!("{}_{}", if writable { "rw" } else { "ro" }, key.key());
            suite = suite.case(name.to_lowercase(), move |lab| {
                Walk::of(lab).run(key, writable)
            });
        }
    }
    suite
        .cases(Judge::cases(|name| JUDGES.contains(&name)))
        .case("everything_restarted", |lab| {
            set_with(lab, Victim::Everything)
        })
        .and_nothing_is_left()
        .run()
}

fn version(lab: &Lab) -> CaseResult {
    let listing = lab.smbd_version()?;
    if listing.contains("4.22") {
        Ok(())
    } else {
        fail(listing)
    }
}
