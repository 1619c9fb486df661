//! A container as an engine would run it: killed, stopped, asked for its health.

use super::store::{Config, Store};
use fsrvp_testkit::{Error, Output, Run, comes_true, process, until};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// For the entry point to run, and for the first good health check.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a container is run.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// `NAME=value`.
    pub(super) environment: Vec<String>,
    /// `/here:/there`, with `:ro` where it is not written to.
    pub(super) volumes: Vec<String>,
    /// Capabilities besides the usual ones, without `CAP_`.
    pub(super) capabilities: Vec<&'static str>,
}

impl Options {
    pub(super) fn arguments(&self) -> Vec<String> {
        let volumes = self
            .volumes
            .iter()
            .map(|volume| format!("--volume={volume}"));
        let environment = self
            .environment
            .iter()
            .map(|value| format!("--env={value}"));
        let capabilities = self
            .capabilities
            .iter()
            .map(|name| format!("--cap-add=CAP_{name}"));
        volumes.chain(environment).chain(capabilities).collect()
    }
}

/// A running container; dropping it kills and removes it.
pub(super) struct Container {
    store: Store,
    config: Config,
    environment: Vec<String>,
    name: String,
    log: PathBuf,
    /// `unshare`: with it, everything in the container's process namespace ends.
    outside: Child,
}

impl Container {
    /// Runs the entry point of an image and waits until the container is healthy.
    pub(super) fn start(
        store: &Store,
        image: &str,
        options: &Options,
        log: &Path,
    ) -> Result<Self, Error> {
        let config = store.config(image)?;
        let name = store.container(image)?;
        let written = fs::File::create(log).map_err(Error::file(log))?;
        let also = written.try_clone().map_err(Error::file(log))?;
        let outside = Command::new("unshare")
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
                "buildah",
            ])
            .args(store.options())
            .arg("run")
            .args(options.arguments())
            .arg(&name)
            .arg("--")
            .args(&config.entrypoint)
            .env("BUILDAH_ISOLATION", "chroot")
            .stdin(Stdio::null())
            .stdout(written)
            .stderr(also)
            .spawn()
            .map_err(Error::file("unshare"))?;
        let mut container = Self {
            store: store.clone(),
            config,
            environment: options.environment.clone(),
            name,
            log: log.to_owned(),
            outside,
        };
        let mut healthy = false;
        comes_true(PATIENCE, || {
            healthy = container.healthy();
            let ended = container.outside.try_wait();
            healthy || ended.is_ok_and(|status| status.is_some())
        });
        if !healthy {
            return Err(Error::Unfit(format!(
                "the container of {image} does not become healthy:\n{}",
                container.log()
            )));
        }
        Ok(container)
    }

    /// What the container has written so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What the image's health check says, within the image's time.
    pub(super) fn healthy(&self) -> bool {
        let limit = self.config.health_limit;
        // Ends what the check has started, too.
        let mut words = vec!["timeout".to_owned(), "--kill-after=1".to_owned()];
        words.push(limit.as_secs().to_string());
        words.extend(self.config.health.iter().cloned());
        let outcome = self.command(&words).and_then(|check| check.output());
        outcome.is_ok_and(|output| output.status.success())
    }

    /// Runs a program in the container, as `docker exec` does.
    pub(super) fn exec(&self, words: &[&str]) -> Result<Output, Error> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        self.command(&words)?.check()
    }

    fn command(&self, words: &[String]) -> Result<Run, Error> {
        let first = self
            .first_process()
            .ok_or_else(|| Error::Unfit(format!("the container does not run:\n{}", self.log())))?;
        let run = Run::new("nsenter")
            .arg(format!("--target={first}"))
            .args(["--mount", "--pid", "--uts", "--root", "--wd", "--"])
            .args(words);
        let variables = self
            .environment
            .iter()
            .filter_map(|line| line.split_once('='));
        Ok(variables.fold(run, |run, (name, value)| run.env(name, value)))
    }

    /// The entry point's process id as this namespace counts.
    fn first_process(&self) -> Option<u32> {
        let program = self.config.entrypoint.first()?.as_bytes();
        let mut seen = vec![self.outside.id()];
        while let Some(pid) = seen.pop() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.split(|byte| *byte == 0).next() == Some(program) {
                return Some(pid);
            }
            seen.extend(children(pid));
        }
        None
    }

    /// The process ids of a program in the container.
    pub(super) fn processes(&self, name: &str) -> Vec<u32> {
        let mut found = Vec::new();
        let mut seen: Vec<_> = self.first_process().into_iter().collect();
        while let Some(pid) = seen.pop() {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if command.trim_end() == name {
                found.push(pid);
            }
            seen.extend(children(pid));
        }
        found
    }

    /// Asks as an engine asks, and waits for the end.
    pub(super) fn stop(mut self, limit: Duration) -> Result<ExitStatus, Error> {
        if let Some(first) = self.first_process() {
            process::signal(first, Signal::TERM);
        }
        let ended = until(limit, || self.outside.try_wait()).map_err(Error::file("unshare"))?;
        ended.ok_or_else(|| Error::Unfit(format!("the container does not stop:\n{}", self.log())))
    }

    /// Ends it as a crash of the machine's engine would.
    pub(super) fn kill(self) {
        drop(self);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The first process of the namespace takes all others with it.
        for pid in children(self.outside.id()) {
            process::signal(pid, Signal::KILL);
        }
        let _ = self.outside.kill();
        let _ = self.outside.wait();
        if let Err(error) = self.store.remove(&self.name) {
            eprintln!("{error}");
        }
    }
}

/// Children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads.into_iter().flatten().flatten();
    let lists = lists.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}
