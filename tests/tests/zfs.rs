//! The whole program with shares on ZFS (zfs-fuse): Microsoft's flows, seals, walks with
//! `rpcclient`, and a restart of smbd in the middle, all through smbd.

use fsrvp_testkit::{Isolation, Lab, LabOptions, Run, ShareKey, comes_true};
use fsrvp_tests::descriptors::descriptors_are_the_same;
use fsrvp_tests::obstacles::{Obstacle, are_named, is_named};
use fsrvp_tests::others::what_is_said;
use fsrvp_tests::walk::Walk;
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    // Handles that root keeps open on the server make a seal wait here, and are not cut off.
    const ROOT: &str = "seal::root_cannot_write_where_smbd_serves";
    let wanted = |name: &str| {
        name.starts_with("flows::")
            || (name.starts_with("seal::") && name != ROOT)
            || name == "sets::two_volumes"
            || name == "sets::directory_below_a_subvolume"
    };
    Suite::new(|agent| LabOptions::for_test(agent).zfs())
        .isolated(Isolation::Zfs)
        .case("the_backend_is_zfs", the_backend_is_zfs)
        .cases(Judge::cases(wanted))
        .case("a_walk_writable", |lab| {
            Walk::of(lab).run(ShareKey::A, true)
        })
        .case("a_walk_below_a_data_set", |lab| {
            Walk::of(lab).run(ShareKey::Subdir, false)
        })
        .case("a_data_set_that_is_not_mounted", not_mounted)
        .case("what_is_in_the_way_is_named", in_the_way)
        .case(
            "security_descriptors_are_the_same",
            descriptors_are_the_same,
        )
        .case("what_is_said_of_it", |lab| {
            what_is_said(lab, "zfs", "Software")
        })
        .and_nothing_is_left()
        .case("nothing_is_left_on_the_pools", nothing_is_left)
        .run()
}

fn zfs(arguments: &[&str]) -> Result<String, fsrvp_testkit::Error> {
    Ok(Run::new("zfs").args(arguments).check()?.stdout)
}

/// Nothing else would take a share on zfs-fuse, and the snapshot is there to be seen.
fn the_backend_is_zfs(lab: &Lab) -> CaseResult {
    let walk = Walk::of(lab);
    let share = lab.share(ShareKey::B).name;
    let created = walk.create("rw", &[share])?;
    let (set, [copy]) = (&created.set, created.copies.as_slice()) else {
        return fail("one share, several copies");
    };
    let snapshot = format!("btrfs2/data@fsrvp-{copy}");
    let names = zfs(&["list", "-H", "-o", "name", "-t", "snapshot"])?;
    if names.lines().all(|name| name != snapshot) {
        return fail(format!("{snapshot} is not among\n{names}"));
    }
    walk.succeeds(&format!("fss_delete {share} {set} {copy}"))
}

fn not_mounted(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::B);
    zfs(&["umount", "btrfs2/data"])?;
    let supported = format!("fss_get_sup_version; fss_is_path_sup {}", share.name);
    let while_away = Walk::of(lab).succeeds(&supported);
    zfs(&["mount", "btrfs2/data"])?;
    if while_away.is_ok() {
        return fail("an empty directory was taken for the data set");
    }
    let log = std::fs::read_to_string(lab.agent_log())?;
    if !log.contains("data set btrfs2/data belongs there and is not mounted") {
        return fail("the log does not name the data set");
    }
    Walk::of(lab).succeeds(&supported)
}

/// A child data set is to ZFS what a nested subvolume is to btrfs.
fn in_the_way(lab: &Lab) -> CaseResult {
    are_named(lab, ShareKey::B, &[Obstacle::Mount])?;
    zfs(&["create", "btrfs2/data/child"])?;
    let point = zfs(&["list", "-H", "-o", "mountpoint", "btrfs2/data/child"])?;
    let verdict = is_named(lab, lab.share(ShareKey::B).name, Path::new(point.trim()));
    // It is busy for a while after somebody has looked at it.
    let gone = comes_true(PATIENCE, || zfs(&["destroy", "btrfs2/data/child"]).is_ok());
    verdict?;
    if gone {
        Ok(())
    } else {
        fail("the child data set stays busy")
    }
}

fn nothing_is_left(_: &Lab) -> CaseResult {
    let snapshots = zfs(&["list", "-H", "-o", "name", "-t", "snapshot"])?;
    let clones = zfs(&["list", "-H", "-o", "name", "-t", "filesystem"])?;
    if snapshots.is_empty() && !clones.contains("fsrvp-") {
        return Ok(());
    }
    fail(format!("{snapshots}{clones}"))
}
