//! Every verb against a daemon in this process: what people see at 80 columns, what programs read,
//! and how each run ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, reason = "a test that cannot run says so")]

mod refusals;
mod stage;
mod terminal;

use libtest_mimic::{Arguments, Trial};
use stage::{STAGE, normal};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [(&str, fn()); 12] = [
        (
            "no_line_is_wider_than_80_columns_and_programs_read_json",
            no_line_is_wider_than_80_columns_and_programs_read_json,
        ),
        ("what_people_see", what_people_see),
        (
            "file_lists_are_set_shown_and_cleared",
            file_lists_are_set_shown_and_cleared,
        ),
        (
            "a_source_is_of_the_share_that_is_restored",
            a_source_is_of_the_share_that_is_restored,
        ),
        (
            "a_beginning_of_an_id_is_enough",
            a_beginning_of_an_id_is_enough,
        ),
        (
            "each_failure_has_its_words_and_its_code",
            refusals::each_failure_has_its_words_and_its_code,
        ),
        (
            "a_daemon_that_is_not_there_is_told_from_one_that_may_not_be_asked",
            refusals::a_daemon_that_is_not_there_is_told_from_one_that_may_not_be_asked,
        ),
        (
            "a_report_has_everything_and_no_secrets",
            a_report_has_everything_and_no_secrets,
        ),
        (
            "events_are_watched_as_they_happen",
            events_are_watched_as_they_happen,
        ),
        (
            "completions_and_manual_come_from_the_same_source",
            completions_and_manual_come_from_the_same_source,
        ),
        (
            "on_a_terminal_there_are_colours_unless_they_are_unwanted",
            terminal::on_a_terminal_there_are_colours_unless_they_are_unwanted,
        ),
        (
            "a_terminal_shows_the_same_words_in_colours",
            terminal::a_terminal_shows_the_same_words_in_colours,
        ),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if !arguments.list {
        let _ = std::fs::remove_dir_all(&STAGE.dir);
    }
    conclusion.exit_code()
}

/// Verbs that show something and change nothing.
const SHOWING: [&[&str]; 15] = [
    &["status"],
    &["sets"],
    &["shares"],
    &["providers"],
    &["connections"],
    &["snapshots"],
    &["space"],
    &["targets", "list"],
    &["events"],
    &["events", "--limit", "1"],
    &["config", "show"],
    &["config", "reload"],
    &["log"],
    &["prune"],
    &["prune", "--age", "30d", "--count", "50"],
];

fn no_line_is_wider_than_80_columns_and_programs_read_json() {
    let recovered = STAGE.recovered.to_string();
    let show: &[&str] = &["show", &recovered];
    for arguments in SHOWING.iter().copied().chain([show]) {
        let (shown, code) = STAGE.ctl(arguments);
        assert_eq!(code, 0, "{arguments:?}: {shown}");
        assert!(!shown.is_empty(), "{arguments:?}");
        assert!(
            !shown.contains('\u{1b}'),
            "colours in a pipe: {arguments:?}"
        );
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
        let json = [arguments, &["--json"]].concat();
        let (json, _, code) = STAGE.run(&json);
        assert_eq!(code, 0, "{arguments:?}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(value.is_object(), "{arguments:?}: {json}");
    }
}

fn what_people_see() {
    let see = |arguments: &[&str]| normal(&STAGE.ctl(arguments).0);
    assert_eq!(
        see(&["providers"]),
        "Provider name: 'Memory (tests)'\n   \
         Provider type: Software\n   \
         Provider Id: {00000001-0000-0000-0000-000000000000}\n   \
         Version: 0.1.0\n"
    );
    assert_eq!(
        see(&["shares"]),
        "\
docs on LAB
  path      /srv/docs
  backend   memory
  why       the first that fits
  volume    memory:/srv/docs
  previous  /memory/previous/docs

off on LAB
  path     /srv/off
  backend  none
  why not  share off: /srv/off: the configuration says backend = none

sql on LAB
  path      /srv/sql
  backend   memory
  why       the first that fits
  volume    memory:/srv/sql
  previous  /memory/previous/sql
"
    );
    let sets = see(&["sets"]);
    let words: Vec<_> = sets
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let words: Vec<Vec<&str>> = words;
    assert_eq!(words[0], ["SET", "STATUS", "FOR", "SHARES"]);
    let of = |share: &str| {
        words
            .iter()
            .find(|line| line.last() == Some(&share))
            .unwrap()
    };
    assert_eq!(of("docs")[1], "recovered");
    assert_eq!(of("sql")[1], "exposed");
    let snapshots = see(&["snapshots"]);
    assert_eq!(
        snapshots,
        "SHARE  CREATED (UTC)        NAME\n\
         docs   2026-01-01 00:00:00  kept-00000001-0000-0000-0000-000000000000\n"
    );
    let space = see(&["space"]);
    assert!(space.contains("volume of docs\n"), "{space}");
    assert!(space.contains("copy      docs@{"), "{space}");
    assert_eq!(see(&["log"]), "off\n");
    assert_eq!(see(&["config", "reload"]), "nothing has changed\n");
}

fn file_lists_are_set_shown_and_cleared() {
    let see = |arguments: &[&str]| STAGE.ctl(arguments).0;
    assert_eq!(
        see(&["targets", "list"]),
        "no share has a file list: copies hold all of it\n"
    );
    assert_eq!(
        see(&["targets", "set", "OFF", "vm1", "vm 2/disk.vhdx"]),
        "share OFF: the next set copies 2 files and directories\n"
    );
    assert_eq!(
        see(&["targets", "list"]),
        "\
SHARE  SERVER  FOR           FILES
off    LAB     the next set  vm1
                             vm 2/disk.vhdx
"
    );
    let names = STAGE.dir.join("names");
    std::fs::write(&names, "only/this\n\n").unwrap();
    let from = names.to_str().unwrap();
    let set = see(&["targets", "set", "off", "--from", from, "--standing"]);
    assert_eq!(set, "share off: every set copies only/this\n");
    assert_eq!(
        see(&["targets", "list", "off", "--server", "lab"]),
        "\
share   off
server  LAB
for     every set
files   only/this
"
    );
    let (json, _, _) = STAGE.run(&["targets", "list", "off", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!({
        "server": "LAB", "share": "off", "files": ["only/this"], "standing": true
    });
    assert_eq!(json, expected);
    assert_eq!(
        see(&["targets", "clear", "off"]),
        "share off has no file list any more\n"
    );
    // Nothing is no list: it would be taken for "all of it".
    std::fs::write(&names, "\n").unwrap();
    let (_, error, code) = STAGE.run(&["targets", "set", "off", "--from", from]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("names no files"), "{error}");
}

/// A copy of another share is no source, and one that is not recovered is not ready.
fn a_source_is_of_the_share_that_is_restored() {
    let (json, _, _) = STAGE.run(&["space", "--json"]);
    let space: serde_json::Value = serde_json::from_str(&json).unwrap();
    let copies = space["items"].as_array().unwrap().iter();
    let of = |share: &str| {
        let found = copies
            .clone()
            .find(|item| item["share"] == share && item["kind"] == "copy");
        found.unwrap()["name"].as_str().unwrap().to_owned()
    };
    let (_, error, code) = STAGE.run(&["restore", "docs", "x", "--copy", &of("sql")]);
    assert_eq!(code, 4, "{error}");
    let (_, error, code) = STAGE.run(&["restore", "sql", "x", "--copy", &of("sql")]);
    assert_eq!(code, 5, "{error}");
    assert!(error.contains("is not recovered yet"), "{error}");
}

fn a_beginning_of_an_id_is_enough() {
    let id = STAGE.exposed.to_string();
    let (whole, code) = STAGE.ctl(&["show", &id]);
    assert_eq!(code, 0, "{whole}");
    let (shown, code) = STAGE.ctl(&["show", &id[..13]]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&format!("set      {id}")), "{shown}");
    assert!(shown.contains("status   exposed, writable"), "{shown}");
    assert!(shown.contains("commit"), "{shown}");
}

fn a_report_has_everything_and_no_secrets() {
    let file = STAGE.dir.join("report.json");
    let path = file.to_str().unwrap();
    let (text, code) = STAGE.ctl(&["report", path]);
    assert_eq!(code, 0, "{text}");
    let report = std::fs::read_to_string(&file).unwrap();
    assert!(report.contains("fsrvp.set.committed") && report.contains("mountinfo"));
    let report = report.replace("samba_passwords", "");
    for secret in ["password", "nt_hash", "BEGIN PRIVATE"] {
        assert!(
            !report.to_lowercase().contains(&secret.to_lowercase()),
            "{secret}"
        );
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // Nothing is overwritten.
    let (_, error, code) = STAGE.run(&["report", path]);
    assert_eq!(code, 1, "{error}");
}

fn events_are_watched_as_they_happen() {
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| STAGE.run(&["watch", "--count", "1"]));
        // The watch begins with what comes after it; so something comes until it has seen one.
        while !watching.is_finished() {
            STAGE.ctl(&["prune"]);
        }
        let (seen, error, code) = watching.join().unwrap();
        assert_eq!(code, 0, "{error}");
        // Other tests act, too: whoever came first is seen, and by whom it was done.
        assert!(seen.contains("LAB: ") || seen.contains("reload"), "{seen}");
        assert!(seen.contains("(uid "), "{seen}");
    });
}

fn completions_and_manual_come_from_the_same_source() {
    for shell in ["bash", "zsh", "fish"] {
        let (text, code) = STAGE.ctl(&["completions", shell]);
        assert_eq!(code, 0);
        assert!(
            text.contains("backend-check") && text.contains("snapshots"),
            "{shell}"
        );
    }
    let pages = STAGE.dir.join("man");
    STAGE.ctl(&["man", pages.to_str().unwrap()]);
    for (page, words) in [
        ("fsrvpctl.1", "Exit codes: 0 done"),
        ("fsrvpctl-prune.1", "in place of the configured rule"),
        ("fsrvpctl-config-check.1", "Check a configuration file"),
    ] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(words), "{page}: {text}");
    }
}
