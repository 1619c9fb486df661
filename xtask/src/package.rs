//! `cargo xtask package`: the Debian package of fsrvpd and fsrvpctl.

mod control;
mod tree;

use crate::{Outcome, lab, workspace};
use control::Substitutions;
use fsrvp_testkit::{Run, packages};
use std::path::PathBuf;
use tree::Tree;

#[derive(clap::Args)]
pub(crate) struct Package {
    /// Where the package goes [default: package in the target directory]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Take the programs in this directory instead of building the optimised ones
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Version of the package [default: that of the workspace, revision 1]
    #[arg(long, value_name = "VERSION")]
    debian_version: Option<String>,
}

/// A file of `packaging`, in the package under the same or another name.
const FILES: &[(&str, &str, u32)] = &[
    ("packaging/fsrvpd.toml", "etc/fsrvpd.toml", 0o644),
    (
        "packaging/systemd/fsrvpd.service",
        "usr/lib/systemd/system/fsrvpd.service",
        0o644,
    ),
    (
        "packaging/debian/divert-samba-agent",
        "usr/lib/fsrvpd/divert-samba-agent",
        0o755,
    ),
    (
        "packaging/systemd/programs.conf",
        "usr/share/doc/fsrvpd/examples/systemd/programs.conf",
        0o644,
    ),
    ("README.md", "usr/share/doc/fsrvpd/README.md", 0o644),
    ("SECURITY.md", "usr/share/doc/fsrvpd/SECURITY.md", 0o644),
];

pub(crate) fn run(arguments: &Package) -> Outcome {
    let package = build(arguments)?;
    println!("{}", package.display());
    Ok(())
}

/// Builds the package and returns its path.
pub(crate) fn build(arguments: &Package) -> Result<PathBuf, Box<dyn std::error::Error>> {
    lab::install(packages::PACKAGING)?;
    let programs = match &arguments.programs {
        Some(directory) => directory.clone(),
        None => {
            lab::install(packages::BUILD)?;
            workspace::build_programs(true)?
        }
    };
    let version = match &arguments.debian_version {
        Some(version) => version.clone(),
        None => format!("{}-1", env!("CARGO_PKG_VERSION")),
    };
    let scratch = tempfile::tempdir()?;
    let root = scratch.path().join("fsrvpd");
    let tree = Tree::new(&workspace::root(), &root)?;
    for (from, to, mode) in FILES {
        tree.copy(from, to, *mode)?;
    }
    for program in ["fsrvpd", "fsrvpctl"] {
        tree.program(&programs.join(program), &format!("usr/sbin/{program}"))?;
    }
    tree.directory("docs", "usr/share/doc/fsrvpd", 0o644)?;
    tree.directory(
        "packaging/backends",
        "usr/share/doc/fsrvpd/examples/backends",
        0o755,
    )?;
    tree.generated(&programs.join("fsrvpctl"))?;
    tree.compressed("CHANGELOG.md", "usr/share/doc/fsrvpd/changelog.gz")?;
    let substitutions = Substitutions::gather(&tree, &version)?;
    control::write(&tree, &substitutions)?;

    let output = arguments
        .output
        .clone()
        .unwrap_or_else(|| workspace::target().join("package"));
    std::fs::create_dir_all(&output)?;
    let package = output.join(format!(
        "fsrvpd_{version}_{}.deb",
        substitutions.architecture()
    ));
    Run::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .arg(&root)
        .arg(&package)
        .check()?;
    Ok(package)
}
