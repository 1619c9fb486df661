//! The operator's tool of fsrvpd: asks the daemon's admin socket and shows what it says.

mod backend_check;
mod client;
mod status;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

pub use client::{AdminClient, ClientError};

/// Command line of `fsrvpctl`.
#[derive(Debug, Parser)]
#[command(
    name = "fsrvpctl",
    version,
    about = "Ask and direct fsrvpd, the shadow copy agent"
)]
pub struct Arguments {
    /// The daemon's admin socket.
    #[arg(long, global = true, default_value = "/run/fsrvpd/admin.sock")]
    socket: PathBuf,
    /// JSON for programs instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Whether the daemon serves, and every shadow copy set that it knows.
    Status,
    /// Try a backend program of the site: the checks that every backend has to pass.
    BackendCheck(backend_check::BackendCheck),
}

/// Exit code when the daemon cannot be asked.
const UNREACHABLE: u8 = 3;
/// Exit code when the daemon's answer is not understood.
const FAILED: u8 = 1;

/// Runs one verb.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let client = AdminClient::new(arguments.socket);
    let result = match arguments.verb {
        // Asks no daemon.
        Verb::BackendCheck(check) => return backend_check::run(&check, arguments.json),
        Verb::Status => status::run(&client, arguments.json),
    };
    match result {
        Ok(text) => {
            use std::io::Write as _;
            let written = writeln!(std::io::stdout(), "{text}");
            if written.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            }
        }
        Err(error) => {
            eprintln!("fsrvpctl: {error}");
            let code = match error {
                ClientError::Unreachable { .. } => UNREACHABLE,
                _ => FAILED,
            };
            ExitCode::from(code)
        }
    }
}
