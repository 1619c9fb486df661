//! `cargo xtask demo`: a shadow copy as a real client makes it, step by step.

mod story;

use crate::{Outcome, lab, workspace};
use fsrvp_testkit::{
    AgentKind, Lab, LabOptions, Run, ShareKey, down, machine_fits, packages, sweep,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use story::Story;

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Build and run the optimised agent
    #[arg(long)]
    release: bool,
    /// The laboratory that needs no root, even for root
    #[arg(long)]
    embedded: bool,
}

pub(crate) fn run(arguments: &Demo) -> Outcome {
    if !is_root() || arguments.embedded {
        println!(
            "The embedded laboratory: no Samba, no file systems. With root there is more to see."
        );
        return crate::embedded::run(arguments.release);
    }
    println!("Getting ready: Debian packages, programs, a private laboratory.");
    lab::install(packages::BUILD)?;
    lab::install(packages::LABORATORY)?;
    machine_fits()?;
    let programs = workspace::build_programs(arguments.release)?;
    sweep()?;
    let options = LabOptions::for_test(AgentKind::Fsrvpd(programs.join("fsrvpd")));
    clean_up_on_signals(options.directory())?;
    let lab = Lab::up(options)?;
    let told = tell(&lab, &programs);
    let dir = lab.dir().to_owned();
    lab.down()?;
    told?;
    println!(
        "\nThe laboratory is down; nothing of it is left in {}.",
        dir.display()
    );
    Ok(())
}

fn tell(lab: &Lab, programs: &Path) -> Outcome {
    let mut story = Story::default();
    let share = lab.share(ShareKey::A);
    let who = lab.backup();
    let files = Files::new(lab.dir())?;
    println!(
        "\nsmbd serves the share \"{}\" from btrfs on 127.0.0.1:{}. The agent, fsrvpd (process {}), owns\n\
         the pipe FssagentRpc behind it. The user \"{}\" is a Backup Operator.",
        share.name,
        lab.port(),
        lab.agent_pid().unwrap_or_default(),
        who.user
    );
    let smbclient = |share: &str, commands: &str| lab.smbclient(who, share, commands);
    let rpcclient = |command: &str| lab.rpcclient(who, command);
    let status = Run::new(programs.join("fsrvpctl"))
        .arg("--socket")
        .arg(lab.admin_socket())
        .arg("status");

    story.step("Somebody keeps a report on the share.");
    files.write("Report: everything is fine.\n")?;
    story.succeeds(&smbclient(share.name, &files.put("report.txt")))?;

    story.step(
        "A backup program makes a shadow copy: SetContext, Start, Add, Prepare, Commit, Expose.",
    );
    let created = story.succeeds(&rpcclient(&format!(
        "fss_create_expose backup rw {}",
        share.name
    )))?;
    let (set, copy) = ids(&created).ok_or("rpcclient did not name the set and the copy")?;
    let exposed = format!("{}@{{{copy}}}", share.name);

    story.step("Meanwhile the report on the share changes.");
    files.write("Report: everything is lost!\n")?;
    story.succeeds(&smbclient(share.name, &files.put("report.txt")))?;

    story.step("The copy is a share of its own and holds the data of a moment ago.");
    story.succeeds(&smbclient(&exposed, &files.get("report.txt")))?;
    story.holds(&files.read()?, "Report: everything is fine.\n")?;

    story.step(
        "Until recovery is complete it can be written: here applications repair their files.",
    );
    files.write("recovered\n")?;
    story.succeeds(&smbclient(&exposed, &files.put("recovery.log")))?;

    story.step("This is how the agent's operator sees it.");
    story.succeeds(&status)?;

    story.step("RecoveryComplete seals the copy: nobody can change it any more.");
    story.succeeds(&rpcclient(&format!("fss_recovery_complete {set}")))?;
    story.refused(&smbclient(&exposed, &files.put("too-late.txt")))?;
    story.succeeds(&smbclient(&exposed, "ls"))?;

    story.step("The backup is done; Delete removes the share and the snapshot.");
    story.succeeds(&rpcclient(&format!(
        "fss_delete {} {set} {copy}",
        share.name
    )))?;
    story.refused(&smbclient(&exposed, "ls"))?;
    story.succeeds(&status).map(drop)
}

/// The set's and the copy's ids in what `fss_create_expose` prints:
/// `SET(COPY): share SHARE@{COPY} exposed as a snapshot of UNC`.
fn ids(text: &str) -> Option<(String, String)> {
    let line = text
        .lines()
        .find(|line| line.contains("exposed as a snapshot"))?;
    let (set, rest) = line.trim().split_once('(')?;
    let (copy, _) = rest.split_once(')')?;
    Some((set.to_owned(), copy.to_owned()))
}

/// A local file that goes to the share and comes from it.
struct Files {
    outgoing: PathBuf,
    incoming: PathBuf,
}

impl Files {
    fn new(dir: &Path) -> std::io::Result<Self> {
        let dir = dir.join("demo");
        fs::create_dir(&dir)?;
        Ok(Self {
            outgoing: dir.join("out"),
            incoming: dir.join("in"),
        })
    }

    fn write(&self, content: &str) -> std::io::Result<()> {
        fs::write(&self.outgoing, content)
    }

    fn read(&self) -> std::io::Result<String> {
        fs::read_to_string(&self.incoming)
    }

    fn put(&self, name: &str) -> String {
        format!("put {} {name}", self.outgoing.display())
    }

    fn get(&self, name: &str) -> String {
        format!("get {name} {}", self.incoming.display())
    }
}

/// A demonstration that is interrupted cleans up, too.
fn clean_up_on_signals(dir: PathBuf) -> Outcome {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            if let Err(error) = down(&dir) {
                eprintln!("{error}");
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn is_root() -> bool {
    // The laboratory's own check says more; this one decides which demonstration it is.
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn the_ids_are_read_from_what_rpcclient_prints() {
        let text = "1a-b: shadow-copy set created\n1a-b(2c-d): share vm@{2c-d} exposed as a snapshot of \\\\S\\vm\n";
        assert_eq!(ids(text), Some(("1a-b".to_owned(), "2c-d".to_owned())));
    }
}
