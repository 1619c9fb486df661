//! The operator's tool of fsrvpd: asks the daemon's admin socket and shows what it says.

mod backend_check;
mod bring_back;
mod client;
mod exit;
mod generate;
mod screen;
mod time;
mod verbs;

use clap::{Parser, Subcommand};
use screen::Screen;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

pub use client::{AdminClient, ClientError};
pub use exit::{Exit, Failure};

/// Command line of `fsrvpctl`.
#[derive(Debug, Parser)]
#[command(
    name = "fsrvpctl",
    version,
    about = "Ask and direct fsrvpd, the shadow copy agent",
    after_help = exit::HELP,
    max_term_width = 80
)]
pub struct Arguments {
    /// The daemon's admin socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/run/fsrvpd/admin.sock",
        display_order = 100
    )]
    socket: PathBuf,
    /// JSON for programs instead of text for people
    #[arg(long, global = true, display_order = 101)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Whether the daemon serves, and what it works on
    Status,
    /// All shadow copy sets
    Sets,
    /// One set: its copies, its phases on a time line, its events
    Show(verbs::show::Show),
    /// The shares, each with its volume, its backend and the reason
    Shares,
    /// The snapshot providers, as vssadmin lists them
    Providers,
    /// Open connections of clients
    Connections,
    /// End a set that is not recovered yet
    Abort(verbs::acts::Set),
    /// Seal an exposed set in its client's place: recovery is complete
    Seal(verbs::acts::Set),
    /// Remove a set, a copy or a kept snapshot
    Delete(verbs::acts::Delete),
    /// Try again what could not be removed, and end sets kept for long enough
    Prune(verbs::acts::Prune),
    /// Give up something left over that can never be removed, as its disk is gone
    Forget(verbs::forget::Forget),
    /// Bring a file or a directory of a share back from a kept snapshot or an exposed copy
    Restore(verbs::restore::Restore),
    /// The kept snapshots
    Snapshots,
    /// What each copy and each kept snapshot costs
    Space,
    /// Which files of a share the next copy, or every copy, has to hold
    #[command(subcommand)]
    Targets(verbs::targets::Targets),
    /// The last events
    Events(verbs::events::Events),
    /// Events as they happen
    Watch(verbs::events::Watch),
    /// Find what is wrong with the set-up, and the command that mends it
    Doctor(verbs::doctor::Doctor),
    /// Check, show or reload the configuration
    #[command(subcommand)]
    Config(verbs::config::Config),
    /// Show the log's level, or set it until the next restart
    Log(verbs::config::Log),
    /// Write a report for support: state, events, configuration; no secrets
    Report(verbs::report::Report),
    /// Try a backend program of the site: the checks that every backend has to pass
    BackendCheck(backend_check::BackendCheck),
    /// Write the completions of a shell to the standard output
    Completions(generate::Completions),
    /// Write the manual pages into a directory
    Man(generate::Man),
}

/// The program: its command line, one verb, its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => run(arguments),
        Err(error) => {
            let text = error.render().ansi().to_string();
            if error.use_stderr() {
                let width = Screen::of_stderr().width();
                let _ = write!(anstream::stderr(), "{}", screen::fitted(&text, width));
                return ExitCode::from(Exit::Usage as u8);
            }
            let width = Screen::of_stdout(false).width();
            let _ = write!(anstream::stdout(), "{}", screen::fitted(&text, width));
            ExitCode::SUCCESS
        }
    }
}

/// Runs one verb.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let client = AdminClient::new(arguments.socket);
    let mut screen = Screen::of_stdout(arguments.json);
    let result = match arguments.verb {
        // These ask no daemon.
        Verb::BackendCheck(check) => check.run(&mut screen),
        Verb::Completions(completions) => completions.run(),
        Verb::Man(man) => man.run(),
        Verb::Config(config) => config.run(&client, &mut screen),
        Verb::Doctor(doctor) => doctor.run(&client, &mut screen),
        Verb::Status => verbs::status::run(&client, &mut screen),
        Verb::Sets => verbs::sets::run(&client, &mut screen),
        Verb::Show(show) => show.run(&client, &mut screen),
        Verb::Shares => verbs::shares::run(&client, &mut screen),
        Verb::Providers => verbs::providers::run(&client, &mut screen),
        Verb::Connections => verbs::connections::run(&client, &mut screen),
        Verb::Abort(set) => set.abort(&client, &mut screen),
        Verb::Seal(set) => set.seal(&client, &mut screen),
        Verb::Delete(delete) => delete.run(&client, &mut screen),
        Verb::Prune(prune) => prune.run(&client, &mut screen),
        Verb::Forget(forget) => forget.run(&client, &mut screen),
        Verb::Restore(restore) => restore.run(&client, &mut screen),
        Verb::Snapshots => verbs::snapshots::run(&client, &mut screen),
        Verb::Space => verbs::space::run(&client, &mut screen),
        Verb::Targets(targets) => targets.run(&client, &mut screen),
        Verb::Events(events) => events.run(&client, &mut screen),
        Verb::Watch(watch) => watch.run(&client, &mut screen),
        Verb::Log(log) => log.run(&client, &mut screen),
        Verb::Report(report) => report.run(&client, &mut screen),
    };
    let written = screen.finish();
    let failure = match (result, written) {
        (Ok(()), Ok(())) => return ExitCode::SUCCESS,
        // A reader that has gone, as `head`, is nobody's fault.
        (Ok(()), Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        (Ok(()), Err(error)) => Failure::new(Exit::Failed, error.to_string()),
        (Err(failure), _) => failure,
    };
    let width = Screen::of_stderr().width();
    let text = screen::wrap(&format!("fsrvpctl: {failure}"), width).join("\n");
    let _ = writeln!(anstream::stderr(), "{text}");
    ExitCode::from(failure.exit as u8)
}
