//! The operator's tool of fsrvpd.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    fsrvpctl::run(fsrvpctl::Arguments::parse())
}
