//! The laboratories: our agent, ours without its helper, and the peer.

use crate::Result;
use fsrvp_testkit::{AgentKind, Environment, Lab, LabOptions, MinAuthLevel, Run, ShareKey};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;

/// Worker processes of rpcd_fsrvp: Samba's default.
const WORKERS: u32 = 5;
/// What a service gets from systemd unless its unit says otherwise.
const USUAL_DESCRIPTORS: u64 = 1_024;
/// Files of a directory in the subvolume with many of them.
const FILES_OF_A_DIRECTORY: usize = 1_000;

/// What runs.
#[derive(Debug)]
pub(crate) struct Labs {
    /// Our agent.
    pub(crate) ours: Lab,
    /// Our agent with `helper = false`.
    pub(crate) helperless: Lab,
    /// Samba's own agent.
    pub(crate) peer: Lab,
}

impl Labs {
    /// Boots all of them; `fsrvpd` is our agent.
    pub(crate) fn up(fsrvpd: &Path) -> Result<Self> {
        let limit = getrlimit(Resource::Nofile);
        // The daemon has to make room for its clients itself.
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(USUAL_DESCRIPTORS),
                ..limit
            },
        )?;
        let agent = AgentKind::Fsrvpd(fsrvpd.to_owned());
        let options = [
            LabOptions::for_test(agent.clone()).min_auth_level(MinAuthLevel::None),
            LabOptions::for_test(agent)
                .min_auth_level(MinAuthLevel::None)
                .server_line("helper = false"),
            LabOptions::for_test(AgentKind::Samba { workers: WORKERS }),
        ];
        let boots =
            options.map(|options| thread::spawn(move || Lab::up(options.log_level("info"))));
        let [ours, helperless, peer] = boots.map(|boot| {
            boot.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let labs = Self {
            ours: ours?,
            helperless: helperless?,
            peer: peer?,
        };
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                ..limit
            },
        )?;
        Ok(labs)
    }
}

/// The share that everything uses but what needs another.
pub(crate) fn share(lab: &Lab) -> Target {
    let share = lab.share(ShareKey::A);
    Target {
        unc: unc(share.name),
        path: share.path.clone(),
    }
}

/// A share as a client names it, and its directory.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) unc: String,
    pub(crate) path: PathBuf,
}

impl Target {
    /// A directory on the same file system, outside the share, for what is made without an agent.
    pub(crate) fn workshop(&self) -> Result<File> {
        let top = self.path.parent().ok_or("the share has no parent")?;
        let workshop = top.join("bench");
        if !workshop.exists() {
            fs::create_dir(&workshop)?;
        }
        Ok(File::open(workshop)?)
    }

    /// Writes back what the file system has in memory.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.path)?)?)
    }
}

/// Makes a subvolume with `files` empty files, and a share of it in Samba's registry.
pub(crate) fn share_of_many_files(lab: &Lab, files: usize) -> Result<Target> {
    const NAME: &str = "many";
    let target = Target {
        unc: unc(NAME),
        path: share(lab).path.with_file_name(NAME),
    };
    Run::new("btrfs")
        .args(["subvolume", "create"])
        .arg(&target.path)
        .check()?;
    for number in 0..files {
        let directory = target
            .path
            .join((number / FILES_OF_A_DIRECTORY).to_string());
        if number % FILES_OF_A_DIRECTORY == 0 {
            DirBuilder::new().mode(0o755).create(&directory)?;
        }
        File::create(directory.join(number.to_string()))?;
    }
    let conf = lab.smb_conf();
    let add = Run::new("net")
        .arg("-s")
        .arg(conf)
        .args(["conf", "addshare", NAME]);
    add.arg(&target.path).arg("writeable=y").check()?;
    Ok(target)
}

fn unc(share: &str) -> String {
    format!(r"\\127.0.0.1\{share}")
}

/// Where our agent keeps its table.
pub(crate) fn state_directory(lab: &Lab) -> Result<PathBuf> {
    let environment = Environment::read(&lab.environment_file())?;
    Ok(environment
        .value("STATE_DIR")
        .ok_or("the laboratory has no state directory")?
        .into())
}

/// Process ids of our agent and, if it runs, its helper.
pub(crate) fn processes(lab: &Lab) -> Result<Vec<u32>> {
    let agent = lab.agent_pid().ok_or("the agent does not run")?;
    let mut processes = vec![agent];
    for task in fs::read_dir(format!("/proc/{agent}/task"))?.flatten() {
        let children = fs::read_to_string(task.path().join("children"))?;
        processes.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Ok(processes)
}
