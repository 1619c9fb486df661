//! Every block of code in the guide says what it is, and what it says is held to: commands are typed by a test, or
//! marked as typed where no test of ours can be.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use fsrvp_testkit::{Run, programs};
use fsrvp_tests::guide::{self, Block};
use std::path::Path;

/// Replayed blocks: page, name, and the source of the test that types it.
const REPLAYED: &[(&str, &str, &str)] = &[
    ("docs/install.md", "stand-alone", "tests/tests/guide.rs"),
    ("docs/install.md", "registry", "tests/tests/guide.rs"),
    ("docs/install.md", "after", "tests/tests/guide.rs"),
    ("docs/install.md", "by-hand", "tests/tests/guide.rs"),
    ("docs/install.md", "build", "tests/tests/pages.rs"),
    ("docs/install.md", "member", "tests/tests/member.rs"),
    ("docs/windows.md", "seen", "tests/tests/guide.rs"),
    ("docs/events.md", "events", "tests/tests/guide.rs"),
    ("docs/admin-api.md", "admin-api", "tests/tests/guide.rs"),
    ("docs/backends.md", "file-list", "tests/tests/guide.rs"),
    ("docs/laboratory.md", "judges", "tests/tests/judges.rs"),
];

/// What no line of a block without commands begins with.
const COMMANDS: &[&str] = &[
    "apt",
    "btrfs",
    "cargo",
    "curl",
    "docker",
    "dpkg",
    "fsrvpctl",
    "fsrvpd",
    "install",
    "journalctl",
    "net",
    "printf",
    "python3",
    "rpcclient",
    "sed",
    "smbclient",
    "smbpasswd",
    "systemctl",
    "useradd",
];

/// Pages of the guide, and what a newcomer reads before.
fn pages() -> Vec<String> {
    let root = programs::workspace();
    let mut pages = vec![
        "README.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "SECURITY.md".to_owned(),
        "benches/README.md".to_owned(),
    ];
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|end| end == "md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages
}

/// What is wrong with a block.
fn problem(page: &str, block: &Block<'_>) -> Option<String> {
    let kind = block.mark?;
    if let Some(name) = kind.strip_prefix("replay: ") {
        let known = REPLAYED
            .iter()
            .any(|known| (known.0, known.1) == (page, name));
        return (!known).then(|| "no test replays it".to_owned());
    }
    match kind {
        "text" => block
            .lines
            .iter()
            .find(|line| COMMANDS.contains(&line.split_whitespace().next().unwrap_or_default()))
            .map(|line| format!("{line:?} is a command")),
        "windows: not run here" if page == "docs/windows.md" => None,
        "engine: not run here" if page == "docs/container.md" => None,
        "verbs" => block.lines.iter().find_map(|line| verb(line)),
        "synopsis" => synopsis(&block.lines),
        _ => Some(format!("{kind:?} is no kind of block")),
    }
}

/// A line of `cargo xtask`, as a newcomer types it: its verb has such options.
fn verb(line: &str) -> Option<String> {
    let (command, _) = line.split_once('#').unwrap_or((line, ""));
    let mut words = command.split_whitespace();
    if (words.next(), words.next()) != (Some("cargo"), Some("xtask")) {
        return Some(format!("{line:?} is no verb"));
    }
    let words: Vec<_> = words.collect();
    help(&words).err()
}

/// The help of a verb with arguments that it has to accept.
fn help(words: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Run::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--"])
        .args(words)
        .arg("--help")
        .directory(programs::workspace())
        .limit(std::time::Duration::from_secs(1800));
    let output = run.check().map_err(|error| error.to_string())?;
    Ok(output.stdout)
}

/// Every option of a synopsis is in the help of its command.
fn synopsis(lines: &[&str]) -> Option<String> {
    let text = lines.join("\n").replace("\n ", " ");
    text.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let verbs = |words: &[&str]| -> Vec<String> {
            let plain = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let verbs = words
                .iter()
                .take_while(|word| plain(word) && !word.starts_with('-'));
            verbs.map(|word| (*word).to_owned()).collect()
        };
        let help = match *words.as_slice() {
            ["cargo", "xtask", ref rest @ ..] => {
                let verbs = verbs(rest);
                help(&verbs.iter().map(String::as_str).collect::<Vec<_>>())
            }
            ["fsrvpctl", ref rest @ ..] => {
                let run = Run::new(programs::program("fsrvpctl").unwrap());
                let output = run.args(verbs(rest)).arg("--help").check();
                output
                    .map(|output| output.stdout)
                    .map_err(|error| error.to_string())
            }
            _ => Err(format!("{line:?} is no synopsis of ours")),
        };
        let help = match help {
            Ok(help) => help,
            Err(error) => return Some(error),
        };
        let options = words.iter().map(|word| word.trim_matches(['[', ']']));
        let mut options = options.filter(|word| word.starts_with("--") && word.len() > 2);
        let missing = options.find(|option| !help.contains(option));
        missing.map(|option| format!("{option} is not in the help:\n{help}"))
    })
}

#[test]
fn every_block_is_typed_by_a_test_or_marked() {
    let mut problems = Vec::new();
    let mut replayed = 0;
    for page in pages() {
        let text = guide::text(&page).unwrap();
        for block in guide::blocks(&text) {
            let found = match block.mark {
                None => Some("nobody has said what it is".to_owned()),
                Some(_) => problem(&page, &block),
            };
            replayed += usize::from(block.mark.is_some_and(|mark| mark.starts_with("replay: ")));
            problems.extend(found.map(|found| format!("{page}:{}: {found}", block.line)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(replayed, REPLAYED.len(), "each is in one place");
}

/// CI runs what anybody can run: verbs of `cargo xtask`.
#[test]
fn the_workflows_call_verbs() {
    for workflow in ["test", "nightly", "release"] {
        let text = guide::text(&format!(".github/workflows/{workflow}.yml")).unwrap();
        let lines = text.lines().filter_map(|line| {
            let (_, command) = line.split_once("cargo xtask ")?;
            Some(
                command
                    .split(['"', '>', '|', '&'])
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
            )
        });
        let commands: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        assert!(!commands.is_empty(), "{workflow} calls no verb");
        for command in commands {
            let problem = verb(&format!("cargo xtask {command}"));
            // A version comes from the shell.
            let known = problem.is_none() || command == "release-notes";
            assert!(known, "{workflow}: {command}: {problem:?}");
        }
    }
}

#[test]
fn the_tests_name_what_they_type() {
    for (page, name, test) in REPLAYED {
        guide::commands_of(page, name).unwrap();
        let source = guide::text(test).unwrap();
        assert!(
            source.contains(&format!("{name:?}")),
            "{test} does not type {name}"
        );
    }
}

/// What the guide has typed in a clone is what `cargo xtask package` runs before it packs.
#[test]
fn the_programs_are_built_as_the_guide_says() {
    let [command] = &*guide::commands_of("docs/install.md", "build").unwrap() else {
        unreachable!("one command builds both programs");
    };
    let source = guide::text("xtask/src/workspace.rs").unwrap();
    let (_, build) = source.split_once("pub(crate) fn build_programs").unwrap();
    let words: Vec<_> = command.split_whitespace().skip(2).collect();
    assert!(command.starts_with("cargo build "), "{command}");
    for word in &words {
        assert!(build.contains(&format!("{word:?}")), "{word}");
    }
    assert_eq!(words.len(), 5, "{words:?}");
}
