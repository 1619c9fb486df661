//! The judges in Python: they share no code with the agent.

use crate::{Case, CaseResult, fail};
use fsrvp_testkit::{Error, Lab, Run, programs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version that the judges were written against.
const IMPACKET: &str = "impacket==0.13.1";

/// impacket in a virtual environment below the target directory.
#[derive(Debug, Clone)]
pub struct Judge {
    python: PathBuf,
    script: PathBuf,
    level: Option<String>,
    network: Option<u32>,
}

impl Judge {
    /// Makes the virtual environment, if it is not there yet.
    ///
    /// # Errors
    /// What `venv` or `pip` said.
    pub fn ready() -> Result<Self, Error> {
        let workspace = programs::workspace();
        let judge = Self {
            python: workspace.join("target/judges/bin/python"),
            script: workspace.join("tests/judges/judge.py"),
            level: None,
            network: None,
        };
        let works = || judge.run(["-c", "import impacket"]).check().is_ok();
        if !judge.python.exists() || !works() {
            let place = workspace.join("target/judges");
            // The system's own Python: it is the one whose `venv` Debian's package brings.
            Run::new("/usr/bin/python3")
                .args(["-m", "venv", "--clear"])
                .arg(&place)
                .check()?;
            Run::new(place.join("bin/pip"))
                .args(["install", "--quiet", IMPACKET])
                .limit(Duration::from_secs(900))
                .check()?;
        }
        Ok(judge)
    }

    /// Calls at this level (none, connect, packet, integrity, privacy) instead of the least that the
    /// laboratory's agent accepts.
    #[must_use]
    pub fn at_level(mut self, level: &str) -> Self {
        self.level = Some(level.to_owned());
        self
    }

    /// Calls from the network of a process.
    #[must_use]
    pub fn in_network_of(mut self, process: u32) -> Self {
        self.network = Some(process);
        self
    }

    /// Every case that the judges know, by `module::name`; `wanted` picks.
    ///
    /// # Panics
    /// When the list cannot be had, which leaves nothing to test.
    #[must_use]
    #[expect(
        clippy::panic,
        reason = "a test harness without its list of tests cannot go on"
    )]
    pub fn cases(wanted: impl Fn(&str) -> bool) -> Vec<Case> {
        let script = programs::workspace().join("tests/judges/judge.py");
        let list = Run::new("/usr/bin/python3")
            .arg("-B")
            .arg(script)
            .arg("--list")
            .check();
        let list = list.unwrap_or_else(|error| panic!("{error}"));
        let case = |name: &str| {
            let name = name.to_owned();
            Case::new(name.clone(), move |lab| Self::ready()?.case(lab, &name))
        };
        list.stdout
            .lines()
            .filter(|name| wanted(name))
            .map(case)
            .collect()
    }

    /// Lets one case judge.
    ///
    /// # Errors
    /// The judge's reason.
    pub fn case(&self, lab: &Lab, name: &str) -> CaseResult {
        Self::verdict(&self.in_lab(lab).args(["case", name]))
    }

    /// Lets one case judge with calls at a level.
    ///
    /// # Errors
    /// The judge's reason.
    pub fn case_at(&self, lab: &Lab, name: &str, level: &str) -> CaseResult {
        self.case_in(&lab.environment_file(), name, level)
    }

    /// The same in something that has an environment file but is no [`Lab`].
    ///
    /// # Errors
    /// The judge's reason.
    pub fn case_in(&self, environment: &Path, name: &str, level: &str) -> CaseResult {
        let run = self.in_environment(environment, level);
        Self::verdict(&run.args(["case", name]))
    }

    fn verdict(run: &Run) -> CaseResult {
        let output = run.output()?;
        if output.status.success() {
            Ok(())
        } else {
            fail(output.text())
        }
    }

    /// One call on a connection of its own; the answer as the judge prints it.
    ///
    /// # Errors
    /// When there was no answer.
    pub fn call(&self, lab: &Lab, words: &[&str]) -> Result<serde_json::Value, Error> {
        Self::answer(self.in_lab(lab), words)
    }

    fn answer(run: Run, words: &[&str]) -> Result<serde_json::Value, Error> {
        let output = run.arg("call").args(words).check()?;
        serde_json::from_str(&output.stdout)
            .map_err(|error| Error::Unfit(format!("{words:?}: {error}: {}", output.stdout)))
    }

    /// A call that has to succeed; what it returned besides the code.
    ///
    /// # Errors
    /// The code, when it is not ZERO.
    pub fn succeeds(
        &self,
        lab: &Lab,
        words: &[&str],
    ) -> Result<serde_json::Value, libtest_mimic::Failed> {
        Self::value(&self.call(lab, words)?, words)
    }

    /// The same in something that has an environment file but is no [`Lab`].
    ///
    /// # Errors
    /// The code, when it is not ZERO.
    pub fn succeeds_in(
        &self,
        environment: &Path,
        level: &str,
        words: &[&str],
    ) -> Result<serde_json::Value, libtest_mimic::Failed> {
        let answer = Self::answer(self.in_environment(environment, level), words)?;
        Self::value(&answer, words)
    }

    /// What a call returned besides its code, which has to be ZERO.
    fn value(
        answer: &serde_json::Value,
        words: &[&str],
    ) -> Result<serde_json::Value, libtest_mimic::Failed> {
        let (code, value) = match answer.as_array() {
            Some(fields) => (fields.first(), fields.get(1)),
            None => (Some(answer), None),
        };
        match code.and_then(serde_json::Value::as_u64) {
            Some(0) => Ok(value.cloned().unwrap_or_default()),
            code => fail(format!("{words:?}: {:#x}", code.unwrap_or(u64::MAX))),
        }
    }

    fn in_lab(&self, lab: &Lab) -> Run {
        let level = self.level.as_deref().unwrap_or(lab.min_auth_level().name());
        self.in_environment(&lab.environment_file(), level)
    }

    fn in_environment(&self, environment: &Path, level: &str) -> Run {
        let run = self.run([Path::new("-B"), &self.script]);
        run.args(["--level", level])
            .arg("--env")
            .arg(environment)
            .limit(Duration::from_secs(300))
    }

    fn run<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        match self.network {
            Some(process) => Run::new("nsenter")
                .arg(format!("--target={process}"))
                .args(["--net", "--"])
                .arg(&self.python)
                .args(arguments),
            None => Run::new(&self.python).args(arguments),
        }
    }
}
