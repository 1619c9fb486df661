//! Two virtual file servers in one daemon, each with a Samba of its own: they walk sets at the same
//! time and do not touch each other.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value without a field is null"
)]

use fsrvp_testkit::{Lab, LabOptions, Run, ShareKey, programs, unix_http, unix_http_get, until};
use fsrvp_tests::walk::{Created, Walk, exposed};
use fsrvp_tests::{CaseResult, Suite, fail};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use std::fs;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// The second server's name; the first has the laboratory's.
const OTHER: &str = "OTHERSRV";
/// Sets that each server makes at the same time as the other.
const SETS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    Suite::new(LabOptions::for_test)
        .case(
            "two_servers_walk_sets_and_do_not_touch_each_other",
            two_servers,
        )
        .and_nothing_is_left()
        .run()
}

/// One daemon that serves both laboratories, as long as this lives.
struct Both<'a> {
    first: &'a Lab,
    second: Lab,
    /// The first one's own configuration.
    config: String,
}

impl<'a> Both<'a> {
    fn start(first: &'a Lab) -> Result<Self, Failed> {
        let agent = fsrvp_testkit::AgentKind::Fsrvpd(programs::program("fsrvpd")?);
        let second = Lab::up(LabOptions::for_test(agent))?;
        second.stop_agent(false)?;
        let read = |lab: &Lab| fs::read_to_string(lab.dir().join("agent/fsrvpd.toml"));
        let config = read(first)?;
        let theirs = read(&second)?;
        let (_, theirs) = theirs.split_once("[[server]]").ok_or("no [[server]]")?;
        let own = format!("name = {:?}", second.server_name());
        let theirs = theirs.replace(&own, &format!("name = {OTHER:?}"));
        first.stop_agent(false)?;
        let merged = format!("{config}\n[[server]]{theirs}");
        fs::write(first.dir().join("agent/fsrvpd.toml"), merged)?;
        first.start_agent()?;
        Ok(Self {
            first,
            second,
            config,
        })
    }

    fn ask(&self, path: &str) -> Result<Value, Failed> {
        let answer = unix_http_get(&self.first.admin_socket(), path)?;
        if answer.status != 200 {
            return fail(format!("{path}: {}", answer.body));
        }
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Ids of the sets of a server.
    fn sets(&self, server: &str) -> Result<Vec<String>, Failed> {
        let sets = self.ask("/v1/sets")?;
        let sets = sets["servers"][server]["sets"].as_array().cloned();
        let sets = sets.ok_or_else(|| Failed::from(format!("no server {server}")))?;
        let ids = sets.iter().filter_map(|set| set["id"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    fn labs(&self) -> [(&'static str, &Lab); 2] {
        [
            (self.first.server_name(), self.first),
            (OTHER, &self.second),
        ]
    }
}

impl Drop for Both<'_> {
    fn drop(&mut self) {
        let _ = self.first.stop_agent(false);
        let _ = fs::write(self.first.dir().join("agent/fsrvpd.toml"), &self.config);
        if let Err(error) = self.first.start_agent() {
            println!("the laboratory's own agent does not start: {error}");
        }
    }
}

/// Shares of our making in a Samba's registry.
fn registered(lab: &Lab) -> Result<String, Failed> {
    let list = Run::new("net").arg("-s").arg(lab.smb_conf());
    Ok(list.args(["conf", "listshares"]).check()?.stdout)
}

fn two_servers(lab: &Lab) -> CaseResult {
    let both = Both::start(lab)?;
    let share = lab.share(ShareKey::B).name;
    // Several whole lives at the same time, and then one set each that stays.
    let barrier = Barrier::new(2);
    let walk = |lab: &Lab| -> Result<Created, Failed> {
        barrier.wait();
        for _ in 0..SETS {
            Walk::of(lab).run(ShareKey::A, true)?;
        }
        let created = Walk::of(lab).create("rw", &[share])?;
        let copy = created.copies.first().map_or("", String::as_str);
        Walk::of(lab).put(&exposed(share, copy), "mine")?;
        Ok(created)
    };
    let (ours, theirs) = thread::scope(|scope| {
        let ours = scope.spawn(|| walk(both.first));
        let theirs = scope.spawn(|| walk(&both.second));
        (ours.join(), theirs.join())
    });
    let lost = |_| Failed::from("a walk panicked");
    let (ours, theirs) = (ours.map_err(lost)??, theirs.map_err(lost)??);

    let apart = |when: &str| -> CaseResult {
        for ((name, lab), (own, other)) in both
            .labs()
            .into_iter()
            .zip([(&ours, &theirs), (&theirs, &ours)])
        {
            if both.sets(name)? != [own.set.clone()] {
                return fail(format!("{when}: {name} has {:?}", both.sets(name)?));
            }
            let shares = registered(lab)?;
            let has = |created: &Created| shares.contains(&created.copies[0]);
            if !has(own) || has(other) {
                return fail(format!("{when}: {name} offers {shares}"));
            }
            // Its clients still reach it.
            if !Walk::of(lab).put(&exposed(share, &own.copies[0]), "again")? {
                return fail(format!("{when}: the copy of {name} cannot be written"));
            }
        }
        Ok(())
    };
    apart("after the walks")?;

    // Events, figures and the doctor tell them apart.
    let events = both.ask(&format!("/v1/events?set={}", theirs.set))?;
    let of_other = events["events"].as_array().cloned().unwrap_or_default();
    if of_other.is_empty() || of_other.iter().any(|event| event["server"] != OTHER) {
        return fail(format!("events of the other: {events}"));
    }
    let figures = unix_http_get(&lab.admin_socket(), "/metrics")?.body;
    for (name, _) in both.labs() {
        let line = format!("fsrvpd_sets_total{{server=\"{name}\",outcome=\"recovered\"}} {SETS}");
        if !figures.contains(&line) {
            return fail(format!("no {line:?} in {figures}"));
        }
    }
    // A share of both is nobody's until the server is named, and copies do not cross over.
    let ctl = |arguments: &[&str]| -> Result<(Option<i32>, String), Failed> {
        let output = Run::new(programs::program("fsrvpctl")?)
            .arg("--socket")
            .arg(lab.admin_socket())
            .args(arguments)
            .output()?;
        Ok((output.status.code(), output.text()))
    };
    let copy = exposed(share, &theirs.copies[0]);
    for (server, expected) in [(None, 5), (Some(lab.server_name()), 4), (Some(OTHER), 5)] {
        let mut arguments = vec!["restore", share, "mine", "--copy", &copy];
        arguments.extend(server.into_iter().flat_map(|server| ["--server", server]));
        let (code, said) = ctl(&arguments)?;
        if code != Some(expected) {
            return fail(format!("restore with {server:?}: {code:?} {said}"));
        }
    }

    // A crash in the middle concerns both, and mixes nothing up.
    lab.stop_agent(true)?;
    lab.start_agent()?;
    apart("after a crash")?;
    let delete = format!("/v1/sets/{}", ours.set);
    unix_http(&lab.admin_socket(), "DELETE", &delete, "")?;
    if both.sets(lab.server_name())? != [""; 0] || both.sets(OTHER)? != [theirs.set.clone()] {
        return fail(format!("after a deletion: {}", both.ask("/v1/sets")?));
    }
    Walk::of(&both.second).succeeds(&format!("fss_recovery_complete {}", theirs.set))?;
    let delete = format!("/v1/sets/{}", theirs.set);
    unix_http(&lab.admin_socket(), "DELETE", &delete, "")?;
    // What makes a removal durable follows behind the answer.
    let mut debts = Value::Null;
    let paid = until(PATIENCE, || {
        debts = both.ask("/v1/debts")?["debts"].take();
        Ok::<_, Failed>((debts == json!([])).then_some(()))
    })?;
    paid.ok_or_else(|| format!("debts: {debts}").into())
}
