//! The machine's clock, as it is when somebody sets it.

use crate::room::Room;
use fsrvp_testkit::{Lab, MinAuthLevel, comes_true, process, unix_http_get};
use fsrvp_tests::operator::Step;
use fsrvp_tests::{CaseResult, fail, faketime_library};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The wall clock jumps forward by a day and back by two, in the middle of a backup, where sets go
/// by their age: no deadline notices, no set goes, and the operator is told each time.
pub(crate) fn jumps(lab: &Lab) -> CaseResult {
    lab.reconfigure(MinAuthLevel::None, &["retention = { age = \"12h\" }"])?;
    lab.stop_agent(false)?;
    let (clock, library) = (lab.dir().join("clock"), faketime_library()?);
    fs::write(&clock, "+0\n")?;
    let environment = [
        ("LD_PRELOAD", &*library.to_string_lossy()),
        ("FAKETIME_TIMESTAMP_FILE", &*clock.to_string_lossy()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut agent = lab.spawn_agent(&environment, &[])?;
    let done = with_a_clock(lab, &clock, agent.id());
    lab.stop_agent(true)?;
    agent.wait()?;
    fs::remove_file(&clock)?;
    lab.reconfigure(MinAuthLevel::None, &[])?;
    done?;
    Room::enter(lab).recovers()
}

fn with_a_clock(lab: &Lab, clock: &Path, agent: u32) -> CaseResult {
    let serves = || unix_http_get(&lab.admin_socket(), "/v1/health").is_ok();
    if !comes_true(PATIENCE, serves) {
        return fail("the agent does not serve");
    }
    let mut backup = Room::enter(lab).backup()?;
    backup.walks(Step::Commit)?;
    fs::write(clock, "+1d\n")?;
    is_told(lab, agent, "13h")?;
    backup.does(Step::Expose)?;
    backup.does(Step::Recover)?;
    // By this clock the set is from tomorrow, and the next from yesterday.
    fs::write(clock, "-1d\n")?;
    is_told(lab, agent, "14h")?;
    Room::enter(lab).backup()?.walks(Step::Delete)?;
    fs::write(clock, "+2d\n")?;
    is_told(lab, agent, "15h")?;
    let room = Room::enter(lab);
    if room.count("sets")? != 1 {
        return fail(format!("the clock has ended a set: {}", room.view()?));
    }
    backup.does(Step::Delete)?;
    room.is_clean()
}

/// The agent looks for old sets, as a changed rule makes it do at once, and says what it has found
/// of the clock.
fn is_told(lab: &Lab, agent: u32, age: &str) -> CaseResult {
    let room = Room::enter(lab);
    let config = lab.agent_config();
    let text = fs::read_to_string(&config)?;
    let lines = text
        .lines()
        .map(|line| match line.starts_with("retention") {
            true => format!("retention = {{ age = \"{age}\" }}\n"),
            false => format!("{line}\n"),
        });
    fs::write(&config, lines.collect::<String>())?;
    process::signal(agent, Signal::HUP);
    room.reports("the clock jumps", &[])
}
