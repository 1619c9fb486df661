//! Everything that builds, tests, demonstrates and measures the project.

mod lab;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What a command returns: its message is printed and the exit status is 1.
type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A private Samba with an agent on loop volumes, left running
    #[command(subcommand)]
    Lab(lab::Command),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Lab(command) => lab::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
