//! What `fsrvpctl` shows: every verb and every way to fail, in a pipe and on a terminal of 80 columns, to root, to a
//! member of the admin group and to a stranger, held against files that people have read.
//!
//! `FSRVP_CAPTURE=1` writes the files anew. Read each that has changed before it is committed.

#![allow(
    clippy::indexing_slicing,
    reason = "the positions were counted in the same list"
)]

mod fake;
mod house;
mod normal;
mod scenes;
mod session;

use fsrvp_testkit::{Isolation, laboratory_required, machine_fits};
use house::House;
use libtest_mimic::{Arguments, Failed, Trial};
use scenes::{SCENES, Scene};
use session::{Output, Session};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let unfit = machine_fits().err();
    if let Some(why) = &unfit
        && !laboratory_required()
    {
        println!("skipped: {why}");
    }
    if unfit.is_none()
        && !arguments.list
        && let Err(error) = Isolation::Containers.enter()
    {
        eprintln!("no namespaces: {error}");
        return ExitCode::FAILURE;
    }
    let house: Arc<Mutex<Option<House>>> = Arc::default();
    let trials = SCENES.iter().map(|scene| {
        let house = Arc::clone(&house);
        let skip = unfit.is_some() && !laboratory_required();
        Trial::test(scene.name, move || {
            machine_fits()?;
            let mut house = house.lock().unwrap_or_else(PoisonError::into_inner);
            let house = match &mut *house {
                Some(house) => house,
                none => none.insert(House::open()?),
            };
            captured(scene, house)
        })
        .with_ignored_flag(skip)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    session::close_terminals();
    drop(house);
    conclusion.exit_code()
}

/// Plays a scene for everybody at every output, and compares.
fn captured(scene: &Scene, house: &mut House) -> Result<(), Failed> {
    for (who, name) in scene.seats() {
        for output in [Output::Pipe, Output::Terminal] {
            let mut session = Session::new(*who, output);
            let played = (scene.play)(house, &mut session);
            house.clear()?;
            played?;
            let found = normal::normal(&session.transcript());
            compare(&golden(&name.replace("{}", scene.name)), &found)
                .map_err(|why| format!("{who:?}, {output:?}: {why}"))?;
        }
    }
    Ok(())
}

fn golden(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/golden");
    directory.join(format!("{name}.txt"))
}

fn compare(file: &Path, found: &str) -> Result<(), String> {
    let writes = std::env::var_os("FSRVP_CAPTURE").is_some_and(|value| value == "1");
    let expected = fs::read_to_string(file).unwrap_or_default();
    if expected == *found {
        return Ok(());
    }
    let lines = expected.lines().zip(found.lines());
    let first = lines
        .take_while(|(expected, found)| expected == found)
        .count();
    let part = |text: &str| -> String {
        let skip = first.saturating_sub(6);
        let lines: Vec<_> = text.lines().skip(skip).take(14).collect();
        lines.join("\n")
    };
    let told = format!(
        "{} says\n{}\nbut it is\n{}",
        file.display(),
        part(&expected),
        part(found)
    );
    if writes {
        println!("written: {told}");
        return fs::write(file, found).map_err(|error| error.to_string());
    }
    Err(told)
}
