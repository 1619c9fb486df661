//! Speed of the agent on its pipe socket, side by side with Samba's rpcd_fsrvp and with the bare
//! system calls, in one run.

mod canned;
mod clone;
mod commit;
mod crowd;
mod cycle;
mod dirty;
mod ground;
mod growth;
mod labs;
mod null;
mod pipe;
mod plot;
mod report;
mod security;
mod set;
mod stats;
mod store;
mod trace;

use clap::{Parser, Subcommand, ValueEnum};
use labs::Labs;
use report::{Page, Report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "fsrvp-bench", about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The agent's program [default: fsrvpd beside this program]
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Everything once, in seconds: shows that it can be measured, and judges no times
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Put what was measured into this file, each part between its marks
    #[arg(long)]
    readme: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// The replier that decodes nothing, on a socket
    #[command(hide = true)]
    Canned { socket: PathBuf },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Store,
    Clone,
    Growth,
    Commit,
    Trace,
    Dirty,
    Cycle,
    Null,
    Crowd,
    Security,
    BtrfsSet,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Command::Canned { socket }) => canned::serve(socket),
        None => run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fsrvp-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Part {
    /// In the order in which they are measured.
    const ALL: [Self; 11] = [
        Self::Clone,
        Self::Growth,
        Self::Store,
        Self::Commit,
        Self::Trace,
        Self::Dirty,
        Self::Cycle,
        Self::Null,
        Self::Crowd,
        Self::BtrfsSet,
        Self::Security,
    ];

    /// As it is called on the command line.
    fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    fsrvp_testkit::machine_fits()?;
    fsrvp_testkit::sweep()?;
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => std::env::current_exe()?.with_file_name("fsrvpd"),
    };
    let wanted = |part: &Part| arguments.only.is_empty() || arguments.only.contains(part);
    let parts: Vec<Part> = Part::ALL.into_iter().filter(wanted).collect();
    let words: Vec<String> = parts.iter().map(|part| part.word()).collect();
    // Before anything takes its time.
    if let Some(path) = &arguments.readme {
        page(path, &words)?;
    }
    let (mut labs, mut texts, mut missed) = (None, Vec::new(), Vec::new());
    for (part, word) in parts.into_iter().zip(&words) {
        let mut report = Report::of(word);
        match part {
            Part::Clone => clones(arguments.quick, &mut report)?,
            Part::Growth => grow(arguments, &mut report)?,
            part => {
                if labs.is_none() {
                    labs = Some(Labs::up(&agent)?);
                }
                if let Some(labs) = &labs {
                    measure(part, arguments.quick, &agent, labs, &mut report)?;
                }
            }
        }
        let text = report.markdown(&about()?);
        println!("{text}");
        missed.extend(report.missed().map(str::to_owned));
        texts.push(text);
    }
    if let Some(path) = &arguments.readme {
        let mut page = page(path, &words)?;
        for (word, text) in words.iter().zip(&texts) {
            page.put(word, text)?;
        }
        std::fs::write(path, page.text())?;
    }
    if arguments.quick || missed.is_empty() {
        return Ok(());
    }
    Err(format!("missed: {}", missed.join(", ")).into())
}

fn page(path: &Path, words: &[String]) -> Result<Page> {
    let text = std::fs::read_to_string(path)?;
    Ok(Page::new(text, words.iter().map(String::as_str))?)
}

/// What needs no laboratory.
fn clones(quick: bool, report: &mut Report) -> Result<()> {
    let number = |full: usize, smoke: usize| if quick { smoke } else { full };
    let plan = clone::Plan {
        files: number(10_000, 100),
        extents: number(100_000, 100),
        pairs: number(9, 1),
    };
    clone::run(plan, report)
}

/// What needs no laboratory, and has files of its own.
fn grow(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let number = |full: usize, smoke: usize| if arguments.quick { smoke } else { full };
    let plan = growth::Plan {
        files: number(1_000_000, 10),
        extents: number(100_000, 10),
        copies: number(1_000, 1),
        dirty: number(1 << 30, 1 << 20),
        rounds: number(5, 1),
    };
    let growth = growth::run(plan)?;
    growth.tables(report);
    let Some(directory) = arguments.readme.as_deref().and_then(Path::parent) else {
        return Ok(());
    };
    Ok(growth.draw(&directory.join("growth.svg"))?)
}

/// What is measured in laboratories.
fn measure(part: Part, quick: bool, agent: &Path, labs: &Labs, report: &mut Report) -> Result<()> {
    let number = |full: usize, smoke: usize| if quick { smoke } else { full };
    match part {
        // Without a laboratory, elsewhere.
        Part::Clone | Part::Growth => Ok(()),
        Part::Store => {
            let plan = store::Plan {
                rounds: number(15, 1),
                commits: number(40, 3),
                sets: number(1_000, 10),
            };
            store::run(plan, report)
        }
        Part::Commit => {
            let files = number(100_000, 1_000);
            let cases = [
                ("empty subvolume".to_owned(), labs::share(&labs.ours)),
                (
                    format!("{files} files"),
                    labs::share_of_many_files(&labs.ours, files)?,
                ),
            ];
            commit::clean(labs, &cases, number(240, 2), report)
        }
        Part::Trace => trace::run(labs, number(10, 2), report),
        Part::Dirty => {
            let dirt = dirty::Dirt {
                before: number(2 << 30, 8 << 20),
                after: 1 << 20,
                rounds: number(6, 1),
            };
            dirty::run(labs, dirt, report)
        }
        Part::Cycle => cycle::run(labs, number(200, 1), report),
        Part::Null => {
            let plan = null::Plan {
                slices: number(16, 1),
                slice: Duration::from_millis(if quick { 20 } else { 300 }),
            };
            let canned = labs.ours.dir().join("canned.sock");
            null::run(&labs.ours.pipe(), &labs.peer.pipe(), &canned, plan, report)
        }
        Part::Crowd => crowd::run(labs, 1_000, report),
        Part::BtrfsSet => set::run(&labs.ours, number(64, 4), number(12, 1), report),
        Part::Security => {
            let plan = security::Plan {
                slices: number(16, 1),
                calls: number(10_000, 100),
                logons: number(1_000, 5),
            };
            security::run(agent, plan, report)
        }
    }
}

/// What the figures were taken on.
fn about() -> Result<String> {
    let uname = rustix::system::uname();
    let processors = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let samba = fsrvp_testkit::Run::new("smbd").arg("--version").check()?;
    Ok(format!(
        "Linux {} on {processors} processors, {}, load average {} at the end of the run.",
        uname.release().to_string_lossy(),
        samba.stdout.trim().trim_start_matches("Version "),
        load.split_whitespace().next().unwrap_or_default(),
    ))
}
