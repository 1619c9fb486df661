//! Everything that builds, tests, demonstrates and measures the project.

mod bench;
mod campaigns;
mod demo;
mod embedded;
mod floors;
mod fuzz;
mod image;
mod known;
mod lab;
mod licences;
mod package;
mod raw_protocol;
mod release_notes;
mod simulate;
mod test;
mod unit;
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
    /// A real client makes, uses and deletes a shadow copy in a private laboratory
    Demo(demo::Demo),
    /// A private Samba with an agent on loop volumes, left running
    #[command(subcommand)]
    Lab(lab::Command),
    /// The fuzz targets for a while each
    Fuzz(fuzz::Fuzz),
    /// Samba's own suite of DCE/RPC protocol tests against our runtime over TCP
    RawProtocol,
    /// Everything that CI runs
    Test(test::Test),
    /// The speed of the agent, side by side with Samba's own
    Bench(bench::Bench),
    /// Random histories of the whole server in memory, with faults and crashes
    Simulate(simulate::Simulate),
    /// Kills the agent at random moments and at every named point, and compares what is left
    Crash(campaigns::arguments::Crash),
    /// Makes sets without end in one process, whose needs must not grow
    Endurance(campaigns::arguments::Endurance),
    /// Starts with thousands of recorded copies
    Scale(campaigns::arguments::Scale),
    /// Compares copies with what writers had written when they stood still
    Content(campaigns::arguments::Content),
    /// Cuts the power of everything on one disk at random moments, and compares what is left
    Powercut(campaigns::arguments::PowerCuts),
    /// Who may import whom, and what the sans-IO crates may not touch
    Floors,
    /// Every dependency's licence stands on a list
    Licences,
    /// The Debian package
    Package(package::Package),
    /// The container images, built with buildah and tried out
    Image(image::Image),
    /// What CHANGELOG.md says of a version
    ReleaseNotes(release_notes::ReleaseNotes),
    /// The score of the systemd unit, as `systemd-analyze security` gives it
    Unit,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Lab(command) => lab::run(command),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::RawProtocol => raw_protocol::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Crash(_) => campaigns::run("crash"),
        Command::Endurance(_) => campaigns::run("endurance"),
        Command::Scale(_) => campaigns::run("scale"),
        Command::Content(_) => campaigns::run("content"),
        Command::Powercut(_) => campaigns::run("powercut"),
        Command::Floors => floors::run(),
        Command::Licences => licences::run(),
        Command::Package(arguments) => package::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::ReleaseNotes(arguments) => release_notes::run(&arguments),
        Command::Unit => unit::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
