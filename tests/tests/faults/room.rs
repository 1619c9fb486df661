//! What every case needs: the log from its beginning on, and a look at what is left.

use crate::documented;
use fsrvp_testkit::{Lab, Run, ShareKey, comes_true, unix_http_get, until};
use fsrvp_tests::operator::{Backup, Step};
use fsrvp_tests::{CaseResult, fail};
use libtest_mimic::Failed;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A call that is refused because something is broken does not wait for it.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long debts may take to be paid once nothing is in their way.
const PATIENCE: Duration = Duration::from_secs(60);

/// A laboratory at the beginning of a case.
pub(crate) struct Room<'a> {
    pub(crate) lab: &'a Lab,
    log_from: usize,
}

impl<'a> Room<'a> {
    pub(crate) fn enter(lab: &'a Lab) -> Self {
        let log_from = fs::read(lab.agent_log()).map_or(0, |log| log.len());
        Self { lab, log_from }
    }

    /// A backup of share A.
    pub(crate) fn backup(&self) -> Result<Backup, Failed> {
        self.backup_of(&[ShareKey::A])
    }

    pub(crate) fn backup_of(&self, keys: &[ShareKey]) -> Result<Backup, Failed> {
        let names: Vec<_> = keys.iter().map(|key| self.lab.share(*key).name).collect();
        Backup::of(self.lab, &names)
    }

    /// What the agent has logged in this case.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.lab.agent_log()).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_from..).unwrap_or_default()).into_owned()
    }

    /// A line of the log says of a fault what the handbook says, with all of `parts`: the share or
    /// the path that it is about.
    pub(crate) fn reports(&self, fault: &str, parts: &[&str]) -> CaseResult {
        let message = documented::message_of(fault)?;
        self.has_line(|line| documented::is_in(line, &message) && has_all(line, parts))
            .map_err(|_| format!("no line of the log has {message:?} and {parts:?}").into())
    }

    /// One line of the log has all of `parts`: what an operator reads.
    pub(crate) fn says(&self, parts: &[&str]) -> CaseResult {
        self.has_line(|line| has_all(line, parts))
            .map_err(|_| format!("no line of the log has all of {parts:?}").into())
    }

    fn has_line(&self, is_it: impl Fn(&str) -> bool) -> CaseResult {
        if !comes_true(Duration::from_secs(3), || self.log().lines().any(&is_it)) {
            return fail("no such line");
        }
        Ok(())
    }

    /// A number or list of `/v1/sets` of the server, as JSON.
    pub(crate) fn view(&self) -> Result<serde_json::Value, Failed> {
        let answer = unix_http_get(&self.lab.admin_socket(), "/v1/sets")?;
        let body: serde_json::Value = serde_json::from_str(&answer.body)?;
        let name = self.lab.server_name();
        Ok(body
            .pointer(&format!("/servers/{name}"))
            .cloned()
            .unwrap_or_default())
    }

    pub(crate) fn count(&self, list: &str) -> Result<usize, Failed> {
        Ok(self
            .view()?
            .get(list)
            .and_then(|list| list.as_array())
            .map_or(0, Vec::len))
    }

    /// The copies that lie on a volume.
    pub(crate) fn copies_on(&self, volume: &str) -> Vec<String> {
        let area = self.area(volume);
        let mut names: Vec<_> = entries(&area);
        names.retain(|name| name != "previous");
        names
    }

    pub(crate) fn area(&self, volume: &str) -> PathBuf {
        self.lab
            .volume(volume)
            .join(".fsrvpd")
            .join(self.lab.server_name())
    }

    /// Exposed shares in Samba's registry.
    pub(crate) fn exposed_shares(&self) -> Result<Vec<String>, Failed> {
        let list = self.net(&["conf", "listshares"])?;
        Ok(list
            .lines()
            .filter(|name| name.contains("@{"))
            .map(str::to_owned)
            .collect())
    }

    pub(crate) fn net(&self, arguments: &[&str]) -> Result<String, Failed> {
        let run = Run::new("net")
            .arg("-s")
            .arg(self.lab.smb_conf())
            .args(arguments);
        Ok(run.check()?.stdout)
    }

    /// The fault is over. Nothing is left of the case, and the next backup works.
    pub(crate) fn recovers(&self) -> CaseResult {
        self.is_clean()?;
        self.backup_of(&[ShareKey::A, ShareKey::B])?
            .walks(Step::Delete)?;
        self.is_clean()
    }

    /// No set, no debt, no snapshot, no share, no link.
    pub(crate) fn is_clean(&self) -> CaseResult {
        let mut left = Vec::new();
        let clean = until(PATIENCE, || {
            left = self.left()?;
            Ok::<_, Failed>(left.is_empty().then_some(()))
        })?;
        clean.ok_or_else(|| format!("left over: {left:?}").into())
    }

    fn left(&self) -> Result<Vec<String>, Failed> {
        let mut left = Vec::new();
        for list in ["sets", "debts", "jobs"] {
            if self.count(list)? > 0 {
                left.push(format!("{list}: {}", self.view()?));
            }
        }
        for volume in ["btrfs1", "btrfs2"] {
            left.extend(self.copies_on(volume));
            let previous = self.area(volume).join("previous");
            for folder in entries(&previous) {
                left.extend(entries(&previous.join(folder)));
            }
        }
        left.extend(self.exposed_shares()?);
        Ok(left)
    }

    /// Ends the agent, lets `change` happen, and starts it again.
    pub(crate) fn restarted_after(&self, change: impl FnOnce() -> CaseResult) -> CaseResult {
        self.lab.stop_agent(false)?;
        let changed = change();
        self.lab.start_agent()?;
        changed
    }

    /// The agent does not start; what it says.
    pub(crate) fn start_is_refused(&self) -> Result<String, Failed> {
        let mut child = self.lab.spawn_agent(&[], &[])?;
        let Some(status) = until(Duration::from_secs(30), || child.try_wait())? else {
            let _ = child.kill();
            let _ = child.wait();
            return fail("it has started");
        };
        if status.code() != Some(1) {
            return fail(format!("exit status {status}"));
        }
        let log = self.log();
        let last = log
            .rsplit_once("--- start")
            .map_or(log.as_str(), |(_, last)| last);
        Ok(last.to_owned())
    }
}

fn has_all(line: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| line.contains(part))
}

/// A mount that goes with the value.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// A file system in memory.
    pub(crate) fn tmpfs(on: &Path, size: &str) -> Result<Self, Failed> {
        let size = format!("size={size}");
        Run::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(on)
            .check()?;
        Ok(Self(on.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What still has a file open there goes with the laboratory.
        let _ = Run::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Takes all space of the file system of a directory.
pub(crate) fn fill(directory: &Path) -> Result<Ballast, Failed> {
    let path = directory.join("ballast");
    let mut file = fs::File::create(&path)?;
    let block = [7; 4096];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    Ok(Ballast(path))
}

/// A file that goes with the value.
pub(crate) struct Ballast(pub(crate) PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
