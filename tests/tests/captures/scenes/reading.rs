//! Verbs that show something.

use crate::house::{House, next_second};
use crate::session::Session;
use fsrvp_tests::operator::Step;
use libtest_mimic::Failed;

pub(crate) fn nothing(_: &mut House, session: &mut Session) -> Result<(), Failed> {
    session.run(&["status"])?;
    session.run(&["sets"])?;
    session.run(&["shares"])?;
    session.run(&["providers"])?;
    session.run(&["connections"])?;
    session.run(&["snapshots"])?;
    session.run(&["space"])?;
    session.run(&["targets", "list"])?;
    session.run(&["config", "show"])
}

pub(crate) fn sets(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    let recovered = house.backup(&["vm"], Step::Recover)?;
    house.kept(&recovered)?;
    next_second();
    let exposed = house.backup(&["sql", "vms"], Step::Expose)?;
    session.run(&["status"])?;
    session.run(&["sets"])?;
    session.run(&["show", &recovered.set.to_string()])?;
    session.run(&["show", &exposed.set.to_string()[..13]])?;
    session.run(&["connections"])?;
    session.run(&["snapshots"])?;
    session.run(&["space"])?;
    session.run(&["shares"])?;
    drop((recovered, exposed));
    house.clear()?;
    let committed = house.backup(&["sql"], Step::Commit)?;
    session.run(&["sets"])?;
    session.run(&["show", &committed.set.to_string()])
}

pub(crate) fn events(house: &mut House, session: &mut Session) -> Result<(), Failed> {
    let backup = house.backup(&["sql"], Step::Recover)?;
    let set = backup.set.to_string();
    drop(backup);
    session.run(&["events", "--set", &set])?;
    session.run(&["events", "--set", &set[..8], "--limit", "2"])?;
    session.run(&["events", "--limit", "3"])?;
    session.run(&["events", "--set", "00000000-0000-0000-0000-00000000abcd"])?;
    // The watch begins with what comes after it; so something comes until it has seen that.
    let aborted = || -> Result<(), Failed> {
        let backup = house.backup(&["sql"], Step::SetContext)?;
        drop(backup);
        Ok(())
    };
    session.run_until_seen(&["watch", "--count", "1"], aborted)
}
