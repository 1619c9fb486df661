//! ShadowCoerce through smbd: neither the agent nor its helper says a word to the network, whatever
//! host a caller names.

use fsrvp_testkit::process;
use fsrvp_testkit::{AgentKind, Lab, LabOptions, programs};
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long strace may take to attach to a process.
const ATTACH_LIMIT: Duration = Duration::from_secs(20);

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
    let trace = Trace::of(&family)?;
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

/// strace on processes with all their threads and children to come.
struct Trace {
    strace: Child,
    file: tempfile::NamedTempFile,
}

impl Trace {
    fn of(pids: &[u32]) -> std::io::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o"]);
        command.arg::<&Path>(file.path());
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let mut strace = command.stderr(Stdio::piped()).spawn()?;
        let said = strace.stderr.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let (attached, is_attached) = mpsc::channel();
        // To its end: strace also tells of every thread to come.
        std::thread::spawn(move || {
            let lines = BufReader::new(said).lines().map_while(Result::ok);
            for _ in lines.filter(|line| line.contains("attached")) {
                let _ = attached.send(());
            }
        });
        // One line a process that was named.
        for _ in pids {
            let attached = is_attached.recv_timeout(ATTACH_LIMIT);
            attached.map_err(|_| std::io::Error::other("strace could not attach"))?;
        }
        Ok(Self { strace, file })
    }

    /// The calls that name an address of a network.
    fn network_calls(mut self) -> std::io::Result<Vec<String>> {
        process::signal(self.strace.id(), rustix::process::Signal::INT);
        self.strace.wait()?;
        let text = std::fs::read_to_string(self.file.path())?;
        let is_network = |line: &&str| line.contains("AF_INET");
        Ok(text.lines().filter(is_network).map(str::to_owned).collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
