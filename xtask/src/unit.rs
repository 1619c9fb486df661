//! `cargo xtask unit`: how far the systemd unit is closed, and that it closes nothing that smbd has to see.

use crate::{Outcome, lab, workspace};
use fsrvp_testkit::{Run, packages};

pub(crate) const UNIT: &str = "packaging/systemd/fsrvpd.service";

/// Shows what `systemd-analyze security` says of the unit.
pub(crate) fn run() -> Outcome {
    lab::install(packages::PACKAGING)?;
    let output = Run::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .arg(workspace::root().join(UNIT))
        .check()?;
    print!("{}", output.stdout);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::UNIT;
    use crate::workspace;

    /// Directives of systemd.exec(5) that give the unit a mount namespace in some version of systemd,
    /// with values that do not. A name that ends with `*` stands for all that begin so. Also those
    /// that hide from the daemon what it has to see: new host names, other users.
    const NAMESPACES: &[(&str, &[&str])] = &[
        ("RootDirectory", &[]),
        ("RootImage*", &[]),
        ("RootHash*", &[]),
        ("RootVerity", &[]),
        ("RootEphemeral", &["no"]),
        ("RootMStack", &[]),
        ("BindPaths", &[]),
        ("BindReadOnlyPaths", &[]),
        ("BindLogSockets", &["no"]),
        ("TemporaryFileSystem", &[]),
        ("MountImages", &[]),
        ("ExtensionImages", &[]),
        ("ExtensionDirectories", &[]),
        ("MountFlags", &["shared"]),
        ("MountAPIVFS", &["no"]),
        ("ReadWritePaths", &[]),
        ("ReadOnlyPaths", &[]),
        ("InaccessiblePaths", &[]),
        ("ReadWriteDirectories", &[]),
        ("ReadOnlyDirectories", &[]),
        ("InaccessibleDirectories", &[]),
        ("ExecPaths", &[]),
        ("NoExecPaths", &[]),
        ("Private*", &["no"]),
        ("ProtectSystem", &["no"]),
        ("ProtectHome", &["no"]),
        ("ProtectKernel*", &["no"]),
        ("ProtectControlGroups", &["no"]),
        ("ProtectProc", &["default"]),
        ("ProcSubset", &["all"]),
        ("ProtectHostname", &["no"]),
        ("DynamicUser", &["no"]),
        ("User", &["root"]),
        ("LogNamespace", &[]),
        ("NetworkNamespacePath", &[]),
        ("IPCNamespacePath", &[]),
        ("UserNamespacePath", &[]),
        ("JoinsNamespaceOf", &[]),
        ("DelegateNamespaces", &[]),
        ("LoadCredential*", &[]),
        ("SetCredential*", &[]),
        ("ImportCredential*", &[]),
        ("ConfigurationDirectory*", &[]),
    ];

    /// The assignments of a unit that are on the list.
    fn forbidden(unit: &str) -> Vec<&str> {
        let is_bad = |line: &&str| {
            let Some((name, value)) = line.split_once('=') else {
                return false;
            };
            let (name, value) = (name.trim(), value.trim());
            let listed = |entry: &&(&str, &[&str])| match entry.0.strip_suffix('*') {
                Some(begin) => name.starts_with(begin),
                None => name == entry.0,
            };
            let Some((_, harmless)) = NAMESPACES.iter().find(listed) else {
                return false;
            };
            !value.is_empty() && !harmless.contains(&value)
        };
        let lines = unit.lines().map(str::trim);
        lines
            .filter(|line| !line.starts_with(['#', ';']))
            .filter(is_bad)
            .collect()
    }

    fn shipped(path: &str) -> String {
        std::fs::read_to_string(workspace::root().join(path)).unwrap()
    }

    #[test]
    fn smbd_sees_what_the_unit_mounts() {
        for path in [UNIT, "packaging/systemd/programs.conf"] {
            assert_eq!(forbidden(&shipped(path)), [""; 0], "{path}");
        }
    }

    #[test]
    fn each_directive_of_the_list_is_found() {
        for (name, harmless) in NAMESPACES {
            let line = format!("{}=yes", name.replace('*', "Tmp"));
            let unit = format!("[Service]\n # {line}\n {line}\n");
            assert_eq!(forbidden(&unit), [line.as_str()]);
            for value in *harmless {
                assert_eq!(forbidden(&format!("{name}={value}")), [""; 0]);
            }
        }
    }

    #[test]
    fn the_unit_is_closed_in_every_other_way() {
        let unit = shipped(UNIT);
        let lines: Vec<_> = unit.lines().collect();
        for wanted in [
            "NoNewPrivileges=yes",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "LockPersonality=yes",
            "MemoryDenyWriteExecute=yes",
            "SystemCallArchitectures=native",
            "SystemCallErrorNumber=EPERM",
            "DevicePolicy=closed",
            "IPAddressDeny=any",
        ] {
            assert!(lines.contains(&wanted), "{wanted}");
        }
        for wanted in [
            "CapabilityBoundingSet=CAP_",
            "SystemCallFilter=@",
            "RestrictAddressFamilies=AF_UNIX ",
        ] {
            assert!(
                lines.iter().any(|line| line.starts_with(wanted)),
                "{wanted}"
            );
        }
    }
}
