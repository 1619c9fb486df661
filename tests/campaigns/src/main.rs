//! Long runs against the real program, with short forms for every test run.

mod arguments;
mod backend;
mod client;
mod content;
mod crash;
mod endurance;
mod evidence;
mod invariants;
mod ledger;
mod observed;
mod plan;
mod powercut;
mod scale;
mod stage;
mod tree;
mod view;
mod walker;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// What a campaign returns: its message is printed and the exit status is 1.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "campaigns", disable_help_subcommand = true)]
struct Arguments {
    /// The fsrvpd to run
    #[arg(long, global = true, default_value = "target/debug/campaigns/fsrvpd")]
    fsrvpd: PathBuf,
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {
    /// Kills the agent at random moments and at every named crash point
    Crash(arguments::Crash),
    /// Compares copies with what writers had written when they stood still
    Content(arguments::Content),
    /// Makes sets without end in one process, whose needs must not grow
    Endurance(arguments::Endurance),
    /// Starts with thousands of recorded copies
    Scale(arguments::Scale),
    /// Cuts the power of everything at random moments
    Powercut(arguments::PowerCuts),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.campaign {
        Campaign::Crash(crash) => crash::run(crash, &arguments.fsrvpd),
        Campaign::Content(content) => content::run(content, &arguments.fsrvpd),
        Campaign::Endurance(endurance) => endurance::run(endurance, &arguments.fsrvpd),
        Campaign::Scale(scale) => scale::run(scale, &arguments.fsrvpd),
        Campaign::Powercut(cuts) => powercut::run(cuts, &arguments.fsrvpd),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
