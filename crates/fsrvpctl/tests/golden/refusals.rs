//! How each run ends that does not end well, and who may ask at all.

use crate::SHOWING;
use crate::stage::{STAGE, outcome};
use crate::terminal::masked;
use std::process::Command;

pub(crate) fn each_failure_has_its_words_and_its_code() {
    let recovered = STAGE.recovered.to_string();
    let unknown = "00000000-0000-0000-0000-00000000abcd";
    let cases: [(&[&str], i32, &str); 22] = [
        (&[], 2, "Usage: fsrvpctl"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["show", unknown], 4, "there is no set 00000000"),
        (&["show", "not-an-id"], 2, "is no id of a set"),
        (
            &["show", "00000000-0000-0000-0000-0000"],
            4,
            "no set whose id begins with",
        ),
        (
            &["abort", &recovered],
            5,
            "only a set short of recovered can be aborted",
        ),
        (
            &["seal", &recovered],
            5,
            "only an exposed set can be sealed",
        ),
        (&["delete"], 2, "required arguments"),
        (&["delete", "--copy", unknown], 4, "there is no copy"),
        (
            &["delete", "--snapshot", "docs", "nightly"],
            4,
            "there is no snapshot nightly of docs",
        ),
        (&["restore", "docs", "x"], 2, "required arguments"),
        (
            &["restore", "docs", "../x", "--snapshot", "n"],
            2,
            "is no path below a share",
        ),
        (
            &["restore", "docs", "x", "--snapshot", "nightly"],
            4,
            "there is no snapshot nightly of docs on LAB",
        ),
        (
            &[
                "restore",
                "docs",
                "x",
                "--snapshot",
                "n",
                "--server",
                "other",
            ],
            4,
            "no server \"other\"; there are: LAB",
        ),
        (&["targets", "list", "docs"], 4, "docs has no file list"),
        (&["targets", "clear", "docs"], 4, "docs has no file list"),
        (&["targets", "list", "none"], 4, "there is no share none"),
        (
            &["targets", "set", "docs", "a"],
            5,
            "file lists are for clones",
        ),
        (&["targets", "set", "off"], 2, "required arguments"),
        (
            &["targets", "set", "off", "../x"],
            2,
            "is no path below a share",
        ),
        (&["log", "a=b=c"], 2, "a=b=c"),
        (
            &["config", "check", "/does/not/exist.toml"],
            6,
            "cannot read /does/not/exist.toml",
        ),
    ];
    for (arguments, expected, words) in cases {
        let (out, error, code) = STAGE.run(arguments);
        assert_eq!(code, expected, "{arguments:?}: {error}");
        let flat = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{arguments:?}: {error}");
        assert!(out.is_empty(), "{arguments:?}: {out}");
        for line in error.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
    let (text, code) = STAGE.ctl(&[
        "config",
        "check",
        STAGE.dir.join("fsrvpd.toml").to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{text}");
}

pub(crate) fn a_daemon_that_is_not_there_is_told_from_one_that_may_not_be_asked() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fsrvpctl"));
    command.args(["--socket", "/does/not/exist.sock", "status"]);
    let (_, error, code) = outcome(command);
    assert_eq!(code, 3);
    assert!(error.contains("is fsrvpd running?"), "{error}");

    if !rustix::process::geteuid().is_root() {
        println!("skipped: other users can only be tried as root");
        return;
    }
    let as_other = |group: &str, arguments: &[&str]| {
        let plain = STAGE.command(arguments);
        let program = STAGE.dir.join("fsrvpctl");
        // The build's directory may be closed to others.
        if !program.exists() {
            std::fs::copy(plain.get_program(), &program).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]);
        command.arg(format!("--regid={group}")).arg(program);
        command.args(plain.get_args());
        outcome(command)
    };
    for arguments in SHOWING {
        let (out, error, code) = as_other("65534", arguments);
        assert_eq!(code, 3, "a stranger, {arguments:?}: {error}");
        let flat = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("only root and the group"), "{error}");
        assert!(out.is_empty(), "a stranger, {arguments:?}: {out}");
        let (out, error, code) = as_other("daemon", arguments);
        assert_eq!(code, 0, "a member of the group, {arguments:?}: {error}");
        assert!(
            error.is_empty() && !out.is_empty(),
            "{arguments:?}: {error}"
        );
    }
    for arguments in [["sets"].as_slice(), &["shares"], &["config", "show"]] {
        let (out, _, _) = as_other("daemon", arguments);
        assert_eq!(
            masked(&out),
            masked(&STAGE.ctl(arguments).0),
            "{arguments:?}"
        );
    }
}
