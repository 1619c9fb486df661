//! `cargo xtask simulate`: the deterministic simulation at length.

use crate::{Outcome, workspace};

#[derive(clap::Args)]
pub(crate) struct Simulate {
    /// How many histories
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Steps of each history before all faults end
    #[arg(long, default_value_t = 150)]
    steps: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Replay this seed alone and print its history
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &Simulate) -> Outcome {
    let mut command = workspace::cargo_command(&[
        "test",
        "--quiet",
        "--release",
        "--package",
        "fsrvp-server",
        "--test",
        "simulation",
        "invariants_hold",
        "--",
        "--nocapture",
    ]);
    command
        .env("SIM_SEEDS", arguments.seeds.to_string())
        .env("SIM_STEPS", arguments.steps.to_string())
        .env("SIM_FIRST", arguments.first.to_string())
        .env_remove("SIM_SECONDS");
    if let Some(seed) = arguments.seed {
        command.env("SIM_SEED", seed.to_string());
    }
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(status.to_string().into())
    }
}
