//! The workspace: where it is, and how its programs are built.

use fsrvp_testkit::{Error, Run};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that runs us.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// cargo in the workspace's root, its output where ours goes.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo());
    command
        .current_dir(root())
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// The directory that holds the built programs.
pub(crate) fn program_directory(release: bool) -> PathBuf {
    target().join(if release { "release" } else { "debug" })
}

/// The target directory.
pub(crate) fn target() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(target)
}

/// Builds fsrvpd and fsrvpctl and returns the directory they are in.
pub(crate) fn build_programs(release: bool) -> Result<PathBuf, Error> {
    let mut arguments = vec!["--package", "fsrvp-server", "--package", "fsrvpctl"];
    if release {
        arguments.push("--release");
    }
    build(&arguments)?;
    Ok(program_directory(release))
}

/// Runs `cargo build` with these arguments.
pub(crate) fn build(arguments: &[&str]) -> Result<(), Error> {
    let arguments: Vec<_> = std::iter::once("build")
        .chain(arguments.iter().copied())
        .collect();
    let status = cargo_command(&arguments)
        .status()
        .map_err(|source| Error::Start {
            command: Run::new(cargo()).args(&arguments).line(),
            source,
        })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Unfit("the programs do not build".to_owned()))
}
