//! `cargo xtask image`: the images of the Dockerfile by `buildah`, without an engine and without a registry,
//! and a trial of what was built.

mod container;
mod store;
mod trial;
mod volumes;

use crate::{Outcome, lab, workspace};
use fsrvp_testkit::{Error, Isolation, Run, packages};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use store::Store;

/// The base image, made from Debian's archive.
const BASE: &str = "localhost/fsrvpd-base";
const RELEASE: &str = "bookworm";

/// Samba with fsrvpd: a target of the Dockerfile, and the name of its image.
const SERVER: (&str, &str) = ("server", "fsrvpd");
/// The judges.
const CONFORMANCE: (&str, &str) = ("conformance", "fsrvpd-conformance");

#[derive(clap::Args)]
pub(crate) struct Image {
    /// Take the programs in this directory instead of building the optimised ones
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where buildah keeps the images [default: images in the target directory]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Where the reports of the trial go [default: conformance in the target directory]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Build the images and do not try them
    #[arg(long)]
    no_trial: bool,
    /// Try the images that are there and build none
    #[arg(long, conflicts_with = "no_trial")]
    no_build: bool,
}

pub(crate) fn run(arguments: &Image) -> Outcome {
    let place = |given: &Option<PathBuf>, usual: &str| match given {
        Some(given) => std::path::absolute(given).map_err(Error::file(given)),
        None => Ok(workspace::target().join(usual)),
    };
    let store = Store::new(&place(&arguments.store, "images")?);
    // The trial starts this program again, in namespaces of its own.
    if !Isolation::entered() {
        lab::install(packages::IMAGE)?;
        if !arguments.no_build {
            build(&store, arguments.programs.clone())?;
        }
        println!("the images: {} images", store.line());
        if arguments.no_trial {
            return Ok(());
        }
    }
    Isolation::Containers.enter()?;
    trial::run(&store, &place(&arguments.report, "conformance")?)
}

fn build(store: &Store, programs: Option<PathBuf>) -> Outcome {
    let programs = match programs {
        Some(directory) => directory,
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
    base(store)?;
    for (target, image) in [SERVER, CONFORMANCE] {
        println!("building {image}");
        store
            .buildah("bud")
            // The other format has no place for a health check.
            .args(["--format=docker", "--pull=never", "--target", target])
            .args(["--tag", image])
            .arg(format!("--build-arg=BASE={BASE}"))
            .arg("--build-arg=PROGRAMS=built")
            .arg(workspace::root())
            .check()?;
    }
    Ok(())
}

/// Makes the base image if it is not there yet.
fn base(store: &Store) -> Result<(), Error> {
    let there = store.buildah("images").args(["--quiet", BASE]).output()?;
    if there.status.success() && !there.stdout.trim().is_empty() {
        return Ok(());
    }
    println!("building {BASE}");
    let scratch = tempfile::tempdir().map_err(Error::file("the temporary files"))?;
    let archive = scratch.path().join("base.tar");
    Run::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", RELEASE])
        .arg(&archive)
        .limit(Duration::from_secs(1800))
        .check()?;
    let container = store.buildah("from").arg("scratch").check()?.stdout;
    let container = container.trim();
    store
        .buildah("add")
        .args(["--quiet", container])
        .arg(&archive)
        .arg("/")
        .check()?;
    store
        .buildah("commit")
        .args(["--quiet", "--rm", container, BASE])
        .check()
        .map(drop)
}
