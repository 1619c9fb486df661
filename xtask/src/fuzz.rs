//! `cargo xtask fuzz`: the fuzz targets for a while each, with libFuzzer.

use crate::{Outcome, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest input, in bytes: more than any PDU that is not a bind.
const MAX_LEN: u32 = 8_192;
/// An input that takes longer is a finding, in seconds.
const TIMEOUT: u32 = 20;
/// So is one that needs more memory, in MiB.
const MEMORY: u32 = 1_024;

/// Time for each target where none is given.
const SECONDS: u32 = 60;

#[derive(clap::Args)]
pub(crate) struct Fuzz {
    /// Time for each target
    #[arg(long, default_value_t = SECONDS)]
    seconds: u32,
    /// Targets; all by default
    targets: Vec<String>,
}

impl Default for Fuzz {
    fn default() -> Self {
        Self {
            seconds: SECONDS,
            targets: Vec::new(),
        }
    }
}

pub(crate) fn run(arguments: &Fuzz) -> Outcome {
    let all = targets()?;
    let wanted = match arguments.targets.is_empty() {
        true => &all,
        false => &arguments.targets,
    };
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        return Err(format!("{unknown} is none of {}", all.join(", ")).into());
    }
    install()?;
    succeed(&mut cargo_fuzz("build"), "the targets do not build")?;
    let mut crashed = Vec::new();
    for target in wanted {
        println!("--- {target}, {} s", arguments.seconds);
        if let Err(error) = fuzz(target, arguments.seconds) {
            println!("{error}");
            crashed.push(target.as_str());
        }
    }
    if crashed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} crashed: keep what lies in tests/fuzz/artifacts as tests/fuzz/regressions/TARGET/NAME, \
         where `cargo test -p fsrvp-fuzz` tries it from then on",
        crashed.join(", ")
    )
    .into())
}

fn place() -> PathBuf {
    workspace::root().join("tests/fuzz")
}

/// The targets by the names of their files.
fn targets() -> Result<Vec<String>, std::io::Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(place().join("fuzz_targets"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

fn install() -> Outcome {
    let mut version = Command::new(workspace::cargo());
    version.args(["fuzz", "--version"]);
    if version.output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let mut install = workspace::cargo_command(&["install", "--locked", "cargo-fuzz"]);
    succeed(&mut install, "cargo-fuzz cannot be installed")
}

/// cargo-fuzz with the project's own toolchain. The code under test has no `unsafe`, so that an
/// address sanitizer would only cost time.
fn cargo_fuzz(action: &str) -> Command {
    let mut command = workspace::cargo_command(&["fuzz", action, "--sanitizer", "none"]);
    command
        .args(["--fuzz-dir", "tests/fuzz"])
        .env("RUSTC_BOOTSTRAP", "1");
    command
}

fn fuzz(target: &str, seconds: u32) -> Outcome {
    // What is found goes beside the build; only chosen inputs are committed.
    let found = place().join("target/corpus").join(target);
    let artifacts = place().join("artifacts").join(target);
    for path in [&found, &artifacts] {
        fs::create_dir_all(path)?;
    }
    let mut run = cargo_fuzz("run");
    run.arg(target)
        .args([&found, &place().join("corpus").join(target)])
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(artifact_prefix(&artifacts))
        .arg("-verbosity=0")
        .arg("-print_final_stats=1");
    succeed(&mut run, target)
}

fn artifact_prefix(artifacts: &Path) -> String {
    format!("-artifact_prefix={}/", artifacts.display())
}

fn succeed(command: &mut Command, what: &str) -> Outcome {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{what}: {status}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every target has an entry in the manifest, a corpus, and a body that ordinary tests run.
    #[test]
    fn targets_are_complete() {
        let manifest = fs::read_to_string(place().join("Cargo.toml")).unwrap();
        let bodies = workspace::root().join("tests/fuzz-bodies/src/lib.rs");
        let bodies = fs::read_to_string(bodies).unwrap();
        let targets = targets().unwrap();
        assert_eq!(targets.len(), manifest.matches("[[bin]]").count());
        for target in targets {
            assert!(
                manifest.contains(&format!("fuzz_targets/{target}.rs")),
                "{target}"
            );
            assert!(
                bodies.contains(&format!("(\"{target}\", {target})")),
                "{target}"
            );
            assert!(place().join("corpus").join(&target).is_dir(), "{target}");
        }
    }
}
