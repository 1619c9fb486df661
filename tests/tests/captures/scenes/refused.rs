//! What is not there, not possible now, or not for everybody.

use super::damaged::VERBS;
use crate::house::House;
use crate::session::Session;
use fsrvp_tests::operator::Step;
use libtest_mimic::Failed;

/// Nothing has this id.
const UNKNOWN: &str = "00000000-0000-0000-0000-00000000abcd";

pub(crate) fn refused(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    let recovered = house.backup(&["vm"], Step::Recover)?.set.to_string();
    session.run(&["show", UNKNOWN])?;
    session.run(&["show", "00000000-0000-0000-0000-0000"])?;
    session.run(&["show", "tuesday"])?;
    session.run(&["show", ""])?;
    session.run(&["abort", UNKNOWN])?;
    session.run(&["abort", &recovered])?;
    session.run(&["seal", UNKNOWN])?;
    session.run(&["seal", &recovered])?;
    session.run(&["delete", UNKNOWN])?;
    session.run(&["delete", "--copy", UNKNOWN])?;
    session.run(&["delete", "--copy", "tuesday"])?;
    session.run(&["delete", "--snapshot", "vm", "tuesday"])?;
    session.run(&["delete", "--snapshot", "vm", "tuesday", "--server", "OTHER"])?;
    session.run(&["restore", "vm", "x", "--snapshot", "tuesday"])?;
    session.run(&["restore", "vm", "x", "--copy", "vm@{tuesday}"])?;
    session.run(&["restore", "none", "x", "--snapshot", "tuesday"])?;
    session.run(&["restore", "vm", "../x", "--snapshot", "tuesday"])?;
    session.run(&["restore", "vm", "/etc/passwd", "--snapshot", "tuesday"])?;
    session.run(&[
        "restore",
        "vm",
        "x",
        "--snapshot",
        "tuesday",
        "--server",
        "OTHER",
    ])?;
    session.run(&["events", "--set", "tuesday"])?;
    session.run(&["show", UNKNOWN, "--json"])
}

pub(crate) fn stranger(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    for verb in VERBS {
        session.run(verb)?;
    }
    let _ = std::fs::remove_file("/run/files/stranger.json");
    session.run(&["doctor"])?;
    session.run(&["report", "/run/files/stranger.json"])?;
    session.run(&["config", "check"])?;
    session.run(&["status", "--json"])
}
