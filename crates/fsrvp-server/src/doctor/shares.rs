//! Shares: what backend serves them, and what stands in its way.

use super::{Chart, Patient, quoted_path, shown};
use fsrvp_idl::ShareName;
use fsrvp_proto::job::Failure;
use fsrvp_snapshot::Choice;
use rustix::fs::statvfs;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Least free space, in percent and in bytes, below which copies are in danger.
const LEAST_PERCENT: u64 = 5;
const LEAST_BYTES: u64 = 256 << 20;

pub(super) fn examine(chart: &mut Chart, patient: &Patient) {
    let bases = match patient.directory.bases() {
        Ok(bases) => bases,
        Err(failure) => {
            let mend = format!("run: testparm -s {}", quoted_path(&patient.config.smb_conf));
            return chart.problem("shares", failure.detail, mend);
        }
    };
    let mut volumes = BTreeSet::new();
    let mut served = 0_u32;
    for base in &bases {
        if choice_of(patient, base) == Choice::None {
            continue;
        }
        let found = patient.directory.lookup(base);
        let directory = found.as_ref().map(|found| found.path.clone()).ok();
        let selected = found.and_then(|found| {
            let choice = choice_of(patient, base);
            let selected = patient
                .backends
                .select_share(base, &found.path, &choice)
                .map_err(Failure::from)?;
            Ok((found.path, selected.probe.volume))
        });
        match selected {
            Ok((path, volume)) => {
                served += 1;
                if volumes.insert(volume) {
                    space(chart, base, &path);
                }
            }
            Err(failure) => refused(chart, base, directory.as_deref(), &failure),
        }
    }
    chart.ok(
        "shares",
        format!("{served} of {} shares can be copied", bases.len()),
    );
}

fn choice_of(patient: &Patient, base: &ShareName) -> Choice {
    let configured = patient
        .config
        .shares
        .iter()
        .find(|share| ShareName::new(&share.name) == *base);
    configured.map_or(Choice::Auto, |share| Choice::from(share.backend.as_str()))
}

fn refused(chart: &mut Chart, base: &ShareName, directory: Option<&Path>, failure: &Failure) {
    const NESTED: &str = "is a subvolume of its own";
    const MOUNTED: &str = "is mounted there";
    let message = format!("share {base} cannot be copied: {}", failure.detail);
    let path = in_the_way(failure, directory);
    if failure.detail.contains(NESTED) {
        let mut mend =
            "share the nested subvolume by itself, or turn it into a directory".to_owned();
        if let Some(path) = &path {
            let old = quoted_path(&beside(path));
            let path = quoted_path(path);
            mend.push_str(&format!(
                ": mv {path} {old} && cp -a --reflink=auto {old} {path} && btrfs subvolume delete {old}"
            ));
        }
        return chart.warning("nested_subvolume", message, mend);
    }
    if failure.detail.contains(MOUNTED) {
        let message = format!("{message}; unmount it, or share it by itself");
        let mend = match &path {
            Some(path) => format!("run: umount {}", quoted_path(path)),
            None => "unmount what the message names".to_owned(),
        };
        return chart.warning("mount_below_share", message, mend);
    }
    let mend = format!(
        "put the share on btrfs, XFS or ZFS, or say that it is not to be copied: [[server.share]] \
         name = \"{base}\" backend = \"none\""
    );
    chart.warning("no_backend", message, mend);
}

/// The same path with `.old` behind it.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    PathBuf::from(name)
}

/// What is in the way, for a command: only a directory below the share's own is believed. Users choose the names there.
fn in_the_way(failure: &Failure, share: Option<&Path>) -> Option<PathBuf> {
    let path = failure.object.as_deref()?;
    let below = path.strip_prefix(share?).ok()?;
    let is_below = below != Path::new("")
        && below
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    (is_below && path.symlink_metadata().is_ok_and(|stat| stat.is_dir())).then(|| path.to_owned())
}

fn space(chart: &mut Chart, base: &ShareName, path: &Path) {
    let Ok(stat) = statvfs(path) else {
        return;
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let percent = stat.f_bavail.saturating_mul(100) / stat.f_blocks.max(1);
    if free < LEAST_BYTES || percent < LEAST_PERCENT {
        let message = format!(
            "{} (share {base}) has {} MiB free, {percent} percent: copies need room for what \
             changes",
            shown(path),
            free >> 20
        );
        let mend = "run: fsrvpctl space, then delete what is not needed: fsrvpctl delete SET";
        return chart.warning("space", message, mend);
    }
    chart.ok(
        "space",
        format!("{} has {} MiB free", shown(path), free >> 20),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::quoted;
    use fsrvp_proto::job::FailureKind;
    use std::fs;
    use std::process::Command;

    /// What the doctor says of a share with this directory in the way.
    fn mended(share: &Path, path: &Path, reason: &str) -> (String, String) {
        let detail = format!("{}: btrfs: {}: {reason}", shown(path), shown(path));
        let mut chart = Chart::new("FS");
        let failure = Failure {
            object: Some(path.to_owned()),
            ..Failure::new(FailureKind::Unsupported, detail)
        };
        refused(&mut chart, &ShareName::new("vm"), Some(share), &failure);
        let finding = chart.findings.pop().unwrap();
        (finding.check.to_owned(), finding.mend.unwrap())
    }

    /// Whoever may write to a share chooses the names in it.
    #[test]
    fn a_command_names_the_path_in_the_way_whatever_its_characters_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        let share = place.path().join("vm");
        for name in [
            "plain",
            "a b",
            "a: /etc",
            "a: b",
            "a;reboot",
            "it's",
            "$(reboot)",
            "-rf",
            "a\nb",
        ] {
            let path = share.join(name);
            fs::create_dir_all(&path).unwrap();
            let (check, mend) = mended(&share, &path, "tmpfs is mounted there, below the share");
            assert_eq!(check, "mount_below_share");
            let command = mend.strip_prefix("run: umount ").unwrap();
            // The shell makes one word of it, which is the path.
            let words = Command::new("sh")
                .args(["-c", &format!("printf '%s|' {command}")])
                .output()
                .unwrap();
            let words = String::from_utf8(words.stdout).unwrap();
            assert_eq!(words, format!("{}|", shown(&path)), "{mend}");
            let (check, mend) = mended(&share, &path, "is a subvolume of its own");
            assert_eq!(check, "nested_subvolume");
            let old = quoted(format!("{}.old", shown(&path)));
            assert!(mend.ends_with(&format!("delete {old}")), "{mend}");
        }
    }

    #[test]
    fn a_path_that_is_not_below_the_share_makes_no_command() {
        let place = tempfile::tempdir().unwrap();
        let share = place.path().join("vm");
        fs::create_dir_all(&share).unwrap();
        for path in [Path::new("/etc"), &share.join("gone"), &share.join("../vm")] {
            let (check, mend) = mended(&share, path, "is a subvolume of its own");
            assert_eq!(check, "nested_subvolume");
            assert!(!mend.contains("mv "), "{mend}");
        }
    }
}
