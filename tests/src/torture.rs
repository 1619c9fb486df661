//! `smbtorture rpc.fsrvp` under the profile whose answers it insists on.

use crate::walk::Walk;
use crate::{CaseResult, fail};
use fsrvp_testkit::{AgentKind, Lab, LabOptions, Profile, SequenceTimeout, ShareKey, until};
use libtest_mimic::Failed;
use std::fs;
use std::time::Duration;

const TESTS: [&str; 10] = [
    "share_sd",
    "enum_created",
    "sc_share_io",
    "bad_id",
    "sc_set_abort",
    "create_simple",
    "set_ctx",
    "get_version",
    "is_path_supported",
    "seq_timeout",
];

/// Long enough for a loaded machine, short enough to wait for five times.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A laboratory as it needs one.
#[must_use]
pub fn options(agent: AgentKind) -> LabOptions {
    LabOptions::for_test(agent)
        .profile(Profile::Ws2012)
        .sequence_timeout(SequenceTimeout {
            short: TIMEOUT,
            long: TIMEOUT,
        })
}

/// All ten succeed in one process.
///
/// # Errors
/// Those that do not.
pub fn ten_of_ten(lab: &Lab) -> CaseResult {
    // enum_created counts from nothing: wait until the sets of an earlier run have timed out.
    wait_for_no_previous_version(lab)?;
    let run = lab
        .smbtorture(lab.admin(), &["rpc.fsrvp"])
        .limit(Duration::from_secs(300));
    let output = run.output()?;
    let missing: Vec<_> = TESTS
        .iter()
        .filter(|name| !output.stdout.contains(&format!("success: fsrvp.{name}\n")))
        .collect();
    if missing.is_empty() && output.status.success() {
        return Ok(());
    }
    fail(format!("{missing:?} did not succeed\n{}", output.text()))
}

/// What Windows shows under "Previous Versions", as smbclient sees it.
///
/// # Errors
/// What is missing.
pub fn previous_versions(lab: &Lab) -> CaseResult {
    let (share, walk) = (lab.share(ShareKey::Torture), Walk::of(lab));
    let file = share.path.join("moment");
    fs::write(&file, "before")?;
    let created = walk.create("ro", &[share.name])?;
    fs::write(&file, "after")?;
    let listing = lab
        .smbclient(lab.backup(), share.name, "allinfo moment")
        .check()?;
    let label = listing
        .stdout
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("@GMT-"));
    let Some(label) = label else {
        return fail(listing.text());
    };
    walk.holds(share.name, &format!(r"{label}\moment"), "before")?;
    walk.holds(share.name, "moment", "after")?;
    for copy in &created.copies {
        walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
    }
    wait_for_no_previous_version(lab)
}

fn wait_for_no_previous_version(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::Torture).name;
    let mut said = String::new();
    let gone = until(TIMEOUT * 5, || {
        let listing = lab.smbclient(lab.admin(), share, "allinfo .").output()?;
        said = listing.text();
        Ok::<_, Failed>((!listing.says("@GMT-")).then_some(()))
    })?;
    gone.ok_or_else(|| format!("previous versions outlive their sets:\n{said}").into())
}
