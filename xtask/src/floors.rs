//! `cargo xtask floors`: who may import whom, and what the sans-IO crates may not touch.

mod source;

use crate::{Outcome, workspace};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::fmt;
use std::path::Path;

/// The floors of DESIGN, lowest first. A crate imports only from floors below its own.
const FLOORS: &[&[&str]] = &[
    &["dcerpc-proto"],
    &["fsrvp-idl"],
    &["fsrvp-proto"],
    &["dcerpc-security", "fsrvp-samba", "fsrvp-snapshot"],
    &["fsrvp-server", "fsrvp-client"],
    &["fsrvpctl"],
];

/// Beside the floors: the only crate with unsafe code, and the floors that may use it.
const SYSTEM: &str = "fsrvp-sys";
const FLOORS_THAT_USE_THE_SYSTEM: [usize; 2] = [3, 4];

/// Above all floors: they may use everything and nothing is built on them.
const ABOVE: &[&str] = &[
    "fsrvp-benches",
    "fsrvp-campaigns",
    "fsrvp-fuzz",
    "fsrvp-tests",
    "xtask",
];

/// Above all floors too, but tests of any crate may use it.
const TESTKIT: &str = "fsrvp-testkit";

/// Protocol cores: bytes and typed calls in, actions out, time and ids passed in.
const SANS_IO: [&str; 3] = ["dcerpc-proto", "fsrvp-idl", "fsrvp-proto"];

/// Crates that bring input and output, a clock or randomness.
const NOT_SANS_IO: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "futures",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "quanta",
    "rand",
    "redb",
    "reqwest",
    "rustix",
    "signal-hook",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tokio-util",
    "web-time",
];

/// Features that bring the same to a crate that is harmless otherwise.
const NOT_SANS_IO_FEATURES: &[(&str, &[&str])] = &[(
    "uuid",
    &[
        "v1",
        "v4",
        "v6",
        "v7",
        "rng",
        "rng-getrandom",
        "rng-rand",
        "fast-rng",
    ],
)];

/// One thing that is not as it has to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A dependency that points sideways or up.
    Edge {
        from: String,
        to: String,
        why: String,
    },
    /// A crate of the workspace that has no floor.
    Homeless { package: String },
    /// A line of source.
    Source {
        file: String,
        line: usize,
        what: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge { from, to, why } => write!(formatter, "{from} -> {to}: {why}"),
            Self::Homeless { package } => {
                write!(
                    formatter,
                    "{package} stands on no floor: add it to xtask/src/floors.rs"
                )
            }
            Self::Source { file, line, what } => write!(formatter, "{file}:{line}: {what}"),
        }
    }
}

/// Checks the workspace.
pub(crate) fn run() -> Outcome {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace::root().join("Cargo.toml"))
        .no_deps()
        .exec()?;
    let mut findings = edges(&metadata);
    for package in metadata.workspace_packages() {
        sources(
            package,
            metadata.workspace_root.as_std_path(),
            &mut findings,
        )?;
    }
    if findings.is_empty() {
        println!(
            "floors: {} crates, every import points down",
            metadata.packages.len()
        );
        return Ok(());
    }
    let list: Vec<_> = findings
        .iter()
        .map(|finding| format!("\n  {finding}"))
        .collect();
    Err(format!("floors:{}", list.concat()).into())
}

fn edges(metadata: &Metadata) -> Vec<Finding> {
    let packages = metadata.workspace_packages();
    let ours = |name: &str| packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    for package in &packages {
        let from = package.name.as_str();
        if place(from).is_none() {
            findings.push(Finding::Homeless {
                package: from.to_owned(),
            });
        }
        for dependency in &package.dependencies {
            let (to, kind) = (dependency.name.as_str(), dependency.kind);
            let why = if ours(to) {
                wrong_edge(from, to, kind)
            } else if SANS_IO.contains(&from) && kind != DependencyKind::Development {
                wrong_import(to, &dependency.features)
            } else {
                None
            };
            if let Some(why) = why {
                findings.push(Finding::Edge {
                    from: from.to_owned(),
                    to: to.to_owned(),
                    why,
                });
            }
        }
    }
    findings
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Floor(usize),
    System,
    Testkit,
    Above,
}

fn place(name: &str) -> Option<Place> {
    if let Some(floor) = FLOORS.iter().position(|floor| floor.contains(&name)) {
        return Some(Place::Floor(floor));
    }
    match name {
        SYSTEM => Some(Place::System),
        TESTKIT => Some(Place::Testkit),
        name if ABOVE.contains(&name) => Some(Place::Above),
        _ => None,
    }
}

/// Why one crate of the workspace may not import another.
fn wrong_edge(from: &str, to: &str, kind: DependencyKind) -> Option<String> {
    let for_tests = kind == DependencyKind::Development;
    if for_tests && from == to {
        // A crate's own tests may ask it for a feature.
        return None;
    }
    match (place(from)?, place(to)?) {
        (Place::Above, _) => None,
        (Place::Testkit, _) => {
            Some("the test kit has to build on a machine without Debian's packages".to_owned())
        }
        (Place::Floor(_) | Place::System, Place::Testkit) if for_tests => None,
        (Place::Floor(from), Place::Floor(to)) if to < from => None,
        // Tests of a server need a client.
        (Place::Floor(from), Place::Floor(to)) if for_tests && to == from => None,
        (Place::Floor(from), Place::Floor(to)) => Some(format!(
            "floor {from} imports from floor {to}; only lower floors are allowed"
        )),
        (Place::Floor(from), Place::System) => {
            let allowed = FLOORS_THAT_USE_THE_SYSTEM.contains(&from);
            (!allowed).then(|| format!("floor {from} may not call the system itself"))
        }
        (Place::System, _) => Some("the system's wrappers know nothing of the project".to_owned()),
        (Place::Floor(_), Place::Testkit | Place::Above) => {
            Some("nothing is built on tests and tools".to_owned())
        }
    }
}

/// Why a sans-IO crate may not import a crate of others.
fn wrong_import(to: &str, features: &[String]) -> Option<String> {
    if NOT_SANS_IO.contains(&to) {
        return Some(
            "a sans-IO crate has no runtime, clock, randomness, socket or file".to_owned(),
        );
    }
    let (_, banned) = NOT_SANS_IO_FEATURES.iter().find(|(name, _)| *name == to)?;
    let feature = features
        .iter()
        .find(|feature| banned.contains(&feature.as_str()))?;
    Some(format!(
        "feature \"{feature}\" brings randomness or a clock into a sans-IO crate"
    ))
}

fn sources(package: &Package, root: &Path, findings: &mut Vec<Finding>) -> std::io::Result<()> {
    let directory = package
        .manifest_path
        .parent()
        .map_or(root, |path| path.as_std_path());
    let sans_io = SANS_IO.contains(&package.name.as_str());
    for file in source::rust_files(directory)? {
        let text = std::fs::read_to_string(&file)?;
        let inside = file.strip_prefix(directory).unwrap_or(&file);
        let mut found = Vec::new();
        if package.name != SYSTEM {
            found.extend(source::unsafe_code(&text));
        }
        if sans_io && inside.starts_with("src") {
            found.extend(source::input_output(&text));
        }
        let shown = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        let finding = |(line, what)| Finding::Source {
            file: shown.clone(),
            line,
            what,
        };
        findings.extend(found.into_iter().map(finding));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str) -> bool {
        wrong_edge(from, to, DependencyKind::Normal).is_none()
    }

    #[test]
    fn imports_point_down() {
        assert!(edge("fsrvp-server", "fsrvp-proto"));
        assert!(edge("fsrvp-client", "fsrvp-samba"));
        assert!(!edge("fsrvp-proto", "fsrvp-server"));
        assert!(!edge("fsrvp-samba", "fsrvp-snapshot"));
        assert!(!edge("dcerpc-proto", "fsrvp-idl"));
        assert!(edge("fsrvp-snapshot", "fsrvp-sys"));
        assert!(!edge("fsrvp-proto", "fsrvp-sys"));
        assert!(!edge("fsrvp-sys", "fsrvp-idl"));
        assert!(!edge("fsrvp-server", "fsrvp-tests"));
        assert!(!edge("fsrvp-testkit", "fsrvp-sys"));
        assert!(!edge("fsrvp-snapshot", "fsrvp-testkit"));
        let tests = DependencyKind::Development;
        assert_eq!(wrong_edge("fsrvp-snapshot", "fsrvp-testkit", tests), None);
        assert_eq!(wrong_edge("fsrvp-server", "fsrvp-client", tests), None);
        assert!(wrong_edge("fsrvp-samba", "fsrvp-server", tests).is_some());
    }

    #[test]
    fn a_core_gains_nothing_that_acts() {
        assert!(wrong_import("tokio", &[]).is_some());
        assert!(wrong_import("uuid", &["serde".to_owned(), "v4".to_owned()]).is_some());
        assert_eq!(wrong_import("uuid", &["serde".to_owned()]), None);
        assert_eq!(wrong_import("nom", &[]), None);
    }

    #[test]
    fn the_workspace_is_in_order() {
        run().unwrap();
    }

    #[test]
    fn the_architecture_names_every_crate() {
        let path = workspace::root().join("ARCHITECTURE.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.lines().count() <= 200,
            "ARCHITECTURE.md has more than 200 lines"
        );
        let metadata = MetadataCommand::new()
            .manifest_path(workspace::root().join("Cargo.toml"))
            .no_deps()
            .exec()
            .unwrap();
        for package in metadata.workspace_packages() {
            let name = format!("`{}`", package.name);
            assert!(text.contains(&name), "ARCHITECTURE.md does not name {name}");
        }
    }

    /// Fields of the configuration's structures, by the names that stand in a file.
    #[test]
    fn the_documentation_names_every_key_of_the_configuration() {
        let read = |path: &str| std::fs::read_to_string(workspace::root().join(path)).unwrap();
        let documented = read("docs/configuration.md");
        let source = read("crates/fsrvp-server/src/config/mod.rs");
        let mut renamed = None;
        let mut keys = 0;
        for line in source.lines() {
            if let Some((_, name)) = line.split_once("rename = \"") {
                renamed = name.split('"').next();
            }
            let Some(field) = line
                .strip_prefix("    pub ")
                .filter(|field| !field.contains('('))
            else {
                continue;
            };
            let Some((name, _)) = field.split_once(": ") else {
                continue;
            };
            let name = renamed.take().unwrap_or(name);
            let shown = [
                format!("`{name}`"),
                format!("`[{name}]`"),
                format!(".{name}]`"),
                format!("[{name}."),
            ];
            assert!(
                shown
                    .iter()
                    .any(|shown| documented.contains(shown.as_str()))
                    || documented.contains(&format!("`[[{name}]]`"))
                    || documented.contains(&format!(".{name}]]`")),
                "docs/configuration.md does not name {name}"
            );
            keys += 1;
        }
        assert!(
            keys > 20,
            "only {keys} keys found: has the configuration moved?"
        );
    }
}
