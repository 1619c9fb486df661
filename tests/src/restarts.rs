//! Something is restarted between every two calls of a set.

use crate::{CaseResult, Judge, fail};
use fsrvp_testkit::{Lab, ShareKey};
use libtest_mimic::Failed;
use std::fs;

/// A writable backup, so that RecoveryComplete has something to seal.
const CONTEXT: &str = "0x00400000";

/// What is restarted.
#[derive(Debug, Clone, Copy)]
pub enum Victim {
    /// smbd, and with it every connection.
    Smbd,
    /// samba-dcerpcd.
    Dcerpcd,
    /// The agent, in good order.
    Agent,
    /// The agent, by `kill -9`.
    AgentKilled,
    /// All three.
    Everything,
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

/// Walks through a set and restarts `victim` between every two calls.
///
/// # Errors
/// Whatever is not as it has to be.
pub fn set_with(lab: &Lab, victim: Victim) -> CaseResult {
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

fn text(value: &serde_json::Value) -> Result<String, Failed> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failed::from(format!("no id: {value}")))
}
