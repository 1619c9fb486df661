//! Shares: what backend serves them, and what stands in its way.

use super::{Chart, Patient, shown};
use fsrvp_idl::ShareName;
use fsrvp_proto::job::Failure;
use fsrvp_snapshot::Choice;
use rustix::fs::statvfs;
use std::collections::BTreeSet;
use std::path::Path;

/// Least free space, in percent and in bytes, below which copies are in danger.
const LEAST_PERCENT: u64 = 5;
const LEAST_BYTES: u64 = 256 << 20;

pub(super) fn examine(chart: &mut Chart, patient: &Patient) {
    let bases = match patient.directory.bases() {
        Ok(bases) => bases,
        Err(failure) => {
            let mend = format!("run: testparm -s {}", shown(&patient.config.smb_conf));
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
            Err(failure) => refused(chart, base, &failure),
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

fn refused(chart: &mut Chart, base: &ShareName, failure: &Failure) {
    let message = format!("share {base} cannot be copied: {}", failure.detail);
    if let Some(path) = path_before(&failure.detail, "is a subvolume of its own") {
        let mend = format!(
            "share the nested subvolume by itself, or turn it into a directory: mv {path} \
             {path}.old && cp -a --reflink=auto {path}.old {path} && btrfs subvolume delete \
             {path}.old"
        );
        return chart.warning("nested_subvolume", message, mend);
    }
    if let Some(path) = path_before(&failure.detail, "is mounted there") {
        let message = format!("{message}; unmount it, or share it by itself");
        let mend = format!("run: umount {path}");
        return chart.warning("mount_below_share", message, mend);
    }
    let mend = format!(
        "put the share on btrfs, XFS or ZFS, or say that it is not to be copied: [[server.share]] \
         name = \"{base}\" backend = \"none\""
    );
    chart.warning("no_backend", message, mend);
}

/// The path in the way: "btrfs: PATH: REASON" stands for each backend.
fn path_before<'d>(detail: &'d str, reason: &str) -> Option<&'d str> {
    let (before, _) = detail.split_once(reason)?;
    // The reason may have words before it: "tmpfs is mounted there".
    let (before, _) = before.rsplit_once(": ")?;
    let path = before.rsplit_once(": ").map_or(before, |(_, path)| path);
    path.starts_with('/').then_some(path)
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

    #[test]
    fn the_path_in_the_way_is_the_one_that_is_mended() {
        let nested = "/srv/vm: btrfs: /srv/vm/a b: is a subvolume of its own; zfs: /srv/vm: is on \
                      btrfs, not on ZFS";
        let path = path_before(nested, "is a subvolume of its own");
        assert_eq!(path, Some("/srv/vm/a b"));
        let mounted = "/srv/vm/mnt: tmpfs is mounted there, below the share";
        assert_eq!(
            path_before(mounted, "is mounted there"),
            Some("/srv/vm/mnt")
        );
        assert_eq!(path_before(nested, "is mounted there"), None);
    }
}
