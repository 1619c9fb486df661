//! Where the programs of this workspace are.

use crate::{Error, Run};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Directory of built programs, set by those who have just built them.
pub const DIRECTORY: &str = "FSRVP_PROGRAMS";

/// fsrvpd or fsrvpctl, built in the profile of the running test unless [`DIRECTORY`] is set.
///
/// # Errors
/// What cargo said.
pub fn program(name: &str) -> Result<PathBuf, Error> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return Ok(Path::new(&directory).join(name));
    }
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| error.to_string()));
    let directory = built
        .as_ref()
        .map_err(|error| Error::Unfit(error.clone()))?;
    Ok(directory.join(name))
}

fn build() -> Result<PathBuf, Error> {
    // A test runs as target/PROFILE/deps/NAME-HASH.
    let own = std::env::current_exe().map_err(Error::file("the running test"))?;
    let directory = own.ancestors().nth(2).unwrap_or(&own).to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut run = Run::new(cargo).args(["build", "-p", "fsrvp-server", "-p", "fsrvpctl"]);
    if directory.ends_with("release") {
        run = run.arg("--release");
    }
    run.directory(workspace())
        .limit(Duration::from_secs(3600))
        .check()?;
    Ok(directory)
}

/// Root of the workspace that this crate was built in.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
