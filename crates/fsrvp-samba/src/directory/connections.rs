//! Cuts clients off a share and makes sure that they are off.

use super::message::Mailbox;
use crate::command::Tool;
use crate::config::SambaFacts;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// First pause between two looks at smbd's open files; doubled each time.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// Longest pause.
const SLOWEST_LOOK: Duration = Duration::from_millis(50);
/// How long `smbcontrol` may take.
const TOOL_LIMIT: Duration = Duration::from_secs(10);

/// Children of smbd that serve no client, by the names that they give themselves.
const SERVANTS: [&str; 3] = ["smbd-notifyd", "cleanupd", "smbd-cleanupd"];

/// O_ACCMODE of `/proc/<pid>/fdinfo`, and its value for read-only.
const ACCESS_MODE: u32 = 0o3;

/// Which open files mean that a client is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handles {
    /// Those that can write.
    Writable,
    /// All.
    Any,
}

/// A share that clients are to be cut from.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// Its directory, below which its clients' files are open.
    pub(super) path: PathBuf,
}

/// Cuts every connection to `targets` and returns when no smbd has a handle below their
/// directories open. If smbd does not run there is nothing to do.
pub(super) fn cut(
    smb_conf: &Path,
    facts: &SambaFacts,
    targets: &[Target],
    handles: Handles,
    limit: Duration,
) -> io::Result<()> {
    let Some(parent) = facts.smbd() else {
        return Ok(());
    };
    let deadline = Instant::now() + limit;
    // Whoever is forked after the parent has carried out the order knows the new definitions.
    let serving = match Mailbox::open(&facts.lock_directory) {
        Ok(mailbox) => tell(&mailbox, parent, targets, deadline)?,
        Err(error) => {
            tracing::debug!(%error, "no message socket, using smbcontrol");
            tell_by_tool(smb_conf, parent, targets)?
        }
    };
    let mut pause = FIRST_LOOK;
    loop {
        let open = open_below(&serving, targets, handles);
        let Some((process, path)) = open else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "smbd process {process} still has {} open {limit:?} after its client was cut",
                    path.display()
                ),
            ));
        }
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2).min(SLOWEST_LOOK);
    }
}

/// Which of `targets` have a client: one that is connected to the share, or a file below its
/// directory that an smbd has open, as a client of the base share has that looks at previous
/// versions.
///
/// # Errors
/// It cannot be said.
pub(super) fn used(
    smb_conf: &Path,
    facts: &SambaFacts,
    targets: &[Target],
) -> io::Result<BTreeSet<String>> {
    let Some(parent) = facts.smbd() else {
        return Ok(BTreeSet::new());
    };
    let listed = Tool::new("smbstatus")
        .arg("-s")
        .arg(smb_conf)
        .arg("--shares")
        .run(TOOL_LIMIT)
        .map_err(io::Error::other)?;
    // The heading tells a list without connections from an output that is none.
    if !listed.stdout.contains("Service") {
        return Err(io::Error::other("smbstatus does not list connections"));
    }
    let processes = serving(parent);
    let is_used = |target: &&Target| {
        listed.stdout.lines().any(|line| names(line, &target.name))
            || open_below(&processes, std::slice::from_ref(*target), Handles::Any).is_some()
    };
    let used = targets.iter().filter(is_used);
    Ok(used.map(|target| target.name.clone()).collect())
}

/// Whether a line of smbstatus is about a share: its name, in any case, and then a gap.
fn names(line: &str, share: &str) -> bool {
    let Some((name, rest)) = line.split_at_checked(share.len()) else {
        return false;
    };
    name.to_lowercase() == share.to_lowercase() && rest.starts_with(char::is_whitespace)
}

/// Sends the order to smbd's parent, which passes it on, and waits until parent and children have
/// carried it out: a child that had the share's old definition in its memory has then read the
/// new one. Messages to one process arrive in order, so each answers the ping after the order.
/// Gives the processes that may serve a client.
fn tell(
    mailbox: &Mailbox,
    parent: u32,
    targets: &[Target],
    deadline: Instant,
) -> io::Result<Vec<u32>> {
    for target in targets {
        mailbox.force_disconnect(parent, &target.name, deadline)?;
    }
    let mut silent = mailbox.drain(&[parent], deadline)?;
    if silent.is_empty() {
        let serving = serving(parent);
        silent = mailbox.drain(&serving, deadline)?;
        if silent.is_empty() {
            return Ok(serving);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("smbd processes {silent:?} do not answer; their clients may still be connected"),
    ))
}

/// The same with `smbcontrol`.
fn tell_by_tool(smb_conf: &Path, parent: u32, targets: &[Target]) -> io::Result<Vec<u32>> {
    let smbcontrol = |process: u32, message: &str| {
        Tool::new("smbcontrol")
            .arg("-s")
            .arg(smb_conf)
            .arg(process.to_string())
            .arg(message)
    };
    for target in targets {
        smbcontrol(parent, "close-share")
            .arg(&target.name)
            .run(TOOL_LIMIT)
            .map_err(io::Error::other)?;
    }
    // A process that has ended in between cannot answer, and need not.
    let ping = |process| {
        let pong = smbcontrol(process, "ping").outcome(TOOL_LIMIT);
        pong.map_err(io::Error::other)
    };
    ping(parent)?;
    let serving = serving(parent);
    for process in &serving {
        ping(*process)?;
    }
    Ok(serving)
}

/// The processes that may serve a client: the descendants of smbd's `parent`, and the parent itself
/// if nothing that smbd forks is among them, as with `smbd -i`. One that forks for every client has
/// no file of a share open.
fn serving(parent: u32) -> Vec<u32> {
    let mut found = descendants(parent, listed_children)
        .or_else(|| {
            let table = parents();
            descendants(parent, |process| {
                Some(table.get(&process).cloned().unwrap_or_default())
            })
        })
        .unwrap_or_default();
    let mut forks = false;
    found.retain(|process| {
        let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        let serves = !SERVANTS.contains(&name.trim());
        forks |= !serves || name.starts_with("smbd");
        serves
    });
    if !forks {
        found.push(parent);
    }
    found
}

fn descendants(parent: u32, children: impl Fn(u32) -> Option<Vec<u32>>) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    let mut pending = children(parent)?;
    while let Some(process) = pending.pop() {
        found.push(process);
        // A process that has ended in between has none.
        pending.extend(children(process).unwrap_or_default());
    }
    Some(found)
}

/// The children that the kernel lists, if it was built to do so. smbd has one thread that forks.
fn listed_children(process: u32) -> Option<Vec<u32>> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    Some(
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect(),
    )
}

/// The children of every process.
fn parents() -> HashMap<u32, Vec<u32>> {
    let mut below: HashMap<u32, Vec<u32>> = HashMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in processes {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && let Some(above) = parent_of(pid)
        {
            below.entry(above).or_default().push(pid);
        }
    }
    below
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; state and parent follow the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// A file below one of the directories that one of `processes` has open.
fn open_below(processes: &[u32], targets: &[Target], handles: Handles) -> Option<(u32, PathBuf)> {
    let directories: Vec<PathBuf> = targets
        .iter()
        .filter_map(|target| std::fs::canonicalize(&target.path).ok())
        .collect();
    processes.iter().find_map(|process| {
        let table = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
        table.flatten().find_map(|entry| {
            let open = std::fs::read_link(entry.path()).ok()?;
            let inside = directories
                .iter()
                .any(|directory| open.starts_with(directory));
            let counts = inside
                && (handles == Handles::Any || is_writable(*process, entry.file_name().as_ref()));
            counts.then_some((*process, open))
        })
    })
}

fn is_writable(process: u32, descriptor: &Path) -> bool {
    let info = Path::new("/proc")
        .join(process.to_string())
        .join("fdinfo")
        .join(descriptor);
    // A descriptor that has gone is not writable any more.
    std::fs::read_to_string(info).is_ok_and(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
            .is_none_or(|flags| flags & ACCESS_MODE != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead as _;

    /// What [`serving`] says of a process with children of these names: whether it serves, and
    /// the names of the others that do.
    fn serving_with(children: &[&str]) -> (bool, Vec<String>) {
        let child = r#"(printf %s "$name" > /proc/self/comm; echo; read line <&3) & "#;
        let script = format!("exec 3<&0; for name; do {child} done; read line");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, "sh"]).args(children);
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped());
        let mut parent = command.spawn().unwrap();
        let lines = io::BufReader::new(parent.stdout.take().unwrap()).lines();
        assert_eq!(lines.take(children.len()).count(), children.len());
        let found = serving(parent.id());
        let name = |process: &u32| std::fs::read_to_string(format!("/proc/{process}/comm"));
        let others = found.iter().filter(|process| **process != parent.id());
        let mut others: Vec<_> = others.map(|p| name(p).unwrap().trim().to_owned()).collect();
        others.sort();
        drop(parent.stdin.take());
        parent.wait().unwrap();
        (found.contains(&parent.id()), others)
    }

    #[test]
    fn a_parent_without_children_of_smbd_serves_itself() {
        assert_eq!(serving_with(&[]), (true, vec![]));
        let rpc = vec!["rpcd_lsad".to_owned()];
        assert_eq!(serving_with(&["rpcd_lsad"]), (true, rpc.clone()));
        assert_eq!(serving_with(&["rpcd_lsad", "cleanupd"]), (false, rpc));
        let client = vec!["smbd[192.0.2.7]".to_owned()];
        assert_eq!(
            serving_with(&["smbd[192.0.2.7]", "smbd-notifyd"]),
            (false, client)
        );
    }

    #[test]
    fn a_line_of_smbstatus_names_its_share() {
        let copy = "vm@{0f0e0d0c-0b0a-0908-0706-050403020100}";
        let line = format!("{copy} 4711    198.51.100.7  Sun Nov 22 06:31:02 2026 UTC     -  -");
        assert!(names(&line, copy));
        assert!(names(&line.to_uppercase(), copy));
        assert!(!names(&line, "vm"));
        assert!(!names(&line, &copy.replace("vm", "vm2")));
        assert!(!names("IPC$         4711    198.51.100.7", "IPC"));
        assert!(!names("\u{fc}", "x"));
    }
}
