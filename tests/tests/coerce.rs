//! ShadowCoerce through smbd: neither the agent nor its helper says a word to the network, whatever
//! host a caller names.

use fsrvp_testkit::{AgentKind, Lab, LabOptions, NetworkTrace, programs};
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new(LabOptions::for_test)
        .case("hosts_are_never_asked", |lab| {
            let calls = provoked(lab)?;
            match calls.is_empty() {
                true => Ok(()),
                false => fail(calls.join("\n")),
            }
        })
        .case("an_agent_that_asks_is_caught", |_| control())
        .run()
}

/// The same agent, except that it connects to every host that it is given.
fn control() -> CaseResult {
    let examples = programs::program("examples")?;
    let lab = Lab::up(LabOptions::for_test(AgentKind::Fsrvpd(
        examples.join("resolving_fsrvpd"),
    )))?;
    let calls = provoked(&lab)?;
    lab.down()?;
    // Each of the five methods, for 127.0.0.9 with and without a port and ::1 twice.
    match calls.len() {
        20.. => Ok(()),
        found => fail(format!(
            "only {found} of 20 calls were seen:\n{}",
            calls.join("\n")
        )),
    }
}

/// What agent and helper say to the network while they are asked about hosts.
fn provoked(lab: &Lab) -> Result<Vec<String>, libtest_mimic::Failed> {
    let judge = Judge::ready()?;
    // The helper is there from the first question about a share on.
    judge.case(lab, "names::own_hosts")?;
    let agent = lab.agent_pid().ok_or("no agent")?;
    let mut family = vec![agent];
    family.extend(children(agent));
    if family.len() < 2 {
        return fail("the agent has no helper");
    }
    let trace = NetworkTrace::of(&family)?;
    judge.case(lab, "coerce::hosts")?;
    Ok(trace.network_calls()?)
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
    let children = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids: Vec<u32> = text.split_whitespace().flat_map(str::parse).collect();
        pids
    };
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(children)
        .collect()
}
