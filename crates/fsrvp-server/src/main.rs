//! The daemon's command line.

use clap::Parser;
use fsrvp_server::daemon::{self, Options};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// File Share Shadow Copy Agent: serves MS-FSRVP beside an SMB server.
#[derive(Debug, Parser)]
#[command(name = "fsrvpd", version, max_term_width = 80)]
struct Arguments {
    /// The configuration file.
    #[arg(long, default_value = "/etc/fsrvpd.toml")]
    config: PathBuf,
    /// Check the configuration file and end.
    #[arg(long)]
    check_config: bool,
    /// Begin with an empty table although snapshots of a lost table exist, and remove them.
    #[arg(long)]
    begin_anew: bool,
    /// How long the removal of deleted copies is waited for at the end, in seconds; what is left is
    /// removed after the next start.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    finish_within: u64,
    /// Take this for the id of the running boot instead of the kernel's, for tests.
    #[arg(long, hide = true)]
    boot_id: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        config: arguments.config,
        check_only: arguments.check_config,
        boot_id: arguments.boot_id,
        begin_anew: arguments.begin_anew,
        finish_within: Duration::from_secs(arguments.finish_within),
        inspect: None,
    };
    match daemon::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fsrvpd: {error}");
            ExitCode::FAILURE
        }
    }
}
