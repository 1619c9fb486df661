//! The long runs of `fsrvp-campaigns`: its arguments are known here too, and passed on as they are.

use crate::{Outcome, lab, workspace};
use fsrvp_testkit::packages;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// What each campaign takes. Whoever asks for that waits for no build.
#[allow(dead_code, reason = "the campaigns read the values")]
#[path = "../../tests/campaigns/src/arguments.rs"]
pub(crate) mod arguments;

/// Campaigns that `cargo xtask test` runs, in their short forms.
const SHORT: [(&str, &[&str]); 5] = [
    ("crash", &["--cycles", "25"]),
    ("crash", &["--backend", "clone", "--cycles", "8"]),
    ("content", &["--backend", "clone", "--cycles", "2"]),
    ("powercut", &["--cuts", "5"]),
    ("content", &["--cycles", "3"]),
];

/// What `cargo xtask test --long` runs besides: crashes and content on the other backends.
const OTHERS: [(&str, &[&str]); 6] = [
    ("crash", &["--backend", "zfs", "--cycles", "4"]),
    ("crash", &["--backend", "exec", "--cycles", "8"]),
    ("crash", &["--backend", "copy", "--cycles", "8"]),
    ("content", &["--backend", "zfs", "--cycles", "2"]),
    ("content", &["--backend", "exec", "--cycles", "2"]),
    ("content", &["--backend", "copy", "--cycles", "2"]),
];

/// Campaigns that measure, and so need the optimised agent.
const OPTIMISED: [&str; 2] = ["endurance", "scale"];

/// Runs one campaign, with the arguments of this command line: they have been looked at already.
pub(crate) fn run(campaign: &str) -> Outcome {
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    lab::install(packages::BUILD)?;
    lab::install(packages::LABORATORY)?;
    fsrvp_testkit::machine_fits()?;
    let programs = build(OPTIMISED.contains(&campaign))?;
    start(&programs, campaign, &arguments)
}

/// Runs the short forms of those campaigns that have one.
pub(crate) fn short() -> Outcome {
    all(&SHORT)
}

/// Runs crashes and content on the backends that the short forms leave out.
pub(crate) fn others() -> Outcome {
    all(&OTHERS)
}

fn all(campaigns: &[(&str, &[&str])]) -> Outcome {
    let programs = build(false)?;
    for (campaign, arguments) in campaigns {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        start(&programs, campaign, &arguments)?;
    }
    Ok(())
}

fn start(programs: &std::path::Path, campaign: &str, arguments: &[OsString]) -> Outcome {
    let status = std::process::Command::new(programs.join("fsrvp-campaigns"))
        .arg("--fsrvpd")
        .arg(programs.join("fsrvpd"))
        .arg(campaign)
        .args(arguments)
        .current_dir(workspace::root())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{campaign}: {status}").into())
    }
}

/// Builds the campaigns and an agent with crash points, and puts both where no other build does:
/// an agent with crash points must not be taken for the one that people use.
fn build(release: bool) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let packages = ["--package", "fsrvp-server", "--package", "fsrvp-campaigns"];
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    let mut arguments = vec!["build", "--features", "fsrvp-server/crash-points"];
    arguments.extend(packages.iter().chain(profile));
    let status = workspace::cargo_command(&arguments).status()?;
    if !status.success() {
        return Err("the campaigns do not build".into());
    }
    let built = workspace::program_directory(release);
    let kept = built.join("campaigns");
    fs::create_dir_all(&kept)?;
    for program in ["fsrvpd", "fsrvp-campaigns"] {
        let fresh = kept.join(format!("{program}.new"));
        fs::copy(built.join(program), &fresh)?;
        fs::rename(fresh, kept.join(program))?;
    }
    fs::remove_file(built.join("fsrvpd"))?;
    Ok(kept)
}
