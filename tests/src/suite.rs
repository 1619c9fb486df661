//! A list of named cases with one laboratory.

use crate::{Judge, secrets};
use fsrvp_testkit::{
    AgentKind, Isolation, Lab, LabOptions, laboratory_required, machine_fits, programs, sweep, zfs,
};
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// How a case ends.
pub type CaseResult = Result<(), Failed>;

type Body = Box<dyn FnOnce(&Lab) -> CaseResult + Send>;

/// A named case.
pub struct Case {
    name: String,
    body: Body,
}

impl Case {
    /// A case that needs the laboratory.
    pub fn new(
        name: impl Into<String>,
        body: impl FnOnce(&Lab) -> CaseResult + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            body: Box::new(body),
        }
    }
}

/// Cases and the laboratory that they share.
pub struct Suite {
    options: fn(AgentKind) -> LabOptions,
    cases: Vec<Case>,
    isolation: Option<Isolation>,
}

impl Suite {
    /// A suite whose laboratory is made by `options`.
    #[must_use]
    pub fn new(options: fn(AgentKind) -> LabOptions) -> Self {
        Self {
            options,
            cases: Vec::new(),
            isolation: None,
        }
    }

    /// Runs the laboratory in namespaces of its own.
    #[must_use]
    pub fn isolated(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Adds a case.
    #[must_use]
    pub fn case(
        mut self,
        name: impl Into<String>,
        body: impl FnOnce(&Lab) -> CaseResult + Send + 'static,
    ) -> Self {
        self.cases.push(Case::new(name, body));
        self
    }

    /// Adds cases.
    #[must_use]
    pub fn cases(mut self, cases: impl IntoIterator<Item = Case>) -> Self {
        self.cases.extend(cases);
        self
    }

    /// Ends with a look for what the other cases, their crashes and restarts may have left behind.
    #[must_use]
    pub fn and_nothing_is_left(self) -> Self {
        self.cases(Judge::cases(|name| name == "leaks::nothing_is_left"))
    }

    /// Runs the cases that the command line asks for, as cargo's own harness would.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = Some(1);
        let unfit = machine_fits().err().or_else(|| match self.isolation {
            Some(Isolation::Zfs) => zfs::unfit(),
            Some(Isolation::Winbind | Isolation::Domain | Isolation::Containers) | None => None,
        });
        if let Some(why) = unfit.as_ref().filter(|_| !laboratory_required()) {
            println!("skipped: {why}");
        }
        let skip = unfit.is_some() && !laboratory_required();
        if let Some(isolation) = self
            .isolation
            .filter(|_| unfit.is_none() && !arguments.list)
            && let Err(error) = isolation.enter()
        {
            eprintln!("no namespaces: {error}");
            return ExitCode::FAILURE;
        }
        let room = Arc::new(Room {
            options: self.options,
            lab: Mutex::new(None),
        });
        let trials = self.cases.into_iter().map(|Case { name, body }| {
            let room = Arc::clone(&room);
            Trial::test(name, move || room.with_lab(body)).with_ignored_flag(skip)
        });
        let conclusion = libtest_mimic::run(&arguments, trials.collect());
        match room.secrets() {
            Ok(None) => {}
            Ok(Some(found)) => {
                eprintln!("the agent's log has {found}");
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("the agent's log could not be searched for secrets: {error}");
                return ExitCode::FAILURE;
            }
        }
        if let Err(error) = room.close() {
            eprintln!("the laboratory could not be removed: {error}");
            return ExitCode::FAILURE;
        }
        conclusion.exit_code()
    }
}

/// The laboratory, made by the first case that needs it.
struct Room {
    options: fn(AgentKind) -> LabOptions,
    lab: Mutex<Option<Lab>>,
}

impl Room {
    fn with_lab(&self, body: Body) -> CaseResult {
        machine_fits()?;
        // A case that panicked has not broken the laboratory.
        let mut lab = self.lab.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = match &mut *lab {
            Some(lab) => lab,
            none => {
                if let Err(error) = sweep() {
                    println!("an earlier laboratory could not be removed: {error}");
                }
                none.insert(Lab::up((self.options)(agent()?))?)
            }
        };
        let before = log_length(lab);
        body(lab).map_err(|failed| explain(failed, lab, before))
    }

    /// A password or its hash in what our agent has logged during all cases.
    fn secrets(&self) -> Result<Option<String>, String> {
        let lab = self.lab.lock().unwrap_or_else(PoisonError::into_inner);
        match &*lab {
            Some(lab) if !asked_for_samba() => secrets::in_log_of(lab),
            _ => Ok(None),
        }
    }

    fn close(&self) -> Result<(), fsrvp_testkit::Error> {
        let lab = self
            .lab
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        lab.map_or(Ok(()), Lab::down)
    }
}

/// Whether the environment asks for Samba's agent, which shows what the cases are worth.
fn asked_for_samba() -> bool {
    std::env::var_os("FSRVP_SUITE_AGENT").is_some_and(|agent| agent == "samba")
}

fn agent() -> Result<AgentKind, fsrvp_testkit::Error> {
    if asked_for_samba() {
        return Ok(AgentKind::Samba { workers: 1 });
    }
    Ok(AgentKind::Fsrvpd(programs::program("fsrvpd")?))
}

fn log_length(lab: &Lab) -> usize {
    std::fs::read(lab.agent_log()).map_or(0, |log| log.len())
}

/// Adds what the agent logged during the case.
fn explain(failed: Failed, lab: &Lab, before: usize) -> Failed {
    const LINES: usize = 60;
    let log = std::fs::read(lab.agent_log()).unwrap_or_default();
    let log = String::from_utf8_lossy(log.get(before..).unwrap_or_default()).into_owned();
    let skip = log.lines().count().saturating_sub(LINES);
    let tail: Vec<_> = log.lines().skip(skip).collect();
    let reason = failed.message().unwrap_or("panicked");
    Failed::from(format!(
        "{reason}\n--- the agent's log\n{}",
        tail.join("\n")
    ))
}

/// An error with a reason.
///
/// # Errors
/// Always.
pub fn fail<T>(reason: impl std::fmt::Display) -> Result<T, Failed> {
    Err(Failed::from(reason))
}
