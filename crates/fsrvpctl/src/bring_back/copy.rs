//! The copy itself, by cp, with progress.

use super::stage::{CONTENT, Stage};
use super::{Entry, failed};
use crate::{Exit, Failure};
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pause between two looks of the progress bar.
const PROGRESS: Duration = Duration::from_millis(200);
/// Characters of the bar.
const BAR: u64 = 40;

/// Copies with everything that belongs to the files: owners, modes, times, ACLs, attributes. Gives
/// how many files there were.
pub(super) fn copy(source: &Entry, stage: &Stage) -> Result<u64, Failure> {
    let from = source.held_path();
    // A cp whose owner was killed must not go on beside the next one.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "cp"])
        .args(["-a", "-v", "--reflink=auto", "--no-target-directory", "--"])
        .arg(&from)
        .arg(Path::new(".").join(CONTENT))
        .current_dir(stage.working_directory())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed("run cp for", &source.shown))?;
    // cp complains once a file: whoever reads one stream alone may wait for ever.
    let stderr = child.stderr.take();
    let complaints = std::thread::spawn(move || stderr.and_then(first_line));
    let files = count(child.stdout.take(), &from);
    let status = child.wait().map_err(failed("copy", &source.shown))?;
    let said = complaints.join().ok().flatten();
    if status.success() {
        return Ok(files);
    }
    let said = said.unwrap_or_else(|| format!("cp ended with {status}"));
    // People know the place by its path, not by how we hold it.
    let said = said.replace(
        &from.to_string_lossy().into_owned(),
        &source.shown.to_string_lossy(),
    );
    let text = format!("{} could not be copied: {said}", source.shown.display());
    Err(Failure::new(Exit::Failed, text))
}

/// Reads all there is, and keeps the first line.
fn first_line(stream: impl Read) -> Option<String> {
    let mut lines = BufReader::new(stream).split(b'\n').map_while(Result::ok);
    let first = lines.next();
    lines.for_each(drop);
    first.map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// Counts what cp tells, one line a file, and shows it where somebody looks.
fn count(stdout: Option<impl Read>, from: &Path) -> u64 {
    let terminal = std::io::stderr().is_terminal();
    let all = if terminal { entries(from) } else { 0 };
    let mut shown: Option<Instant> = None;
    let mut files = 0_u64;
    let lines = stdout.map(|stdout| BufReader::new(stdout).split(b'\n'));
    for _ in lines.into_iter().flatten().map_while(Result::ok) {
        files = files.saturating_add(1);
        if terminal && shown.is_none_or(|shown| shown.elapsed() >= PROGRESS) {
            let _ = write!(std::io::stderr(), "\r{}\u{1b}[K", bar(files, all));
            shown = Some(Instant::now());
        }
    }
    if terminal {
        let _ = write!(std::io::stderr(), "\r\u{1b}[K");
    }
    files
}

/// How many files cp will tell.
fn entries(path: &Path) -> u64 {
    let is_directory = path.symlink_metadata().is_ok_and(|stat| stat.is_dir());
    let below = is_directory.then(|| std::fs::read_dir(path)).into_iter();
    let below = below.flatten().flatten().flatten();
    below
        .map(|entry| entries(&entry.path()))
        .fold(1, u64::saturating_add)
}

fn bar(files: u64, all: u64) -> String {
    let all = all.max(files).max(1);
    let part = |of: u64| files.saturating_mul(of) / all;
    let done = usize::try_from(part(BAR)).unwrap_or_default();
    let width = usize::try_from(BAR).unwrap_or_default();
    let bar = "#".repeat(done);
    format!("[{bar:<width$}] {:>3} %  {files} of {all} files", part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_never_wider_than_its_frame() {
        assert_eq!(
            bar(0, 0),
            format!("[{}]   0 %  0 of 1 files", " ".repeat(40))
        );
        let half = format!("[{}{}]  50 %  2 of 4 files", "#".repeat(20), " ".repeat(20));
        assert_eq!(bar(2, 4), half);
        // More than were counted before.
        assert!(bar(9, 4).contains("100 %  9 of 9"), "{}", bar(9, 4));
        assert!(bar(9_999_999, 9_999_999).chars().count() <= 80);
    }
}
