//! `cargo xtask image`: the images of the Dockerfile by `buildah`, without an engine and without a registry.

use crate::{Outcome, lab, workspace};
use fsrvp_testkit::{Error, Run, packages};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The base image, made from Debian's archive.
const BASE: &str = "localhost/fsrvpd-base";
const RELEASE: &str = "bookworm";

/// Targets of the Dockerfile and the names of their images.
const TARGETS: &[(&str, &str)] = &[("server", "fsrvpd"), ("conformance", "fsrvpd-conformance")];

#[derive(clap::Args)]
pub(crate) struct Image {
    /// Take the programs in this directory instead of building the optimised ones
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where buildah keeps the images [default: images in the target directory]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Image) -> Outcome {
    lab::install(packages::IMAGE)?;
    let programs = match &arguments.programs {
        Some(directory) => directory.clone(),
        None => {
            lab::install(packages::BUILD)?;
            workspace::build_programs(true)?
        }
    };
    // The only part of the target directory that the build may see.
    let given = workspace::root().join("target/image");
    fs::create_dir_all(&given).map_err(Error::file(&given))?;
    for name in ["fsrvpd", "fsrvpctl"] {
        let strip = Run::new("strip").arg("-o").arg(given.join(name));
        strip.arg(programs.join(name)).check()?;
    }
    let store = match &arguments.store {
        Some(store) => store.clone(),
        None => workspace::target().join("images"),
    };
    base(&store)?;
    for (target, image) in TARGETS {
        buildah(&store, "bud")
            .args(["--pull=never", "--target", target, "--tag", image])
            .arg(format!("--build-arg=BASE={BASE}"))
            .arg("--build-arg=PROGRAMS=built")
            .arg(workspace::root())
            .check()?;
        println!("{image}");
    }
    println!(
        "buildah --storage-driver vfs --root {} images",
        store.display()
    );
    Ok(())
}

/// Makes the base image if it is not there yet.
fn base(store: &Path) -> Result<(), Error> {
    let there = buildah(store, "images").args(["--quiet", BASE]).output()?;
    if there.status.success() && !there.stdout.trim().is_empty() {
        return Ok(());
    }
    let scratch = tempfile::tempdir().map_err(Error::file("the temporary files"))?;
    let archive = scratch.path().join("base.tar");
    Run::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", RELEASE])
        .arg(&archive)
        .limit(Duration::from_secs(1800))
        .check()?;
    let container = buildah(store, "from").arg("scratch").check()?.stdout;
    let container = container.trim();
    buildah(store, "add")
        .args(["--quiet", container])
        .arg(&archive)
        .arg("/")
        .check()?;
    buildah(store, "commit")
        .args(["--quiet", "--rm", container, BASE])
        .check()
        .map(drop)
}

/// buildah where there is no engine: no overlay, no runtime, only a change of the root.
fn buildah(store: &Path, verb: &str) -> Run {
    Run::new("buildah")
        .args(["--storage-driver", "vfs", "--root"])
        .arg(store)
        .arg("--runroot")
        .arg(store.with_extension("run"))
        .arg(verb)
        .env("BUILDAH_ISOLATION", "chroot")
        .limit(Duration::from_secs(3600))
}
