//! The operator's tool of fsrvpd.

use std::process::ExitCode;

fn main() -> ExitCode {
    fsrvpctl::main()
}
