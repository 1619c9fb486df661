//! The Debian packages that each purpose needs, and how they get onto the machine.

use crate::{Error, Run};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A Debian package and a file that tells whether it is there.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Name for `apt-get install`.
    pub name: &'static str,
    /// A program on the path, or an absolute path; `*` may stand for one directory.
    pub evidence: &'static str,
}

const fn package(name: &'static str, evidence: &'static str) -> Package {
    Package { name, evidence }
}

/// What building needs beyond Rust.
pub const BUILD: &[Package] = &[
    package("gcc", "cc"),
    package("libwbclient-dev", "/usr/include/samba-4.0/wbclient.h"),
    package("libkrb5-dev", "/usr/include/gssapi/gssapi.h"),
    package("libclang-dev", "/usr/lib/llvm-*/lib/libclang.so"),
    package("pkg-config", "pkg-config"),
];

/// What a laboratory needs: file systems, a file server and its tools.
pub const LABORATORY: &[Package] = &[
    package("btrfs-progs", "mkfs.btrfs"),
    package("xfsprogs", "mkfs.xfs"),
    package("util-linux", "losetup"),
    package("mount", "mount"),
    package("samba", "smbd"),
    package("samba-common-bin", "net"),
    package("samba-vfs-modules", "/usr/lib/*/samba/vfs/shadow_copy2.so"),
    package("smbclient", "smbclient"),
    package(
        "python3-samba",
        "/usr/lib/python3/dist-packages/samba/__init__.py",
    ),
];

/// What the suites need on top: the judges that others wrote.
pub const SUITES: &[Package] = &[
    package("acl", "getfacl"),
    package("attr", "getfattr"),
    package("libcap2-bin", "setcap"),
    package("samba-testsuite", "smbtorture"),
    package("winbind", "winbindd"),
    package(
        "samba-ad-provision",
        "/usr/share/samba/setup/provision.ldif",
    ),
    package("samba-dsdb-modules", "/usr/lib/*/samba/ldb/samba_dsdb.so"),
    package("krb5-user", "kinit"),
    package("iproute2", "ip"),
    package("strace", "strace"),
    package("faketime", "/usr/lib/*/faketime/libfaketimeMT.so.1"),
    package("krb5-kdc", "krb5kdc"),
    package("krb5-admin-server", "kadmin.local"),
    package("mmdebstrap", "mmdebstrap"),
    package("prometheus", "promtool"),
    package("bsdutils", "script"),
    package("tmux", "tmux"),
    package("python3-venv", "/usr/lib/python3*/ensurepip/__init__.py"),
];

/// ZFS in user space: the only one that runs without a kernel module.
pub const ZFS: &[Package] = &[package("zfs-fuse", "zfs-fuse")];

/// What the container images need.
pub const IMAGE: &[Package] = &[
    package("binutils", "strip"),
    package("buildah", "buildah"),
    package("mmdebstrap", "mmdebstrap"),
    package("btrfs-progs", "mkfs.btrfs"),
    package("iproute2", "ip"),
];

/// What the Debian package and the looks at it need.
pub const PACKAGING: &[Package] = &[
    package("binutils", "strip"),
    package("dpkg-dev", "dpkg-shlibdeps"),
    package("gzip", "gzip"),
    package("systemd", "systemd-analyze"),
];

/// The evidence of those packages that are not installed.
#[must_use]
pub fn missing_programs(packages: &[Package]) -> Vec<&'static str> {
    missing(packages).map(|package| package.evidence).collect()
}

/// Installs what is missing with `apt-get`, and nothing else; returns the names it installed.
///
/// # Errors
/// [`Error::Unfit`] without root, else what `apt-get` said.
pub fn install_missing(packages: &[Package]) -> Result<Vec<&'static str>, Error> {
    let names: Vec<_> = missing(packages).map(|package| package.name).collect();
    if names.is_empty() {
        return Ok(names);
    }
    if !rustix::process::geteuid().is_root() {
        let names = names.join(" ");
        return Err(Error::Unfit(format!(
            "run as root: apt-get install {names}"
        )));
    }
    let _quiet = NoServers::declare()?;
    let apt = || Run::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    let install = |names: &[&str]| {
        apt()
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(names)
            .limit(Duration::from_secs(1200))
            .check()
    };
    if install(&names).is_err() {
        apt()
            .args(["update", "--quiet"])
            .limit(Duration::from_secs(600))
            .check()?;
        install(&names)?;
    }
    Ok(names)
}

/// While it lives, installed servers are not started: the laboratory runs its own, and nobody asked
/// for a file server on the machine's addresses. Debian's `invoke-rc.d` asks this file.
struct NoServers {
    ours: bool,
}

impl NoServers {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn declare() -> Result<Self, Error> {
        if Path::new(Self::POLICY).exists() {
            return Ok(Self { ours: false });
        }
        std::fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n").map_err(Error::file(Self::POLICY))?;
        let policy = Self { ours: true };
        std::fs::set_permissions(Self::POLICY, std::fs::Permissions::from_mode(0o755))
            .map_err(Error::file(Self::POLICY))?;
        Ok(policy)
    }
}

impl Drop for NoServers {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(Self::POLICY);
        }
    }
}

fn missing(packages: &[Package]) -> impl Iterator<Item = &Package> {
    packages.iter().filter(|package| !present(package.evidence))
}

fn present(evidence: &str) -> bool {
    if evidence.starts_with('/') {
        return expand(evidence).iter().any(|path| path.exists());
    }
    std::env::split_paths(&crate::run::search_path()).any(|dir| dir.join(evidence).is_file())
}

/// Paths that a pattern with `*` in directory names stands for.
pub(crate) fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for part in Path::new(pattern).components().skip(1) {
        let part = part.as_os_str().to_string_lossy();
        paths = match part.split_once('*') {
            None => paths.into_iter().map(|path| path.join(&*part)).collect(),
            Some((before, after)) => paths
                .iter()
                .filter_map(|path| path.read_dir().ok())
                .flatten()
                .flatten()
                .filter(|entry| {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    name.len() >= before.len() + after.len()
                        && name.starts_with(before)
                        && name.ends_with(after)
                })
                .map(|entry| entry.path())
                .collect(),
        };
    }
    paths.retain(|path| path.exists());
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_what_a_shell_would_find() {
        assert_eq!(expand("/etc/passwd"), [PathBuf::from("/etc/passwd")]);
        assert!(expand("/et*/passwd").contains(&PathBuf::from("/etc/passwd")));
        assert!(expand("/etc/no-such-*/file").is_empty());
    }

    #[test]
    fn a_program_that_nobody_has_is_missing() {
        let nobody = [package("nobody", "fsrvp-no-such-program")];
        assert_eq!(missing_programs(&nobody), ["fsrvp-no-such-program"]);
        assert!(missing_programs(&[package("dash", "sh")]).is_empty());
    }
}
