//! Restores beside smbd: killed at random, of a whole share, and while a client looks.

use crate::{Client, order, until};
use fsrvp_testkit::{Lab, Random, Run, ShareKey, programs};
use fsrvp_tests::walk::{Walk, exposed};
use fsrvp_tests::{CaseResult, fail};
use libtest_mimic::Failed;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A recovered copy of a share, which goes at the end.
struct Copied<'a> {
    lab: &'a Lab,
    set: String,
    /// The exposed share.
    name: String,
}

impl<'a> Copied<'a> {
    fn of(lab: &'a Lab, share: &str) -> Result<Self, Failed> {
        let walk = Walk::of(lab);
        let created = walk.create("ro", &[share])?;
        walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
        let copy = created.copies.first().map_or("", String::as_str);
        Ok(Self {
            lab,
            name: exposed(share, copy),
            set: created.set,
        })
    }

    fn delete(self) -> CaseResult {
        order(self.lab, "DELETE", &format!("/v1/sets/{}", self.set), "").map(drop)
    }

    fn restore(&self, share: &str, path: &str) -> Result<Run, Failed> {
        Ok(Run::new(programs::program("fsrvpctl")?)
            .arg("--socket")
            .arg(self.lab.admin_socket())
            .args(["restore", share, path, "--copy", &self.name]))
    }
}

/// Files that all hold the same word over and over.
struct Tree {
    root: PathBuf,
    files: usize,
    bytes: usize,
}

impl Tree {
    fn file(&self, number: usize) -> PathBuf {
        self.root
            .join(format!("d{}/f{number}", number.checked_rem(7).unwrap_or(0)))
    }

    fn fill(&self, word: &[u8; 4]) -> CaseResult {
        let content = word.repeat(self.bytes / word.len());
        for number in 0..self.files {
            let file = self.file(number);
            fs::create_dir_all(file.parent().unwrap_or(&self.root))?;
            fs::write(file, &content)?;
        }
        Ok(())
    }

    /// The word of all files, byte for byte; `None` when there are two, or a file is missing.
    fn word(&self) -> Result<Option<[u8; 4]>, Failed> {
        let mut word: Option<[u8; 4]> = None;
        // 2 GiB are compared a file at a time, not a word at a time.
        let mut expected = Vec::new();
        let mut content = Vec::new();
        for number in 0..self.files {
            let Ok(mut file) = fs::File::open(self.file(number)) else {
                return Ok(None);
            };
            content.clear();
            file.read_to_end(&mut content)?;
            if word.is_none() {
                word = content.first_chunk::<4>().copied();
                expected = word.unwrap_or_default().repeat(self.bytes / 4);
            }
            if content != expected {
                return Ok(None);
            }
        }
        Ok(word)
    }
}

/// `FSRVP_LONG=1` takes 2 GiB and more kills.
pub(crate) fn killed(lab: &Lab) -> CaseResult {
    let long = std::env::var_os("FSRVP_LONG").is_some_and(|value| value == "1");
    let (files, bytes, least) = if long {
        (8_192, 256 << 10, 60)
    } else {
        (1_500, 4, 12)
    };
    let share = lab.share(ShareKey::A);
    let tree = Tree {
        root: share.path.join("tree"),
        files,
        bytes,
    };
    tree.fill(b"old.")?;
    let copied = Copied::of(lab, share.name)?;
    // What the share has when a restore begins, to be put there again quickly.
    tree.fill(b"new.")?;
    let master = share.path.join("master");
    let renew = || -> CaseResult {
        let _ = fs::remove_dir_all(&tree.root);
        Run::new("cp")
            .args(["-a", "--reflink=always", "-T"])
            .arg(&master)
            .arg(&tree.root)
            .limit(Duration::from_secs(120))
            .check()?;
        Ok(())
    };
    Run::new("cp")
        .args(["-a", "--reflink=always", "-T"])
        .arg(&tree.root)
        .arg(&master)
        .limit(Duration::from_secs(120))
        .check()?;
    let whole = Instant::now();
    copied
        .restore(share.name, "tree")?
        .limit(Duration::from_secs(120))
        .check()?;
    let whole = whole.elapsed();
    if tree.word()? != Some(*b"old.") {
        return fail("a restore that succeeded did not bring the tree back");
    }
    let begun = Instant::now();
    let (mut old, mut new) = (0_u32, 0_u32);
    let mut random = Random::new(1);
    let mut renewed = false;
    // Kills that all fall before the exchange, or all behind it, would prove nothing.
    while old + new < least || old == 0 || new == 0 {
        if old + new >= 10 * least {
            return fail(format!(
                "of {} kills {old} fell behind the exchange and {new} before it",
                old + new
            ));
        }
        if !renewed {
            renew()?;
            renewed = true;
        }
        let mut command = Command::new(programs::program("fsrvpctl")?);
        command.arg("--socket").arg(lab.admin_socket());
        command.args(["restore", share.name, "tree", "--copy", &copied.name]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = command.spawn()?;
        // A moment of real time that no event of the program chooses.
        let longest = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        let moment = random.below(longest.saturating_mul(3) / 2);
        sleep(Duration::from_micros(moment));
        let _ = running.kill();
        running.wait()?;
        match tree.word()? {
            Some(word) if word == *b"new." => new += 1,
            Some(word) if word == *b"old." => {
                old += 1;
                renewed = false;
            }
            other => {
                return fail(format!(
                    "kill {}: the tree is between: {other:?}",
                    old + new
                ));
            }
        }
    }
    let size = (files * bytes) >> 20;
    println!(
        "{size} MiB in {files} files, restored in {whole:?}; killed {} times in {:?}: {new} times as \
         it was, {old} times as it should be",
        old + new,
        begun.elapsed()
    );
    // What a killed cp still writes goes with it or with the next run.
    until("it is restored, and nothing lies beside it", || {
        let restored = copied
            .restore(share.name, "tree")?
            .limit(Duration::from_secs(120))
            .output()?;
        Ok(restored.status.success() && beside(&share.path)?.is_empty())
    })?;
    if tree.word()? != Some(*b"old.") {
        return fail("a restore after the kills did not bring the tree back");
    }
    fs::remove_dir_all(&tree.root)?;
    fs::remove_dir_all(&master)?;
    copied.delete()
}

/// What restores have left in a directory.
fn beside(directory: &Path) -> Result<Vec<String>, Failed> {
    let entries = fs::read_dir(directory)?.flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name.starts_with(".fsrvp-")).collect())
}

/// A share that is a plain directory comes back whole; one that is a subvolume says what to do.
pub(crate) fn whole_share(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::Subdir);
    fs::write(share.path.join("before"), "old")?;
    let copied = Copied::of(lab, share.name)?;
    fs::remove_file(share.path.join("before"))?;
    fs::write(share.path.join("after"), "new")?;
    copied.restore(share.name, ".")?.check()?;
    let is_back = fs::read_to_string(share.path.join("before")).is_ok_and(|text| text == "old");
    if !is_back || share.path.join("after").exists() {
        return fail("the share is not what the copy was");
    }
    // A client that comes now sees it.
    let walk = Walk::of(lab);
    if !walk.put(share.name, "written-afterwards")? {
        return fail("the restored share cannot be written by its client");
    }
    if !beside(share.path.parent().unwrap_or(&share.path))?.is_empty() {
        return fail("something lies beside the share");
    }
    copied.delete()?;
    let share = lab.share(ShareKey::A);
    let copied = Copied::of(lab, share.name)?;
    let refused = copied.restore(share.name, ".")?.output()?;
    copied.delete()?;
    if refused.status.success() || !refused.says("one by one") {
        return fail(format!("the root of a subvolume: {}", refused.text()));
    }
    Ok(())
}

pub(crate) fn open_over_smb(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::B);
    let file = share.path.join("in-use");
    fs::write(&file, "old")?;
    let copied = Copied::of(lab, share.name)?;
    fs::write(&file, "new")?;
    let mut client = Client::connect(lab, share.name)?;
    client.tell("open in-use")?;
    until("the restore is refused", || {
        // Before the client has opened it, it is not.
        let output = copied.restore(share.name, "in-use")?.output()?;
        let refused = !output.status.success() && output.says("--while-open");
        if !refused {
            fs::write(&file, "new")?;
        }
        Ok(refused)
    })?;
    if fs::read_to_string(&file)? != "new" {
        return fail("a refused restore has changed the file");
    }
    copied
        .restore(share.name, "in-use")?
        .arg("--while-open")
        .check()?;
    drop(client);
    if fs::read_to_string(&file)? != "old" {
        return fail("--while-open did not restore");
    }
    fs::remove_file(&file)?;
    copied.delete()
}

/// The disk says that what was written is not durable: before the exchange nothing has changed, and behind it what was
/// there before is kept, and said where.
pub(crate) fn failing_disk(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::B);
    let file = share.path.join("on-a-bad-disk");
    fs::write(&file, "old")?;
    let copied = Copied::of(lab, share.name)?;
    fs::write(&file, "new")?;
    let with_error_at = |sync: u32| -> Result<String, Failed> {
        let fault = format!("inject=syncfs:error=EIO:when={sync}");
        let output = Run::new("strace")
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=syncfs",
                "-e",
                &fault,
            ])
            .arg(programs::program("fsrvpctl")?)
            .arg("--socket")
            .arg(lab.admin_socket())
            .args([
                "restore",
                share.name,
                "on-a-bad-disk",
                "--copy",
                &copied.name,
            ])
            .output()?;
        if output.status.code() != Some(1) {
            return fail(format!("{}: {}", output.status, output.text()));
        }
        let said: Vec<_> = output.stderr.split_whitespace().collect();
        Ok(said.join(" "))
    };
    let said = with_error_at(1)?;
    if fs::read_to_string(&file)? != "new" || !beside(&share.path)?.is_empty() {
        return fail(format!("the share was changed although {said}"));
    }
    let said = with_error_at(2)?;
    let (_, kept) = said
        .split_once("what was there before is kept as ")
        .ok_or_else(|| Failed::from(format!("it is not said what is kept: {said}")))?;
    let kept = PathBuf::from(kept.replace(' ', ""));
    let of_before =
        fs::read_to_string(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    if fs::read_to_string(&file)? != "old" || of_before != "new" {
        return fail(format!("the share and {} are mixed up", kept.display()));
    }
    // With a disk that is well it goes on, and takes nothing away that was promised to be kept.
    fs::write(&file, "newer")?;
    copied.restore(share.name, "on-a-bad-disk")?.check()?;
    if fs::read_to_string(&file)? != "old" || fs::read_to_string(&kept)? != "new" {
        return fail("the next restore took what was kept, or restored nothing");
    }
    let room = kept.parent().filter(|room| *room != share.path);
    match room {
        Some(room) => fs::remove_dir_all(room)?,
        None => fs::remove_file(&kept)?,
    }
    fs::remove_file(&file)?;
    copied.delete()
}
