//! `cargo xtask release-notes`: what CHANGELOG.md says of a version.

use crate::{Outcome, workspace};

#[derive(clap::Args)]
pub(crate) struct ReleaseNotes {
    /// The version, as `0.2.0` or `v0.2.0`, or `unreleased`
    version: String,
}

pub(crate) fn run(arguments: &ReleaseNotes) -> Outcome {
    let changelog = std::fs::read_to_string(workspace::root().join("CHANGELOG.md"))?;
    let notes = section(&changelog, &arguments.version)
        .ok_or_else(|| format!("CHANGELOG.md has no section {}", arguments.version))?;
    println!("{notes}");
    Ok(())
}

/// The lines between `## VERSION` and the next heading of that level. The heading may have brackets
/// and a date: `## [0.2.0] - 2026-01-31`.
fn section<'a>(changelog: &'a str, version: &str) -> Option<&'a str> {
    let wanted = version.strip_prefix('v').unwrap_or(version);
    let is_it = |heading: &str| {
        let name = heading.split_whitespace().next().unwrap_or_default();
        name.trim_matches(['[', ']']).eq_ignore_ascii_case(wanted)
    };
    let mut from = None;
    let mut position = 0;
    for line in changelog.split_inclusive('\n') {
        let begins = position;
        position += line.len();
        match (line.strip_prefix("## "), from) {
            (Some(_), Some(from)) => return Some(changelog.get(from..begins)?.trim()),
            (Some(heading), None) if is_it(heading) => from = Some(position),
            _ => {}
        }
    }
    Some(changelog.get(from?..)?.trim())
}

#[cfg(test)]
mod tests {
    use super::section;

    const LOG: &str = "# Changelog\n\nIntro.\n\n## Unreleased\n\n- c\n\n## [0.2.0] - 2026-01-31\n\n\
        ### Added\n\n- b\n\n## 0.1.0\n\n- a\n";

    #[test]
    fn a_version_has_the_lines_up_to_the_next() {
        assert_eq!(section(LOG, "unreleased"), Some("- c"));
        assert_eq!(section(LOG, "v0.2.0"), Some("### Added\n\n- b"));
        assert_eq!(section(LOG, "0.1.0"), Some("- a"));
    }

    #[test]
    fn a_version_that_is_not_there_is_none() {
        assert_eq!(section(LOG, "0.2"), None);
        assert_eq!(section(LOG, "Changelog"), None);
        assert_eq!(section("", "0.1.0"), None);
    }
}
