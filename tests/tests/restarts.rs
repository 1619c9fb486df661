//! smbd, samba-dcerpcd and the agent are restarted in the middle of a set, and the set goes on.

use fsrvp_testkit::{Lab, LabOptions, comes_true};
use fsrvp_tests::restarts::{Victim, set_with};
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    Suite::new(LabOptions::for_test)
        .case("smbd", |lab| set_with(lab, Victim::Smbd))
        .case("samba_dcerpcd", |lab| set_with(lab, Victim::Dcerpcd))
        .case("agent", |lab| set_with(lab, Victim::Agent))
        .case("agent_killed", |lab| set_with(lab, Victim::AgentKilled))
        .case("everything", |lab| set_with(lab, Victim::Everything))
        .case("samba_dcerpcd_does_not_keep_the_pipe", stolen_pipe)
        .and_nothing_is_left()
        .run()
}

/// A samba-dcerpcd that brings Samba's own agent re-creates the socket of the pipe.
fn stolen_pipe(lab: &Lab) -> CaseResult {
    let judge = Judge::ready()?;
    let pipe = lab.pipe();
    fs::remove_file(&pipe)?;
    let thief = UnixListener::bind(&pipe)?;
    thief.set_nonblocking(true)?;
    // The agent takes it back; until then a client would wait for the thief's answer.
    let taken_back = || UnixStream::connect(&pipe).is_ok() && thief.accept().is_err();
    if !comes_true(Duration::from_millis(500), taken_back) {
        return fail("the pipe is still the thief's after half a second");
    }
    judge.succeeds(lab, &["get_supported_version"]).map(drop)
}
