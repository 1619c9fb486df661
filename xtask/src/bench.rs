//! `cargo xtask bench`: the speed of the agent beside the peer's.

use crate::{Outcome, lab, workspace};
use fsrvp_testkit::packages;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Everything once, in seconds, without judging times
    #[arg(long)]
    quick: bool,
    /// Only these parts: store, clone, growth, commit, trace, dirty, cycle, null, crowd, security,
    /// btrfs-set
    #[arg(long, value_name = "PART,…")]
    only: Option<String>,
    /// Put what was measured into benches/README.md, and leave what was not as it is
    #[arg(long, conflicts_with = "quick")]
    write: bool,
}

pub(crate) fn run(arguments: &Bench) -> Outcome {
    lab::install(packages::BUILD)?;
    lab::install(packages::LABORATORY)?;
    lab::install(packages::SUITES)?;
    let programs = workspace::build_programs(true)?;
    workspace::build(&["--release", "--package", "fsrvp-benches"])?;
    let mut bench = Command::new(programs.join("fsrvp-bench"));
    if arguments.quick {
        bench.arg("--quick");
    }
    if let Some(parts) = &arguments.only {
        bench.arg("--only").arg(parts);
    }
    if arguments.write {
        bench
            .arg("--readme")
            .arg(workspace::root().join("benches/README.md"));
    }
    succeed(bench)
}

/// The quick form on the programs as `cargo xtask test` has built them.
pub(crate) fn smoke() -> Outcome {
    let programs = workspace::build_programs(false)?;
    workspace::build(&["--package", "fsrvp-benches"])?;
    let mut bench = Command::new(programs.join("fsrvp-bench"));
    bench.arg("--quick");
    succeed(bench)
}

fn succeed(mut bench: Command) -> Outcome {
    let status = bench.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("fsrvp-bench: {status}").into())
    }
}
