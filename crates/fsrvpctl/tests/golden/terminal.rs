//! What is shown on a terminal, beside what goes into a pipe.

use crate::SHOWING;
use crate::stage::{STAGE, outcome};
use std::process::{Command, Stdio};

pub(crate) fn on_a_terminal_there_are_colours_unless_they_are_unwanted() {
    let has_script = Command::new("script").arg("--version").output().is_ok();
    if !has_script {
        assert!(
            std::env::var_os("FSRVP_REQUIRE_LAB").is_none(),
            "script(1) is not installed"
        );
        println!("skipped: script(1) is not installed");
        return;
    }
    let on_terminal = |columns: u32, environment: &str| {
        let plain = STAGE.command(&["sets"]);
        let words: Vec<_> = std::iter::once(plain.get_program())
            .chain(plain.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let line = format!("stty cols {columns}; {environment} {}", words.join(" "));
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        outcome(command).0
    };
    assert!(on_terminal(80, "").contains("\u{1b}["));
    assert!(!on_terminal(80, "NO_COLOR=1").contains("\u{1b}["));
    for columns in [60, 80, 132] {
        let shown = on_terminal(columns, "NO_COLOR=1");
        let longest = shown
            .lines()
            .map(|line| line.trim_end().chars().count())
            .max();
        assert!(
            longest <= usize::try_from(columns).ok(),
            "{columns}: {shown}"
        );
    }
}

/// The same text every time: numbers, durations and bars differ from run to run, and tables with
/// them.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let is_number = word
                .trim_start_matches('+')
                .starts_with(|c: char| c.is_ascii_digit());
            if word.chars().all(|c| c == '#') {
                continue;
            }
            if is_number {
                // "980 ms" may be "1 s" the next time.
                words.next_if(|unit| ["ms", "s", "min", "h", "d", "KiB", "MiB"].contains(unit));
                masked.push_str("0 ");
            } else {
                masked.push_str(word);
                masked.push(' ');
            }
        }
        masked.push('\n');
    }
    masked.trim_end().to_owned()
}

/// A terminal of 80 columns, which ends with the value.
struct Tmux {
    socket: std::path::PathBuf,
}

impl Tmux {
    fn start(socket: std::path::PathBuf) -> Self {
        let tmux = Self { socket };
        // Without a session the server ends, and a new one may meet the old one's end.
        let (_, error, code) = tmux.run(&["new-session", "-d", "-s", "base", "read end"]);
        assert_eq!(code, 0, "{error}");
        tmux
    }

    fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        let mut command = Command::new("tmux");
        command
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(&self.socket);
        command.args(arguments).env("LC_ALL", "C.UTF-8");
        command.env_remove("TMUX").stdin(Stdio::null());
        outcome(command)
    }

    /// What a run shows there, with its colours.
    fn shows(&self, name: &str, arguments: &[&str]) -> String {
        let plain = STAGE.command(arguments);
        let quoted = std::iter::once(plain.get_program()).chain(plain.get_args());
        let quoted: Vec<_> = quoted
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let socket = self.socket.display();
        let script = format!(
            "unset NO_COLOR; {}; tmux -S '{socket}' wait-for -S {name}; read end",
            quoted.join(" ")
        );
        let (_, error, code) = self.run(&[
            "new-session",
            "-d",
            "-s",
            name,
            "-x",
            "80",
            "-y",
            "400",
            &script,
        ]);
        assert_eq!(code, 0, "{error}");
        self.run(&["wait-for", name]);
        let (shown, error, code) = self.run(&["capture-pane", "-p", "-e", "-t", name]);
        assert_eq!(code, 0, "{error}");
        self.run(&["kill-session", "-t", name]);
        shown
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

/// Text without its colours.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        bare.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    bare + rest
}

/// Every verb and a failure: the same words as in a pipe, no line too long, and colours.
pub(crate) fn a_terminal_shows_the_same_words_in_colours() {
    if Command::new("tmux").arg("-V").output().is_err() {
        let required = std::env::var_os("FSRVP_REQUIRE_LAB").is_some();
        assert!(!required, "tmux is not installed");
        println!("skipped: tmux is not installed");
        return;
    }
    let tmux = Tmux::start(STAGE.dir.join("tmux"));
    let recovered = STAGE.recovered.to_string();
    let show: &[&str] = &["show", &recovered];
    let missing: &[&str] = &["show", "00000000-0000-0000-0000-00000000abcd"];
    // What other tests change meanwhile is not compared.
    let fickle = ["events", "targets", "prune", "connections", "log", "status"];
    for (number, arguments) in SHOWING.iter().copied().chain([show, missing]).enumerate() {
        let shown = tmux.shows(&format!("run{number}"), arguments);
        let bare = bare(&shown);
        for line in bare.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
        assert!(!bare.trim().is_empty(), "{arguments:?}");
        if !arguments.first().is_some_and(|verb| fickle.contains(verb)) {
            let (piped, _) = STAGE.ctl(arguments);
            assert_eq!(masked(&bare), masked(&piped), "{arguments:?}");
        }
        let has_headings = ["sets", "shares", "snapshots", "show"].contains(&arguments[0]);
        if has_headings && arguments != missing {
            assert!(shown.contains("\u{1b}[1m"), "{arguments:?}: {shown:?}");
        }
    }
}
