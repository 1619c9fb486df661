//! One person at one kind of output, and the transcript of what is shown there.

use crate::house::ROOM;
use fsrvp_tests::fail;
use libtest_mimic::Failed;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    /// Of the group that `[admin] group` names.
    Member,
    Stranger,
}

impl Who {
    fn becomes(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[],
            Self::Member => &[
                "setpriv",
                "--reuid=65533",
                "--regid=daemon",
                "--clear-groups",
            ],
            Self::Stranger => &[
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ],
        }
    }
}

/// Where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Pipe,
    /// 80 columns, in tmux.
    Terminal,
}

/// What was shown, command after command.
pub(crate) struct Session {
    pub(crate) who: Who,
    pub(crate) output: Output,
    transcript: String,
}

impl Session {
    pub(crate) const fn new(who: Who, output: Output) -> Self {
        Self {
            who,
            output,
            transcript: String::new(),
        }
    }

    pub(crate) fn transcript(self) -> String {
        self.transcript
    }

    /// Runs `fsrvpctl` and writes down what it shows and how it ends.
    pub(crate) fn run(&mut self, arguments: &[&str]) -> Result<(), Failed> {
        let shown = self.shows(arguments)?;
        self.write(&line(arguments), &shown);
        Ok(())
    }

    /// The same, written down as another command line where arguments differ from run to run.
    pub(crate) fn run_as(&mut self, typed: &str, arguments: &[&str]) -> Result<(), Failed> {
        let shown = self.shows(arguments)?;
        self.write(&format!(" {typed}"), &shown);
        Ok(())
    }

    /// The same with a run that goes on until something happens: `happens` is called again and again.
    pub(crate) fn run_until_seen(
        &mut self,
        arguments: &[&str],
        happens: impl Fn() -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let shown = std::thread::scope(|scope| {
            let running = scope.spawn(|| self.shows(arguments));
            while !running.is_finished() {
                happens()?;
            }
            running
                .join()
                .map_err(|_| Failed::from("the run panicked"))?
        })?;
        self.write(&line(arguments), &shown);
        Ok(())
    }

    fn write(&mut self, line: &str, (shown, code): &(String, i32)) {
        self.transcript
            .push_str(&format!("$ fsrvpctl{line}\n{shown}"));
        if *code != 0 {
            self.transcript.push_str(&format!("[exit {code}]\n"));
        }
        self.transcript.push('\n');
    }

    fn shows(&self, arguments: &[&str]) -> Result<(String, i32), Failed> {
        let program = Path::new(ROOM).join("fsrvpctl");
        let program = program.to_string_lossy().into_owned();
        // What never ends shows that, and not a test that never does.
        let words = ["timeout", "60"].into_iter();
        let words: Vec<&str> = words
            .chain(self.who.becomes().iter().copied())
            .chain([program.as_str()])
            .chain(arguments.iter().copied())
            .collect();
        let (shown, code) = match self.output {
            Output::Pipe => piped(&words)?,
            Output::Terminal => on_terminal(&words)?,
        };
        for line in shown.lines() {
            // Programs have no columns.
            if line.chars().count() > 80 && !arguments.contains(&"--json") {
                return fail(format!(
                    "{arguments:?} shows a line of more than 80 columns: {line}"
                ));
            }
            if line.contains('\u{1b}') {
                return fail(format!("{arguments:?} directs a pipe: {line:?}"));
            }
        }
        Ok((shown, code))
    }
}

/// The arguments as a shell takes them.
fn line(arguments: &[&str]) -> String {
    let words =
        arguments.iter().map(
            |word| match word.contains([' ', '"', '{']) || word.is_empty() {
                true => format!(" '{word}'"),
                false => format!(" {word}"),
            },
        );
    words.collect()
}

fn piped(words: &[&str]) -> Result<(String, i32), Failed> {
    let (program, arguments) = words.split_first().ok_or("no program")?;
    let output = Command::new(program)
        .args(arguments)
        .current_dir(ROOM)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()?;
    let mut shown = String::from_utf8(output.stdout)?;
    shown.push_str(&String::from_utf8(output.stderr)?);
    Ok((trimmed(&shown), output.status.code().unwrap_or(-1)))
}

/// A terminal ends lines where the text does.
fn trimmed(shown: &str) -> String {
    let lines: Vec<_> = shown.trim_end().lines().map(str::trim_end).collect();
    match lines.is_empty() {
        true => String::new(),
        false => lines.join("\n") + "\n",
    }
}

fn tmux(arguments: &[&str]) -> Result<(String, i32), Failed> {
    let output = Command::new("tmux")
        .args(["-u", "-f", "/dev/null", "-S"])
        .arg(Path::new(ROOM).join("tmux"))
        .args(arguments)
        .current_dir(ROOM)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("TMUX")
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    if !output.status.success() {
        return fail(format!("tmux {arguments:?}: {said}"));
    }
    Ok((String::from_utf8(output.stdout)?, 0))
}

/// Runs it in a window of 80 columns, and reads the window.
fn on_terminal(words: &[&str]) -> Result<(String, i32), Failed> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    if number == 0 {
        // Without a session the server would end between two runs.
        tmux(&["new-session", "-d", "-s", "base", "read end"])?;
    }
    let name = format!("run{number}");
    let quoted: Vec<_> = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    let script = format!(
        "unset NO_COLOR; {}; echo $? > {ROOM}/code; tmux -S {ROOM}/tmux wait-for -S {name}; read end",
        quoted.join(" ")
    );
    tmux(&[
        "new-session",
        "-d",
        "-s",
        &name,
        "-x",
        "80",
        "-y",
        "600",
        &script,
    ])?;
    tmux(&["wait-for", &name])?;
    let (shown, _) = tmux(&["capture-pane", "-p", "-t", &name])?;
    tmux(&["kill-session", "-t", &name])?;
    let code = std::fs::read_to_string(Path::new(ROOM).join("code"))?;
    Ok((trimmed(&shown), code.trim().parse()?))
}

/// Ends the terminals.
pub(crate) fn close_terminals() {
    let _ = tmux(&["kill-server"]);
}
