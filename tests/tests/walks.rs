//! `rpcclient` makes, uses and deletes shadow copies of every kind of share.

use fsrvp_testkit::{AgentKind, Lab, LabOptions, ShareKey};
use fsrvp_tests::descriptors::descriptors_are_the_same;
use fsrvp_tests::obstacles::{Obstacle, are_named};
use fsrvp_tests::walk::{Walk, exposed};
use fsrvp_tests::{CaseResult, Suite, fail};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = Suite::new(|agent: AgentKind| LabOptions::for_test(agent));
    for key in [ShareKey::A, ShareKey::B, ShareKey::Hidden, ShareKey::Subdir] {
        for writable in [false, true] {
            let name = format!("{}_{}", if writable { "rw" } else { "ro" }, key.key());
            suite = suite.case(name.to_lowercase(), move |lab| {
                Walk::of(lab).run(key, writable)
            });
        }
    }
    suite
        .case("two_volumes_in_one_set", two_volumes)
        .case("a_plain_user_is_refused", plain_user)
        .case(
            "security_descriptors_are_the_same",
            descriptors_are_the_same,
        )
        .case("what_is_in_the_way_is_named", |lab| {
            let all = [Obstacle::Subvolume, Obstacle::Mount];
            are_named(lab, ShareKey::B, &all)
        })
        .and_nothing_is_left()
        .run()
}

fn two_volumes(lab: &Lab) -> CaseResult {
    let walk = Walk::of(lab);
    let names = [ShareKey::A, ShareKey::B].map(|key| lab.share(key).name);
    let created = walk.create("rw", &names)?;
    for (name, copy) in names.iter().zip(&created.copies) {
        if !walk.put(&exposed(name, copy), "made")? {
            return fail(format!("the copy of {name} cannot be written"));
        }
    }
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    for (name, copy) in names.iter().zip(&created.copies) {
        walk.succeeds(&format!("fss_delete {name} {} {copy}", created.set))?;
    }
    Ok(())
}

fn plain_user(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::A).name;
    for command in ["fss_is_path_sup", "fss_create_expose backup ro"] {
        let output = lab
            .rpcclient(lab.plain(), &format!("{command} {share}"))
            .output()?;
        if !output.says("0x80070005") {
            return fail(format!("{command}: {}", output.text()));
        }
    }
    Ok(())
}
