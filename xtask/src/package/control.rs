//! What dpkg reads: control fields, maintainer scripts, checksums.

use super::tree::Tree;
use fsrvp_testkit::{Error, Run};

/// Maintainer scripts and their data in `packaging/debian`.
const SCRIPTS: &[(&str, u32)] = &[
    ("postinst", 0o755),
    ("prerm", 0o755),
    ("postrm", 0o755),
    ("triggers", 0o644),
    ("templates", 0o644),
];

/// Values for `@NAME@` in the files of `packaging/debian`.
pub(super) struct Substitutions(Vec<(&'static str, String)>);

impl Substitutions {
    pub(super) fn gather(tree: &Tree, version: &str) -> Result<Self, Error> {
        let architecture = Run::new("dpkg").arg("--print-architecture").check()?.stdout;
        let size = Run::new("du")
            .args(["--summarize", "--apparent-size", "--block-size=1024"])
            .arg(tree.root())
            .check()?
            .stdout;
        let size = size.split_whitespace().next().unwrap_or("0").to_owned();
        let formats = tree.source("packaging/debian/table-formats")?;
        let (_, since) = present_format(&formats)
            .ok_or_else(|| Error::Unfit("packaging/debian/table-formats has no line".to_owned()))?;
        // Lines of the licence's text as a field of the control format wants them.
        let mit: Vec<_> = tree
            .source("LICENSE-MIT")?
            .lines()
            .map(|line| match line.trim_end() {
                "" => " .".to_owned(),
                line => format!(" {line}"),
            })
            .collect();
        Ok(Self(vec![
            ("@VERSION@", version.to_owned()),
            ("@ARCHITECTURE@", architecture.trim().to_owned()),
            ("@SIZE@", size),
            ("@TABLE_SINCE@", since.to_owned()),
            ("@SHLIBS@", libraries(tree)?),
            ("@MIT@", mit.join("\n")),
        ]))
    }

    pub(super) fn architecture(&self) -> &str {
        let found = self.0.iter().find(|(name, _)| *name == "@ARCHITECTURE@");
        found.map_or("all", |(_, value)| value)
    }

    fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }
}

/// The last line of the list: the table's present format, and the first version that reads it.
fn present_format(list: &str) -> Option<(u32, &str)> {
    let line = list.lines().rfind(|line| !line.starts_with('#'))?;
    let (format, since) = line.split_once(' ')?;
    Some((format.parse().ok()?, since.trim()))
}

/// The packages of the shared libraries that the programs were linked with.
fn libraries(tree: &Tree) -> Result<String, Error> {
    // dpkg-shlibdeps wants a source package around it.
    let source = tempfile::tempdir().map_err(Error::file("the temporary files"))?;
    let debian = source.path().join("debian");
    std::fs::create_dir(&debian).map_err(Error::file(&debian))?;
    let control = debian.join("control");
    let fields = "Source: fsrvpd\n\nPackage: fsrvpd\nArchitecture: any\n";
    std::fs::write(&control, fields).map_err(Error::file(&control))?;
    let output = Run::new("dpkg-shlibdeps")
        .arg("-O")
        .args(["usr/sbin/fsrvpd", "usr/sbin/fsrvpctl"].map(|program| tree.root().join(program)))
        .directory(source.path())
        .check()?;
    let line = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("shlibs:Depends="));
    line.map(str::to_owned)
        .ok_or_else(|| Error::Unfit(format!("dpkg-shlibdeps said: {}", output.text())))
}

/// Writes `DEBIAN/` and what else depends on the substitutions.
pub(super) fn write(tree: &Tree, substitutions: &Substitutions) -> Result<(), Error> {
    let substituted = |from: &str, to: &str, mode| {
        let text = tree.source(&format!("packaging/debian/{from}"))?;
        tree.write(to, &substitutions.apply(&text), mode)
    };
    substituted("copyright.in", "usr/share/doc/fsrvpd/copyright", 0o644)?;
    // Before there is a DEBIAN, which is not part of what is installed.
    let sums = checksums(tree)?;
    substituted("control.in", "DEBIAN/control", 0o644)?;
    for (script, mode) in SCRIPTS {
        substituted(script, &format!("DEBIAN/{script}"), *mode)?;
    }
    tree.write("DEBIAN/conffiles", "/etc/fsrvpd.toml\n", 0o644)?;
    tree.write("DEBIAN/md5sums", &sums, 0o644)
}

fn checksums(tree: &Tree) -> Result<String, Error> {
    let find = Run::new("find")
        .args(["usr", "-type", "f", "-exec", "md5sum", "{}", "+"])
        .directory(tree.root());
    Ok(find.check()?.stdout)
}

#[cfg(test)]
mod tests {
    use super::present_format;
    use crate::workspace;

    #[test]
    fn the_last_line_counts() {
        let list = "# comment\n1 0.1.0\n2 0.4.0\n";
        assert_eq!(present_format(list), Some((2, "0.4.0")));
        assert_eq!(present_format("# comment\n"), None);
    }

    /// Otherwise a downgrade would be let through that the older daemon cannot read.
    #[test]
    fn the_list_of_formats_names_the_one_that_the_program_writes() {
        let read = |path| std::fs::read_to_string(workspace::root().join(path)).unwrap();
        let source = read("crates/fsrvp-proto/src/durable.rs");
        let version = source
            .lines()
            .find_map(|line| line.strip_prefix("pub const FORMAT_VERSION: u32 = "))
            .and_then(|rest| rest.trim_end_matches(';').parse().ok());
        let list = read("packaging/debian/table-formats");
        assert_eq!(present_format(&list).map(|(format, _)| format), version);
        assert!(version.is_some());
    }
}
