//! A thousand open pipes: all are served, and what they cost in memory.

use crate::Result;
use crate::labs::{Labs, processes};
use crate::pipe::Pipe;
use crate::report::{Goal, Limit, Report};
use fsrvp_idl::Request;
use std::fs;
use std::time::Instant;

/// Opens `pipes`, makes a call on each while all are open, and looks at the memory of daemon and
/// helper.
pub(crate) fn run(labs: &Labs, pipes: usize, report: &mut Report) -> Result<()> {
    let lab = &labs.ours;
    let before = memory(&processes(lab)?)?;
    let start = Instant::now();
    let mut open = (0..pipes)
        .map(|_| Pipe::open(&lab.pipe()))
        .collect::<Result<Vec<_>>>()?;
    let opened = start.elapsed();
    for pipe in &mut open {
        pipe.call(&Request::GetSupportedVersion)?;
    }
    let processes = processes(lab)?;
    if processes.len() != 2 {
        return Err(format!("daemon and helper are processes {processes:?}").into());
    }
    let after = memory(&processes)?;
    report.table(
        &format!("{pipes} open pipes"),
        [
            "served",
            "opened in",
            "PSS of daemon and helper before",
            "with all open",
        ],
        [[
            format!("{} of {pipes}", open.len()),
            format!("{:.0} ms", opened.as_secs_f64() * 1_000.0),
            format!("{before:.1} MiB"),
            format!("{after:.1} MiB"),
        ]],
    );
    report.goal(Goal::new(
        format!("PSS with {pipes} pipes, MiB"),
        after,
        Limit::AtMost(64.0),
    ));
    Ok(())
}

/// Proportional set size of the processes together, in MiB.
fn memory(processes: &[u32]) -> Result<f64> {
    let mut kibibytes = 0.0;
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let pss = pss.and_then(|rest| rest.split_whitespace().next());
        kibibytes += pss.ok_or("smaps_rollup has no Pss")?.parse::<f64>()?;
    }
    Ok(kibibytes / 1_024.0)
}
