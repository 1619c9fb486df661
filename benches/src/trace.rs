//! How often the agent's store is made durable inside one Commit, seen from outside by strace.

use crate::Result;
use crate::cycle::{BACKUP, Set};
use crate::labs::{Labs, share, state_directory};
use crate::pipe::Pipe;
use crate::report::{Goal, Limit, Report};
use fsrvp_testkit::comes_true;
use fsrvp_testkit::process::{self, is_traced};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Every call by which a file can be made durable.
const SYNCS: &str = "trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync";
const PATIENCE: Duration = Duration::from_secs(20);

/// strace, attached; detached when dropped.
struct Trace {
    child: Child,
    output: PathBuf,
}

impl Trace {
    fn attach(process: u32, output: PathBuf) -> Result<Self> {
        let child = Command::new("strace")
            .args(["-f", "-y", "-ttt", "-qq", "-e", SYNCS, "-p"])
            .arg(process.to_string())
            .arg("-o")
            .arg(&output)
            .stdin(Stdio::null())
            .spawn()?;
        let trace = Self { child, output };
        if !comes_true(PATIENCE, || is_traced(process)) {
            return Err("strace does not attach".into());
        }
        Ok(trace)
    }

    /// Detaches and gives what was written.
    fn end(mut self) -> Result<String> {
        self.detach()?;
        Ok(fs::read_to_string(&self.output)?)
    }

    fn detach(&mut self) -> std::io::Result<()> {
        process::stop([self.child.id()], Duration::from_secs(5));
        self.child.wait().map(drop)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.detach();
    }
}

/// Counts the store's syncs between a Commit request and its reply, `sets` times, and fails unless
/// each time there is exactly one.
pub(crate) fn run(labs: &Labs, sets: usize, report: &mut Report) -> Result<()> {
    let lab = &labs.ours;
    let store = state_directory(lab)?.join("table.redb");
    let agent = lab.agent_pid().ok_or("the agent does not run")?;
    let target = share(lab);
    let mut pipe = Pipe::open(&lab.pipe())?;
    let trace = Trace::attach(agent, lab.dir().join("strace"))?;
    let mut spans = Vec::new();
    for _ in 0..sets {
        let mut set = Set::begin(&mut pipe, &target, BACKUP)?;
        set.prepare()?;
        let sent = now()?;
        set.commit()?;
        spans.push((sent, now()?));
        set.abort()?;
    }
    let text = trace.end()?;
    let all = syncs(&text, &store, (0.0, f64::MAX));
    let counts: Vec<_> = spans
        .iter()
        .map(|span| syncs(&text, &store, *span))
        .collect();
    report.table(
        "Durable store commits inside Commit, seen by strace",
        ["sets", "inside each Commit", "in the whole trace"],
        [[sets.to_string(), format!("{counts:?}"), all.to_string()]],
    );
    let most = counts.iter().copied().max().unwrap_or(0);
    let least = counts.iter().copied().min().unwrap_or(0);
    let name = "durable store commits inside Commit";
    report.goal(Goal::new(
        format!("{name}, most"),
        most as f64,
        Limit::AtMost(1.0),
    ));
    report.goal(Goal::new(
        format!("{name}, least"),
        least as f64,
        Limit::AtLeast(1.0),
    ));
    // SetContext, Start, Add, Commit and Abort each answer only when the table is durable.
    if all < 5 * sets {
        return Err(
            format!("strace saw {all} syncs of the store in {sets} sets, not 5 a set").into(),
        );
    }
    Ok(())
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// How many syncs of `file` began within the span, in lines such as
/// `4711 1700000000.123456 fdatasync(9</state/table.redb>) = 0`.
fn syncs(trace: &str, file: &Path, (from, to): (f64, f64)) -> usize {
    let marked = format!("<{}>", file.display());
    trace
        .lines()
        .filter(|line| line.contains(&marked) && !line.contains(" resumed>"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
        .filter(|at| (from..=to).contains(at))
        .count()
}

#[cfg(test)]
mod tests {
    use super::syncs;
    use std::path::Path;

    const TRACE: &str = "\
10 1700000000.000001 fdatasync(9</s/table.redb>) = 0
11 1700000001.500000 fdatasync(9</s/table.redb> <unfinished ...>
12 1700000001.500001 fsync(10</s/other>) = 0
11 1700000001.600000 <... fdatasync resumed>) = 0
10 1700000002.700000 fsync(9</s/table.redb>) = 0
";

    #[test]
    fn only_the_file_and_the_span_count() {
        let count = |from, to| syncs(TRACE, Path::new("/s/table.redb"), (from, to));
        assert_eq!(count(0.0, f64::MAX), 3);
        assert_eq!(count(1_700_000_001.0, 1_700_000_002.0), 1);
        assert_eq!(count(1_700_000_001.55, 1_700_000_002.0), 0);
    }
}
