//! `cargo xtask test`: everything that CI runs.

use crate::{Outcome, bench, campaigns, floors, fuzz, lab, licences, raw_protocol, workspace};
use fsrvp_testkit::{packages, programs};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Packages of the workspace whose tests drive whole programs, and run last.
const SUITES: &str = "fsrvp-tests";

/// How long the simulation goes on with new seeds.
const SIMULATION_SECONDS: &str = "30";

#[derive(clap::Args)]
pub(crate) struct Test {
    /// The long forms of the tests too
    #[arg(long)]
    long: bool,
}

pub(crate) fn run(arguments: &Test) -> Outcome {
    let mut steps = Steps::default();
    let cargo = workspace::cargo_command;
    steps.run("Debian packages", || {
        lab::install(packages::BUILD)?;
        lab::install(packages::LABORATORY)?;
        lab::install(packages::SUITES)?;
        lab::install(packages::ZFS)
    });
    steps.run("format", || succeed(cargo(&["fmt", "--all", "--check"])));
    steps.run("floors", floors::run);
    steps.run("licences", licences::run);
    steps.run("lints", || {
        succeed(cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    steps.run("documentation", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        succeed(doc)
    });
    let mut counts = Counts::default();
    let no_suites = ["test", "--workspace", "--exclude", SUITES, "--no-fail-fast"];
    steps.run("tests of the crates", || {
        counts.tests(tests(&no_suites, arguments.long))
    });
    // A build without winbindd and Kerberos: whole walks and NTLM still work.
    let plain = [
        "test",
        "--package",
        "fsrvp-server",
        "--no-default-features",
        "--test",
        "daemon",
        "--no-fail-fast",
    ];
    steps.run("tests without the features", || {
        counts.tests(tests(&plain, arguments.long))
    });
    let mut built = None;
    steps.run("programs", || {
        built = Some(workspace::build_programs(false)?);
        Ok(())
    });
    if let Some(directory) = built {
        steps.run("raw protocol", || {
            raw_protocol::judge(&directory.join("fsrvpd"))
        });
        steps.run("suites in the laboratory", || {
            let mut suites = tests(
                &["test", "--package", SUITES, "--no-fail-fast"],
                arguments.long,
            );
            suites.env(programs::DIRECTORY, directory);
            counts.tests(suites)
        });
    }
    steps.run("benchmarks, the quick form", bench::smoke);
    steps.run("campaigns, the short form", campaigns::short);
    if arguments.long {
        steps.run("campaigns on the other backends", campaigns::others);
        steps.run("fuzzing", || fuzz::run(&fuzz::Fuzz::default()));
    }
    steps.close(&counts)
}

/// A run of cargo's tests where nothing may be skipped.
fn tests(arguments: &[&str], long: bool) -> Command {
    let mut command = workspace::cargo_command(arguments);
    command
        .env("FSRVP_REQUIRE_LAB", "1")
        .env("SIM_SECONDS", SIMULATION_SECONDS);
    if long {
        command
            .env("FSRVP_LONG", "1")
            .env("PROPTEST_CASES", "20000");
    }
    command
}

fn succeed(mut command: Command) -> Outcome {
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(status.to_string().into())
    }
}

/// Steps with their times and outcomes.
#[derive(Default)]
struct Steps(Vec<(&'static str, Duration, Option<String>)>);

impl Steps {
    /// Runs a step; a failure is remembered and the next step runs all the same.
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> Outcome) {
        println!("\n=== {name}");
        let began = Instant::now();
        let error = step().err().map(|error| error.to_string());
        if let Some(error) = &error {
            println!("{error}");
        }
        println!(
            "=== {name}: {} in {:.1?}",
            outcome(error.is_none()),
            began.elapsed()
        );
        self.0.push((name, began.elapsed(), error));
    }

    fn close(self, counts: &Counts) -> Outcome {
        println!("\nSummary");
        let total: Duration = self.0.iter().map(|(_, time, _)| *time).sum();
        for (name, time, error) in &self.0 {
            println!(
                "  {:>7.1} s  {:6}  {name}",
                time.as_secs_f64(),
                outcome(error.is_none())
            );
        }
        println!("  {:>7.1} s  in all", total.as_secs_f64());
        let Counts {
            passed,
            failed,
            ignored,
        } = counts;
        println!("{passed} passed, {failed} failed, {ignored} skipped");
        let broken: Vec<_> = self
            .0
            .iter()
            .filter(|(.., error)| error.is_some())
            .collect();
        if broken.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = broken.iter().map(|(name, ..)| *name).collect();
        Err(format!("failed: {}", names.join(", ")).into())
    }
}

fn outcome(good: bool) -> &'static str {
    if good { "ok" } else { "FAILED" }
}

/// What cargo's test harness says in its closing lines, added up.
#[derive(Default, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Runs tests, shows what they print and adds up their results.
    fn tests(&mut self, mut command: Command) -> Outcome {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line?;
                println!("{line}");
                self.add(&line);
            }
        }
        let status = child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(status.to_string().into())
        }
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let result = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for part in result.split(';') {
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn closing_lines_add_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        counts.add("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured");
        counts.add("test a ... ok");
        assert_eq!(
            counts,
            Counts {
                passed: 5,
                failed: 4,
                ignored: 1
            }
        );
    }
}
