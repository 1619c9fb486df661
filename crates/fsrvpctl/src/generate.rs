//! Completions and manual pages, from the same source as the command line.

use crate::{Arguments, Exit, Failure};
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::PathBuf;

/// `fsrvpctl completions`
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut command = Arguments::command();
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "fsrvpctl", &mut text);
        use std::io::Write as _;
        std::io::stdout()
            .write_all(&text)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
    }
}

/// `fsrvpctl man`
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Where the pages go
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            let text = format!("cannot write {}: {error}", self.directory.display());
            Failure::new(Exit::Failed, text)
        };
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        clap_mangen::generate_to(Arguments::command(), &self.directory).map_err(failed)
    }
}
