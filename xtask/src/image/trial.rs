//! The images tried out: the server is run, killed, run again with the same volumes, judged and stopped; then
//! Samba's own agent is judged in its place. In namespaces of our own, so that whatever is started, mounted or
//! listened on is seen by nobody and ends with us.

use super::container::{Container, Options};
use super::store::Store;
use super::volumes::{Volumes, directory};
use super::{CONFORMANCE, SERVER};
use crate::known::{self, Ending};
use crate::{Outcome, workspace};
use fsrvp_testkit::{Error, Output, process};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// compose.yaml's `stop_grace_period`.
const GRACE: Duration = Duration::from_secs(60);
/// The judges and smbtorture, with a subject that lets every call wait.
const JUDGEMENT: Duration = Duration::from_secs(1200);
/// Seconds in place of the Message Sequence Timer's while smbtorture waits for it.
const TIMER: u32 = 4;
/// What Samba's own agent is known to do wrong, below the workspace's root.
const KNOWN: &str = "packaging/image/known-failures-samba.txt";

/// Secret of the server, the one of the conformance kit that is the same, account.
const ACCOUNTS: &[(&str, &str, &str)] = &[
    ("backup", "subject", "fsbackup"),
    ("admin", "subject-admin", "root"),
    ("plain", "subject-plain", "somebody"),
];

pub(super) fn run(store: &Store, report: &Path) -> Outcome {
    let trial = Trial::new(store, report)?;
    let volumes = trial.volumes("ours")?;
    let spec = volumes.options(&[]);

    println!("the server is healthy, and is not when its agent stands still");
    let server = trial.start(&spec, "first")?;
    health(&server)?;

    println!("a shadow copy outlives the server's end by force");
    let copy = trial.copy(&volumes)?;
    server.kill();
    let server = trial.start(&spec, "second")?;
    trial.check_copy(&server, &volumes, &copy)?;

    println!("judged by the text");
    let endings = trial.judge("spec", &["SUBJECT_PROFILE=spec".to_owned()])?;
    green(
        &endings,
        &[
            "smbtorture::bad_id",
            "smbtorture::enum_created",
            "smbtorture::seq_timeout",
        ],
    )?;

    println!("a clean stop");
    trial.check_copy(&server, &volumes, &copy)?;
    trial.delete_copy(&copy)?;
    stop(server)?;
    volumes.nothing_left()?;

    println!("judged by what Windows Server 2012 does");
    let timed = [format!("TIMER={TIMER}"), "PROFILE=ws2012".to_owned()];
    let server = trial.start(&volumes.options(&timed), "third")?;
    let subject = [
        format!("SUBJECT_TIMER={TIMER}"),
        "SUBJECT_PROFILE=ws2012".to_owned(),
        "SUBJECT_CASES=^(flows|garbage|rpcclient|smbtorture)::".to_owned(),
    ];
    green(&trial.judge("ws2012", &subject)?, &[])?;
    stop(server)?;

    println!("Samba's own agent in its place");
    let volumes = trial.volumes("samba")?;
    let samba = [format!("TIMER={TIMER}"), "AGENT=samba".to_owned()];
    let server = trial.start(&volumes.options(&samba), "samba")?;
    // Its own suite first: some of the judges leave it with a set that it never lets go.
    let mut endings = BTreeMap::new();
    for (name, cases) in [
        ("samba-smbtorture", "^(smbtorture|rpcclient)::"),
        ("samba-judges", "^(flows|garbage|states)::"),
    ] {
        let subject = [
            format!("SUBJECT_TIMER={TIMER}"),
            "SUBJECT_PROFILE=ws2012".to_owned(),
            format!("SUBJECT_CASES={cases}"),
        ];
        endings.append(&mut trial.judge(name, &subject)?);
    }
    server.kill();
    let list = workspace::root().join(KNOWN);
    let list = fs::read_to_string(&list).map_err(Error::file(&list))?;
    let problems = known::problems(&endings, KNOWN, &list);
    if !problems.is_empty() {
        return Err(problems.join("\n").into());
    }
    println!("reports: {}", report.display());
    Ok(())
}

/// A kept copy: its set, its id, its share.
struct Copy {
    set: String,
    id: String,
    share: String,
}

struct Trial<'a> {
    store: &'a Store,
    report: &'a Path,
    scratch: TempDir,
    password: String,
    /// Container of the conformance image.
    kit: String,
}

impl<'a> Trial<'a> {
    fn new(store: &'a Store, report: &'a Path) -> Result<Self, Error> {
        let source = "/proc/sys/kernel/random/uuid";
        let trial = Self {
            store,
            report,
            kit: store.container(CONFORMANCE.1)?,
            scratch: tempfile::tempdir().map_err(Error::file("the temporary files"))?,
            password: fs::read_to_string(source)
                .map_err(Error::file(source))?
                .trim()
                .to_owned(),
        };
        directory(report)?;
        for kit in ["server", "kit"] {
            directory(&trial.scratch.path().join(kit))?;
        }
        for (server, kit, user) in ACCOUNTS {
            let line = format!("{user}:{}\n", trial.password);
            for place in [format!("server/{server}"), format!("kit/{kit}")] {
                let path = trial.scratch.path().join(place);
                fs::write(&path, &line).map_err(Error::file(&path))?;
            }
        }
        Ok(trial)
    }

    /// Fresh volumes of a server.
    fn volumes(&self, name: &str) -> Result<Volumes, Error> {
        Volumes::new(self.scratch.path(), name)
    }

    fn start(&self, options: &Options, log: &str) -> Result<Container, Error> {
        let log = self.scratch.path().join(format!("{log}.log"));
        Container::start(self.store, SERVER.1, options, &log)
    }

    /// Runs a program of the conformance image.
    fn client(&self, environment: &[String], words: &[&str]) -> Result<Output, Error> {
        let secrets = self.scratch.path().join("kit");
        let options = Options {
            environment: environment.to_vec(),
            volumes: vec![
                format!("{}:/run/secrets:ro", secrets.display()),
                format!("{}:/report", self.report.display()),
            ],
            ..Options::default()
        };
        let run = self.store.buildah("run").args(options.arguments());
        run.arg(&self.kit)
            .arg("--")
            .args(words)
            .limit(JUDGEMENT)
            .output()
    }

    /// Runs the conformance image and returns how each of its cases ended; the reports are
    /// `REPORT/NAME.xml` and `.txt`.
    fn judge(&self, name: &str, environment: &[String]) -> Result<BTreeMap<String, Ending>, Error> {
        let mut environment = environment.to_vec();
        environment.extend(
            [
                "SUBJECT_HOST=127.0.0.1",
                "SUBJECT_NAME=FILER",
                "SUBJECT_SHARE=projects",
                "SUBJECT_SHARE_B=accounts",
            ]
            .map(str::to_owned),
        );
        let entry = self.store.config(CONFORMANCE.1)?.entrypoint;
        let entry: Vec<_> = entry.iter().map(String::as_str).collect();
        let output = self.client(&environment, &entry)?;
        print!("{}", output.stdout);
        let mut texts = Vec::new();
        for (made, kept) in [("table.txt", "txt"), ("junit.xml", "xml")] {
            let made = self.report.join(made);
            let text = fs::read_to_string(&made)
                .map_err(|_| Error::Unfit(format!("no {}: {}", made.display(), output.text())))?;
            let kept = self.report.join(format!("{name}.{kept}"));
            fs::rename(&made, &kept).map_err(Error::file(&kept))?;
            texts.push(text);
        }
        let [table, junit] = &*texts else {
            return Err(Error::Unfit("two reports were asked for".to_owned()));
        };
        let endings = endings(table);
        let cases = junit.matches("<testcase ").count();
        if cases != endings.len() || cases == 0 {
            let lengths = format!("{} lines and {cases} cases", endings.len());
            return Err(Error::Unfit(format!("table and JUnit differ: {lengths}")));
        }
        let failed = endings.values().any(|ending| *ending == Ending::Failed);
        if failed == output.status.success() {
            let what = format!("{} beside this table:\n{table}", output.status);
            return Err(Error::Unfit(what));
        }
        Ok(endings)
    }

    fn rpcclient(&self, command: &str) -> Result<String, Error> {
        let account = self.account();
        let words = [
            "rpcclient",
            "-s",
            "/dev/null",
            "-U",
            &account,
            "ncacn_np:127.0.0.1[sign]",
            "-c",
            command,
        ];
        let output = self.client(&[], &words)?;
        if output.status.success() {
            return Ok(output.text());
        }
        Err(Error::Unfit(format!("{command}: {}", output.text())))
    }

    fn account(&self) -> String {
        let user = ACCOUNTS.first().map_or("", |(_, _, user)| user);
        format!("{user}%{}", self.password)
    }

    /// Makes a copy that stays, and changes the file in the share afterwards.
    fn copy(&self, volumes: &Volumes) -> Result<Copy, Error> {
        volumes.write("before")?;
        let said = self.rpcclient("fss_create_expose backup ro projects")?;
        volumes.write("after")?;
        let copy = copy(&said).ok_or_else(|| Error::Unfit(format!("no copy: {said}")))?;
        self.rpcclient(&format!("fss_recovery_complete {}", copy.set))?;
        Ok(copy)
    }

    /// The agent knows the copy, and its share has the old content.
    fn check_copy(&self, server: &Container, volumes: &Volumes, copy: &Copy) -> Outcome {
        let sets = server.exec(&["fsrvpctl", "sets"])?.stdout;
        if !sets.contains(&copy.set) {
            return Err(format!("the set {} is gone:\n{sets}", copy.set).into());
        }
        let share = format!("//127.0.0.1/{}", copy.share);
        let account = self.account();
        let words = [
            "smbclient",
            "-s",
            "/dev/null",
            "-U",
            &account,
            &share,
            "-c",
            "get moment -",
        ];
        let read = self.client(&[], &words)?;
        if !read.stdout.contains("before") || volumes.read()? != "after" {
            return Err(format!("the copy has another content: {}", read.text()).into());
        }
        Ok(())
    }

    fn delete_copy(&self, copy: &Copy) -> Result<(), Error> {
        let command = format!("fss_delete projects {} {}", copy.set, copy.id);
        self.rpcclient(&command).map(drop)
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.store.remove(&self.kit) {
            eprintln!("{error}");
        }
    }
}

/// The health check tells a server that serves from one whose agent or smbd stands still, and from one whose smbd
/// is not reached.
fn health(server: &Container) -> Outcome {
    for program in ["fsrvpd", "smbd"] {
        let processes = server.processes(program);
        if processes.is_empty() {
            return Err(format!("there is no {program} in the container").into());
        }
        let all = |order| {
            processes
                .iter()
                .for_each(|pid| process::signal(*pid, order))
        };
        all(Signal::STOP);
        let healthy = server.healthy();
        all(Signal::CONT);
        if healthy {
            return Err(
                format!("the health check does not see that {program} stands still").into(),
            );
        }
    }
    let refused = server.exec(&["env", "SMB_PORT=446", "/usr/local/sbin/healthy"]);
    if refused.is_ok() {
        return Err("the health check does not see that nobody serves SMB".into());
    }
    if !server.healthy() {
        return Err(format!("the server is not healthy again:\n{}", server.log()).into());
    }
    Ok(())
}

fn stop(server: Container) -> Outcome {
    let status = server.stop(GRACE)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("the server's end was not clean: {status}").into())
}

/// Nothing failed, and nothing but these was skipped.
fn green(endings: &BTreeMap<String, Ending>, skipped: &[&str]) -> Outcome {
    let not_passed: Vec<_> = endings
        .iter()
        .filter(|(name, ending)| match ending {
            Ending::Passed => false,
            Ending::Failed => true,
            Ending::Skipped => !skipped.contains(&name.as_str()),
        })
        .map(|(name, ending)| format!("{name}: {ending:?}"))
        .collect();
    if not_passed.is_empty() {
        return Ok(());
    }
    Err(not_passed.join("\n").into())
}

/// `passed     0.31 s  flows::abort_added`, line by line.
fn endings(table: &str) -> BTreeMap<String, Ending> {
    let lines = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let ending = match words.next()? {
            "passed" => Ending::Passed,
            "failed" | "error" => Ending::Failed,
            "skipped" => Ending::Skipped,
            _ => return None,
        };
        let name = words.nth(2)?;
        name.contains("::").then(|| (name.to_owned(), ending))
    });
    lines.collect()
}

/// The ids in what rpcclient says: `...: exposed as a snapshot of share@{ID}...`, with the set before it.
fn copy(said: &str) -> Option<Copy> {
    let share = said.split_whitespace().find(|word| word.contains("@{"))?;
    let (_, rest) = share.split_once("@{")?;
    let (id, _) = rest.split_once('}')?;
    let words = said.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    let mut ids = words.filter(|word| word.len() == id.len() && word.matches('-').count() == 4);
    Some(Copy {
        set: ids.find(|word| !word.eq_ignore_ascii_case(id))?.to_owned(),
        id: id.to_owned(),
        share: share.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Ending, GRACE, copy, endings};
    use crate::workspace;

    #[test]
    fn a_table_is_read_line_by_line() {
        let table = "passed      0.31 s  flows::abort\nerror       1.00 s  a::b    Traceback 1\n\
                     skipped     0.00 s  c::d  no share\n1 passed, 0 failed, 1 error, 1 skipped\n";
        let read = endings(table);
        let wanted = [
            ("a::b", Ending::Failed),
            ("c::d", Ending::Skipped),
            ("flows::abort", Ending::Passed),
        ];
        assert!(
            read.iter()
                .map(|(name, ending)| (&**name, *ending))
                .eq(wanted)
        );
    }

    #[test]
    fn the_ids_are_found_in_what_rpcclient_says() {
        let said = "11111111-2222-3333-4444-555555555555(1/1): 99999999-2222-3333-4444-555555555555: share \
                    x@{99999999-2222-3333-4444-555555555555} exposed as a snapshot of \\\\h\\x\n";
        let copy = copy(said).unwrap();
        assert_eq!(copy.set, "11111111-2222-3333-4444-555555555555");
        assert_eq!(copy.id, "99999999-2222-3333-4444-555555555555");
        assert_eq!(copy.share, "x@{99999999-2222-3333-4444-555555555555}");
    }

    #[test]
    fn the_compose_file_waits_as_long() {
        let compose = std::fs::read_to_string(workspace::root().join("compose.yaml")).unwrap();
        let grace = format!("stop_grace_period: {}s", GRACE.as_secs());
        assert!(compose.contains(&grace), "{grace}");
    }
}
