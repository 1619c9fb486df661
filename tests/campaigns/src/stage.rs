//! The laboratory with its content, and the life of the agent in it.

use crate::backend::{Backend, Names};
use crate::view::{Status, View};
use crate::{Outcome, tree};
use fsrvp_idl::ShadowCopyId;
use fsrvp_testkit::{
    AgentKind, Lab, LabOptions, MinAuthLevel, Random, Run, ShareKey, process, sweep, until,
};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Longest time until a started agent serves, and until it owes nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A share in the registry that is not the agent's, though its name looks so.
pub(crate) const FOREIGN: &str = "vm@{00000000-1111-2222-3333-444444444444}";
/// A descriptor that differs from that of a share without one, and lets everybody in.
const DESCRIPTOR: &str = "D:(A;;0x001f01ff;;;WD)(A;;0x001f01ff;;;BA)";
/// Files of a share.
const FILES: u64 = 12;
/// Largest file, in bytes.
const LARGEST: u64 = 48 << 10;

/// A share that is backed up.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) name: &'static str,
    pub(crate) unc: String,
    pub(crate) path: PathBuf,
    pub(crate) volume: &'static str,
    /// The data set or subvolume below the volume.
    pub(crate) data_set: &'static str,
    /// The share's directory below that.
    pub(crate) inner: &'static str,
}

/// The laboratory and what it holds.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) backend: Backend,
    pub(crate) bases: Vec<Base>,
    agent: Option<Child>,
}

impl Stage {
    /// Boots a laboratory whose agent is `fsrvpd`, on btrfs.
    pub(crate) fn set(
        fsrvpd: &Path,
        random: &mut Random,
        options: impl FnOnce(LabOptions) -> LabOptions,
    ) -> Outcome<Self> {
        Self::on(Backend::Btrfs, fsrvpd, random, options)
    }

    /// Boots a laboratory whose agent is `fsrvpd` and whose shares are on a backend.
    pub(crate) fn on(
        backend: Backend,
        fsrvpd: &Path,
        random: &mut Random,
        options: impl FnOnce(LabOptions) -> LabOptions,
    ) -> Outcome<Self> {
        if let Err(error) = sweep() {
            println!("an earlier laboratory could not be removed: {error}");
        }
        let fsrvpd = fs::canonicalize(fsrvpd)
            .map_err(|error| format!("{}: {error}; build it first", fsrvpd.display()))?;
        // The clients of the campaigns count what is left behind; security has suites of its own.
        let unsigned =
            LabOptions::for_test(AgentKind::Fsrvpd(fsrvpd)).min_auth_level(MinAuthLevel::None);
        let lab = Lab::up(backend.options(options(unsigned)))?;
        let base = |key: ShareKey, volume, data_set, inner| {
            let share = lab.share(key);
            Base {
                name: share.name,
                unc: format!(r"\\127.0.0.1\{}", share.name),
                path: share.path.clone(),
                volume,
                data_set,
                inner,
            }
        };
        let bases = vec![
            base(ShareKey::A, "btrfs1", "vm", ""),
            base(ShareKey::B, "btrfs2", "data", ""),
            base(ShareKey::Hidden, "btrfs1", "hidden", ""),
            base(ShareKey::Subdir, "btrfs1", "tree", "branch/below"),
            base(ShareKey::Torture, "btrfs1", "torture", ""),
        ];
        for name in [bases.first(), bases.get(1)].into_iter().flatten() {
            Run::new("sharesec")
                .arg("-s")
                .arg(lab.smb_conf())
                .arg(name.name)
                .arg(format!("--setsddl={DESCRIPTOR}"))
                .check()?;
        }
        Run::new("net")
            .arg("-s")
            .arg(lab.smb_conf())
            .args(["conf", "addshare", FOREIGN])
            .arg(lab.dir().join("mnt"))
            .check()?;
        let stage = Self {
            lab,
            backend,
            bases,
            agent: None,
        };
        for base in &stage.bases {
            for number in 0..FILES {
                stage.write(base, number, random)?;
            }
        }
        Ok(stage)
    }

    fn write(&self, base: &Base, number: u64, random: &mut Random) -> Outcome {
        let length = usize::try_from(random.below(LARGEST))?;
        let path = base.path.join(format!("d{}", number % 3));
        fs::create_dir_all(&path)?;
        fs::write(path.join(format!("f{number}")), random.bytes(length))?;
        Ok(())
    }

    /// Changes the content of every share.
    pub(crate) fn change_content(&self, random: &mut Random) -> Outcome {
        for base in &self.bases {
            let number = random.below(FILES);
            self.write(base, number, random)?;
        }
        Ok(())
    }

    /// Hash of a base share.
    pub(crate) fn base_hash(&self, base: usize) -> Outcome<String> {
        let base = self.bases.get(base).ok_or("no such share")?;
        Ok(tree::hash(&base.path)?)
    }

    /// Where a share lies in a copy that is exposed.
    pub(crate) fn copy_path(&self, copy: ShadowCopyId, base: usize) -> Outcome<PathBuf> {
        let base = self.bases.get(base).ok_or("no such share")?;
        Ok(self.backend.copy_path(&self.lab, copy, base))
    }

    /// Hash of a share in a copy.
    pub(crate) fn copy_hash(&self, copy: ShadowCopyId, base: usize) -> Outcome<String> {
        let base = self.bases.get(base).ok_or("no such share")?;
        self.backend.copy_hash(&self.lab, copy, base)
    }

    /// What is to be seen of a copy in a set of this status.
    pub(crate) fn names(&self, copy: ShadowCopyId, base: usize, status: Status) -> Outcome<Names> {
        let base = self.bases.get(base).ok_or("no such share")?;
        Ok(self.backend.names(&self.lab, copy, base, status))
    }

    /// The share of a UNC path or of an exposed share's base.
    pub(crate) fn base_of(&self, unc: &str) -> Option<usize> {
        let name = unc
            .trim_end_matches('\\')
            .rsplit('\\')
            .next()
            .unwrap_or(unc);
        self.bases
            .iter()
            .position(|base| base.name.eq_ignore_ascii_case(name))
    }

    /// The name under which a share of a copy is exposed.
    pub(crate) fn exposed_name(&self, copy: ShadowCopyId, base: usize) -> String {
        let name = self.bases.get(base).map_or("?", |base| base.name);
        let hidden = if name.ends_with('$') { "$" } else { "" };
        format!("{name}@{{{copy}}}{hidden}")
    }

    /// Starts the agent; it may end at any time.
    pub(crate) fn spawn(&mut self, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        self.agent = Some(self.lab.spawn_agent(environment, arguments)?);
        Ok(())
    }

    /// Waits until the agent serves; its exit status if it ends before.
    pub(crate) fn wait_serving(&mut self) -> Outcome<Option<ExitStatus>> {
        let serves = || -> Outcome<_> {
            if let Some(status) = self.ended()? {
                return Ok(Some(Some(status)));
            }
            Ok(View::ask(&self.lab.admin_socket()).is_ok().then_some(None))
        };
        let waited = until(PATIENCE, serves)?;
        waited.ok_or_else(|| "the agent does not serve".into())
    }

    /// Starts the agent as usual and waits until it serves.
    pub(crate) fn start(&mut self) -> Outcome {
        self.start_with(&[])
    }

    /// Starts the agent in a boot of this id.
    pub(crate) fn start_in(&mut self, boot_id: &str) -> Outcome {
        self.start_with(&["--boot-id", boot_id])
    }

    fn start_with(&mut self, arguments: &[&str]) -> Outcome {
        self.spawn(&[], arguments)?;
        match self.wait_serving()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(self.lab.agent_log())?;
                let last = log
                    .rsplit_once("--- start")
                    .map_or(log.as_str(), |(_, last)| last);
                Err(format!("the agent did not start: {status}: {last}").into())
            }
        }
    }

    /// The exit status if the agent has ended.
    pub(crate) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        match &mut self.agent {
            None => Ok(None),
            Some(child) => Ok(child.try_wait()?),
        }
    }

    /// Process id of the agent.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.agent {
            Some(child) => Some(child.id()),
            None => self.lab.agent_pid(),
        }
    }

    /// Waits for the end of an agent that has been killed or must have crashed.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> Outcome<Option<ExitStatus>> {
        until(limit, || self.ended())
    }

    /// Ends the agent at once, and its helper too when `all`.
    pub(crate) fn kill(&mut self, all: bool) -> Outcome {
        if self.agent.is_none() {
            self.lab.stop_agent(true)?;
            return Ok(());
        }
        if let Some(pid) = self.pid() {
            kill(pid, all);
        }
        match self.wait_end(PATIENCE)? {
            Some(_) => Ok(()),
            None => Err("the agent does not die".into()),
        }
    }

    /// Everything ends, and the disk is mounted as it was when its picture was taken.
    pub(crate) fn fall_and_boot(&mut self) -> Outcome {
        self.lab.fall_and_boot()?;
        if let Some(mut child) = self.agent.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Waits until nothing is under way and nothing is owed.
    pub(crate) fn settle(&self) -> Outcome<View> {
        let mut last = None;
        let settled = || -> Outcome<_> {
            let view = last.insert(View::ask(&self.lab.admin_socket())?);
            Ok(view.is_settled().then(|| view.clone()))
        };
        let waited = until(PATIENCE, settled)?;
        waited.ok_or_else(|| format!("still busy or in debt: {last:?}").into())
    }
}

/// Kills an agent, or the agent with all its children in no order.
pub(crate) fn kill(pid: u32, all: bool) {
    let children = if all { children(pid) } else { Vec::new() };
    process::signal(pid, rustix::process::Signal::KILL);
    for child in children {
        process::signal(child, rustix::process::Signal::KILL);
    }
}

/// Processes that a process has started.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let list = fs::read_to_string(task.path().join("children")).ok()?;
        Some(
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>(),
        )
    });
    lists.flatten().collect()
}

/// Whether a process ended itself at a crash point.
pub(crate) fn crashed(status: ExitStatus) -> bool {
    status.signal() == Some(6)
}
