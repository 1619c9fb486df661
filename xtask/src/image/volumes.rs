//! What an operator gives to the server's container.

use super::container::Options;
use crate::Outcome;
use fsrvp_testkit::{Error, Run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What fsrvpd is given by an engine, with the kernel's numbers; compose.yaml says the same.
const CAPABILITIES: &[(&str, u32)] = &[
    ("SYS_ADMIN", 21),
    ("DAC_READ_SEARCH", 2),
    ("SYS_PTRACE", 19),
    ("SYS_RESOURCE", 24),
];
/// Subvolumes of `/srv`.
const SHARES: &[&str] = &["projects", "accounts", "fsrvp_share"];
/// A btrfs and two directories, as an operator would give them to the container.
pub(super) struct Volumes {
    place: PathBuf,
    device: String,
    secrets: PathBuf,
}

impl Volumes {
    pub(super) fn new(scratch: &Path, name: &str) -> Result<Self, Error> {
        let place = scratch.join(name);
        for directory_name in ["", "srv", "samba", "table"] {
            directory(&place.join(directory_name))?;
        }
        let image = place.join("srv.img");
        let file = fs::File::create(&image).map_err(Error::file(&image))?;
        file.set_len(1 << 30).map_err(Error::file(&image))?;
        Run::new("mkfs.btrfs").arg("-q").arg(&image).check()?;
        let root = place.join("srv");
        Run::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&root)
            .check()?;
        let mut volumes = Self {
            place,
            device: String::new(),
            secrets: scratch.join("server"),
        };
        for share in SHARES {
            let path = root.join(share);
            Run::new("btrfs")
                .args(["subvolume", "create"])
                .arg(&path)
                .check()?;
            let open = fs::Permissions::from_mode(0o777);
            fs::set_permissions(&path, open).map_err(Error::file(&path))?;
        }
        let find = Run::new("findmnt")
            .args(["--noheadings", "--output=SOURCE"])
            .arg(&root);
        volumes.device = find.check()?.stdout.trim().to_owned();
        Ok(volumes)
    }

    pub(super) fn options(&self, environment: &[String]) -> Options {
        let place = self.place.display();
        let device = &self.device;
        let mut options = Options {
            environment: environment.to_vec(),
            volumes: vec![
                format!("{place}/srv:/srv"),
                format!("{place}/samba:/var/lib/samba"),
                format!("{place}/table:/var/lib/fsrvpd"),
                format!("{}:/run/secrets:ro", self.secrets.display()),
                format!("{device}:{device}"),
            ],
            capabilities: capabilities(),
        };
        options.environment.push("SERVER_NAME=FILER".to_owned());
        options
            .environment
            .push(format!("SHARES={}", SHARES.join(" ")));
        options
    }

    fn file(&self) -> PathBuf {
        self.place.join("srv/projects/moment")
    }

    pub(super) fn write(&self, text: &str) -> Result<(), Error> {
        fs::write(self.file(), text).map_err(Error::file(self.file()))
    }

    pub(super) fn read(&self) -> Result<String, Error> {
        fs::read_to_string(self.file()).map_err(Error::file(self.file()))
    }

    /// No snapshot is left on the disk.
    pub(super) fn nothing_left(&self) -> Outcome {
        let list = Run::new("btrfs")
            .args(["subvolume", "list"])
            .arg(self.place.join("srv"));
        let list = list.check()?.stdout;
        if list.lines().count() == SHARES.len() {
            return Ok(());
        }
        Err(format!("subvolumes are left:\n{list}").into())
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        let point = self.place.join("srv");
        if let Err(error) = Run::new("umount").arg("--lazy").arg(&point).check() {
            eprintln!("{error}");
        }
    }
}

/// Those capabilities that this machine can give away.
fn capabilities() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let ours = bits.unwrap_or(u64::MAX);
    let mut given = Vec::new();
    for &(name, number) in CAPABILITIES {
        if ours >> number & 1 == 1 {
            given.push(name);
        } else {
            println!("without CAP_{name}, which this machine has not itself");
        }
    }
    given
}

/// Makes a directory and what is missing above it.
pub(super) fn directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::CAPABILITIES;
    use crate::workspace;

    #[test]
    fn the_compose_file_gives_the_same() {
        let compose = std::fs::read_to_string(workspace::root().join("compose.yaml")).unwrap();
        let names: Vec<_> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
        let wanted = format!("cap_add: [{}]", names.join(", "));
        assert!(compose.contains(&wanted), "{wanted}");
    }
}
