//! smbd, samba-dcerpcd and the agent are restarted in the middle of a set, and the set goes on.

use fsrvp_testkit::{Lab, LabOptions, ShareKey};
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use libtest_mimic::Failed;
use std::fs;
use std::process::ExitCode;

/// A writable backup, so that RecoveryComplete has something to seal.
const CONTEXT: &str = "0x00400000";

#[derive(Clone, Copy)]
enum Victim {
    Smbd,
    Dcerpcd,
    Agent,
    AgentKilled,
    Everything,
}

fn main() -> ExitCode {
    Suite::new(LabOptions::for_test)
        .case("smbd", |lab| set_with(lab, Victim::Smbd))
        .case("samba_dcerpcd", |lab| set_with(lab, Victim::Dcerpcd))
        .case("agent", |lab| set_with(lab, Victim::Agent))
        .case("agent_killed", |lab| set_with(lab, Victim::AgentKilled))
        .case("everything", |lab| set_with(lab, Victim::Everything))
        .case("samba_dcerpcd_does_not_keep_the_pipe", stolen_pipe)
        .run()
}

fn restart(lab: &Lab, victim: Victim) -> CaseResult {
    match victim {
        Victim::Smbd => lab.restart_smbd()?,
        Victim::Dcerpcd => lab.restart_dcerpcd()?,
        Victim::Agent => lab.restart_agent()?,
        Victim::AgentKilled => {
            lab.stop_agent(true)?;
            lab.start_agent()?;
        }
        Victim::Everything => {
            lab.restart_smbd()?;
            lab.restart_dcerpcd()?;
            lab.restart_agent()?;
        }
    }
    Ok(())
}

fn set_with(lab: &Lab, victim: Victim) -> CaseResult {
    let judge = Judge::ready()?;
    let share = lab.share(ShareKey::A);
    let unc = format!(r"\\127.0.0.1\{}", share.name);
    let file = share.path.join("moment");
    judge.call(lab, &["settle"])?;
    fs::write(&file, "before")?;

    judge.succeeds(lab, &["set_context", CONTEXT])?;
    restart(lab, victim)?;
    let set = text(&judge.succeeds(lab, &["start"])?)?;
    restart(lab, victim)?;
    let copy = text(&judge.succeeds(lab, &["add", &set, &unc])?)?;
    restart(lab, victim)?;
    judge.succeeds(lab, &["prepare", &set])?;
    restart(lab, victim)?;
    judge.succeeds(lab, &["commit", &set])?;
    fs::write(&file, "after")?;
    restart(lab, victim)?;
    judge.succeeds(lab, &["expose", &set])?;
    restart(lab, victim)?;
    let exposed = format!("{}@{{{copy}}}", share.name);
    judge.succeeds(lab, &["get_share_mapping", &set, &copy, &unc])?;
    let put = |name: &str| lab.smbclient(lab.backup(), &exposed, &format!("put {name}"));
    put("/etc/hostname made").check()?;
    judge.succeeds(lab, &["recovery_complete", &set])?;
    restart(lab, victim)?;
    if put("/etc/hostname late").output()?.status.success() {
        return fail("a file could be written after RecoveryComplete");
    }
    let place = tempfile::tempdir()?;
    let target = place.path().join("file");
    let get = format!("get moment {}", target.display());
    lab.smbclient(lab.backup(), &exposed, &get).check()?;
    if fs::read_to_string(target)? != "before" {
        return fail("the copy is not of the moment of Commit");
    }
    judge.succeeds(lab, &["delete_share_mapping", &set, &copy, &unc])?;
    restart(lab, victim)?;
    let gone = lab.smbclient(lab.backup(), &exposed, "ls").output()?;
    if gone.status.success() {
        fail("the share is there after Delete")
    } else {
        Ok(())
    }
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

fn text(value: &serde_json::Value) -> Result<String, Failed> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failed::from(format!("no id: {value}")))
}
