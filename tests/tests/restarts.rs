//! smbd, samba-dcerpcd and the agent are restarted in the middle of a set, and the set goes on.

use fsrvp_testkit::{Lab, LabOptions};
use fsrvp_tests::restarts::{Victim, set_with};
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use std::fs;
use std::process::ExitCode;

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
    use std::os::unix::net::UnixListener;
    let judge = Judge::ready()?;
    let pipe = lab.pipe();
    fs::remove_file(&pipe)?;
    let thief = UnixListener::bind(&pipe)?;
    let began = std::time::Instant::now();
    // The agent takes it back; until then a client would wait for the thief's answer.
    while std::os::unix::net::UnixStream::connect(&pipe).is_ok() {
        thief.set_nonblocking(true)?;
        if thief.accept().is_err() {
            break;
        }
        if began.elapsed() > std::time::Duration::from_secs(5) {
            return fail("the pipe is still the thief's");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let took = began.elapsed();
    judge.succeeds(lab, &["get_supported_version"])?;
    if took.as_millis() > 500 {
        return fail(format!("it took {took:?} to take the pipe back"));
    }
    Ok(())
}
