//! The system around: store, areas, mount namespaces, AppArmor; and what `--fix` can do.

use super::{Chart, Patient, quoted, quoted_path, shown};
use crate::store::{RedbStore, StateStore as _};
use crate::targets::StoreWithLists;
use fsrvp_proto::Table;
use rustix::fs::{Mode, Uid, chmod, chown};
use std::fmt;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Mode of an area and of the directories above it: users pass through.
const AREA_MODE: u32 = 0o711;

/// A harmless repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Makes a directory.
    Directory(PathBuf, u32),
    /// Sets a mode.
    Mode(PathBuf, u32),
    /// Gives it to the user whom fsrvpd runs as.
    Owner(PathBuf),
}

impl Fix {
    /// Does it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn apply(&self) -> std::io::Result<()> {
        match self {
            Self::Directory(path, mode) => {
                let mut builder = std::fs::DirBuilder::new();
                builder.recursive(true).mode(*mode).create(path)?;
                // The umask may have taken bits away.
                Ok(chmod(path, Mode::from_raw_mode(*mode))?)
            }
            Self::Mode(path, mode) => Ok(chmod(path, Mode::from_raw_mode(*mode))?),
            Self::Owner(path) => {
                let us = Uid::from_raw(rustix::process::geteuid().as_raw());
                Ok(chown(path, Some(us), None)?)
            }
        }
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path, mode) => {
                write!(f, "run: install -d -m {mode:04o} {}", quoted_path(path))
            }
            Self::Mode(path, mode) => write!(f, "run: chmod {mode:04o} {}", quoted_path(path)),
            Self::Owner(path) => write!(f, "run: chown root {}", quoted_path(path)),
        }
    }
}

pub(super) fn examine(chart: &mut Chart, patient: &Patient) {
    store(chart, &patient.config.state_dir, patient.daemon);
    areas(chart, &patient.config.run_dir);
    let proc = patient.root.join("proc");
    // Inside some containers nobody may look at process 1; then whoever looks stands for the system.
    let init = namespace(&proc, "1").or_else(|| namespace(&proc, "self"));
    let daemon = patient.daemon.map(|pid| pid.to_string());
    let of_daemon = daemon.as_deref().and_then(|pid| namespace(&proc, pid));
    own_namespace(chart, init.as_ref(), of_daemon.as_ref());
    let smbd = patient
        .directory
        .serving_process()
        .map(|pid| pid.to_string());
    if let Some(smbd) = &smbd {
        let of_smbd = namespace(&proc, smbd);
        smbd_namespace(
            chart,
            of_smbd.as_ref(),
            of_daemon.as_ref().or(init.as_ref()),
        );
        apparmor(chart, &patient.root, &patient.config.run_dir, smbd);
    }
}

/// A daemon that runs has read its store; else a copy of it is looked at.
pub(super) fn store(chart: &mut Chart, state_dir: &Path, daemon: Option<u32>) {
    const CHECK: &str = "store";
    let file = state_dir.join("table.redb");
    if daemon.is_some() || !file.exists() {
        return chart.ok(CHECK, "the store is in use, or not begun yet");
    }
    let mend = "restore the state directory from its backup, or install the version of fsrvpd \
                that wrote it";
    match read_copy(&file) {
        Ok(()) => chart.ok(CHECK, "the store can be read"),
        Err(problem) => chart.problem(CHECK, problem, mend),
    }
}

fn read_copy(file: &Path) -> Result<(), String> {
    let words = |error: &dyn fmt::Display| format!("{}: {error}", shown(file));
    let place = std::env::temp_dir().join(format!("fsrvp-doctor.{}", std::process::id()));
    let look = || {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&place)
            .map_err(|error| words(&error))?;
        std::fs::copy(file, place.join("table.redb")).map_err(|error| words(&error))?;
        let store = RedbStore::open(&place).map_err(|error| words(&error))?;
        let store = StoreWithLists::open(store).map_err(|error| words(&error))?;
        let records = store.load().map_err(|error| words(&error))?;
        Table::load(records)
            .map(drop)
            .map_err(|error| words(&error))
    };
    let looked = look();
    let _ = std::fs::remove_dir_all(&place);
    looked
}

/// The areas on the file systems that are mounted for smbd.
fn areas(chart: &mut Chart, run_dir: &Path) {
    const CHECK: &str = "area_mode";
    let mounts = std::fs::read_dir(run_dir).into_iter().flatten().flatten();
    let mut looked_at = 0_u32;
    for mount in mounts {
        let outer = mount.path().join(".fsrvpd");
        let inner = std::fs::read_dir(&outer).into_iter().flatten().flatten();
        let all = std::iter::once(outer.clone()).chain(inner.map(|entry| entry.path()));
        for area in all {
            let Ok(stat) = std::fs::symlink_metadata(&area) else {
                continue;
            };
            looked_at += 1;
            if stat.uid() != 0 {
                let message = format!("{} belongs to uid {}", shown(&area), stat.uid());
                return chart.fixable(CHECK, message, Fix::Owner(area));
            }
            let mode = stat.mode() & 0o7777;
            if stat.is_dir() && mode != AREA_MODE {
                let message = format!(
                    "{} has mode {mode:04o}: users have to pass through and see no names",
                    shown(&area)
                );
                return chart.fixable(CHECK, message, Fix::Mode(area, AREA_MODE));
            }
        }
    }
    chart.ok(
        CHECK,
        format!("directories of copies have their modes: {looked_at}"),
    );
}

fn namespace(proc: &Path, pid: &str) -> Option<PathBuf> {
    std::fs::read_link(proc.join(pid).join("ns/mnt")).ok()
}

fn own_namespace(chart: &mut Chart, init: Option<&PathBuf>, daemon: Option<&PathBuf>) {
    const CHECK: &str = "mount_namespace";
    match (init, daemon) {
        (Some(init), Some(daemon)) if init != daemon => chart.problem(
            CHECK,
            "fsrvpd runs in a mount namespace of its own: smbd does not see its mounts",
            "remove ProtectSystem, PrivateTmp, PrivateMounts and the like from its unit, then run: \
             systemctl daemon-reload && systemctl restart fsrvpd",
        ),
        (Some(_), Some(_)) => chart.ok(CHECK, "fsrvpd is in the system's mount namespace"),
        _ => chart.skipped(
            CHECK,
            "the daemon does not run, or its namespace cannot be read",
        ),
    }
}

fn smbd_namespace(chart: &mut Chart, smbd: Option<&PathBuf>, other: Option<&PathBuf>) {
    const CHECK: &str = "smbd_namespace";
    match (smbd, other) {
        (Some(smbd), Some(other)) if smbd != other => chart.problem(
            CHECK,
            "smbd runs in another mount namespace: it does not see the copies",
            "remove ProtectSystem, PrivateTmp, PrivateMounts and the like from smbd's unit, then \
             run: systemctl daemon-reload && systemctl restart smbd",
        ),
        (Some(_), Some(_)) => chart.ok(CHECK, "smbd sees what fsrvpd mounts"),
        _ => chart.skipped(CHECK, "smbd's namespace cannot be read"),
    }
}

/// A profile in force for smbd knows nothing of our directories, unless somebody has told it.
fn apparmor(chart: &mut Chart, root: &Path, run_dir: &Path, smbd: &str) {
    const CHECK: &str = "apparmor";
    let attribute = root.join("proc").join(smbd).join("attr/current");
    let profile = std::fs::read_to_string(attribute).unwrap_or_default();
    if !profile.trim().ends_with("(enforce)") {
        return chart.ok(CHECK, "no AppArmor profile confines smbd");
    }
    let run_dir = run_dir.to_string_lossy().into_owned();
    let local = "/etc/apparmor.d/local/usr.sbin.smbd";
    let file = root.join(local.trim_start_matches('/'));
    let lets_in = |line: &str| !line.trim_start().starts_with('#') && line.contains(&run_dir);
    let told = std::fs::read_to_string(file).is_ok_and(|text| text.lines().any(lets_in));
    if told {
        return chart.ok(CHECK, "smbd's AppArmor profile lets it into the copies");
    }
    let message = format!("AppArmor confines smbd and does not let it into {run_dir}");
    let line = quoted(format!("{run_dir}/** rwlk,"));
    let mend = format!(
        "run: echo {line} >> {local} && apparmor_parser -r \
         /etc/apparmor.d/usr.sbin.smbd"
    );
    chart.problem(CHECK, message, mend);
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    fn severity(chart: &Chart) -> Severity {
        chart.findings.last().unwrap().severity
    }

    #[test]
    fn namespaces_that_differ_are_told() {
        let (one, other) = (PathBuf::from("mnt:[1]"), PathBuf::from("mnt:[2]"));
        let mut chart = Chart::new("FS");
        own_namespace(&mut chart, Some(&one), Some(&one));
        assert_eq!(severity(&chart), Severity::Ok);
        own_namespace(&mut chart, Some(&one), Some(&other));
        assert_eq!(severity(&chart), Severity::Problem);
        smbd_namespace(&mut chart, Some(&one), Some(&other));
        assert_eq!(severity(&chart), Severity::Problem);
        smbd_namespace(&mut chart, None, Some(&other));
        assert_eq!(severity(&chart), Severity::Skipped);
    }

    #[test]
    fn modes_are_mended() {
        let place = tempfile::tempdir().unwrap();
        let area = place.path().join("id/.fsrvpd/FS");
        Fix::Directory(area.clone(), 0o777).apply().unwrap();
        let mut chart = Chart::new("FS");
        areas(&mut chart, place.path());
        if !rustix::process::geteuid().is_root() {
            let required = std::env::var_os("FSRVP_REQUIRE_LAB").is_some();
            assert!(!required, "FSRVP_REQUIRE_LAB is set, but this is not root");
            eprintln!("skipped: needs root");
            return;
        }
        for _ in 0..2 {
            let finding = chart.findings.pop().unwrap();
            assert_eq!(finding.severity, Severity::Problem, "{}", finding.message);
            finding.fix.unwrap().apply().unwrap();
            areas(&mut chart, place.path());
        }
        assert_eq!(severity(&chart), Severity::Ok);
        let mode = std::fs::metadata(&area).unwrap().mode();
        assert_eq!(mode & 0o777, AREA_MODE);
    }

    #[test]
    fn a_store_that_cannot_be_read_is_told_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("table.redb");
        let mut chart = Chart::new("FS");
        store(&mut chart, place.path(), None);
        assert_eq!(severity(&chart), Severity::Ok);
        std::fs::write(&file, b"no table").unwrap();
        store(&mut chart, place.path(), None);
        assert_eq!(severity(&chart), Severity::Problem);
        assert_eq!(std::fs::read(&file).unwrap(), b"no table");
    }

    fn stored(place: &Path, key: &str, value: serde_json::Value) -> Chart {
        let store = RedbStore::open(place).unwrap();
        let edit = fsrvp_proto::Edit {
            key: key.to_owned(),
            value: Some(serde_json::to_vec(&value).unwrap()),
        };
        store.commit(&[edit]).unwrap();
        drop(store);
        let mut chart = Chart::new("FS");
        super::store(&mut chart, place, None);
        chart
    }

    #[test]
    fn a_store_with_file_lists_is_well_and_one_of_a_newer_version_is_told() {
        let place = tempfile::tempdir().unwrap();
        let list = serde_json::json!({
            "version": 1, "record": { "share": "vm", "files": ["a"], "standing": true }
        });
        let chart = stored(place.path(), "targets/vm", list);
        assert_eq!(severity(&chart), Severity::Ok, "{chart:?}");
        let newer = serde_json::json!({ "version": 99, "record": {} });
        let chart = stored(place.path(), "context", newer);
        assert_eq!(severity(&chart), Severity::Problem);
        let finding = chart.findings.last().unwrap();
        assert!(finding.message.contains("version 99"), "{finding:?}");
        assert!(finding.mend.as_ref().unwrap().contains("that wrote it"));
    }

    /// Files as the kernel and AppArmor have them.
    #[test]
    fn a_profile_in_the_way_is_told_until_it_lets_smbd_in() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        let look = || {
            let mut chart = Chart::new("FS");
            apparmor(&mut chart, root.path(), Path::new("/run/fsrvpd"), "42");
            chart.findings.pop().unwrap()
        };
        assert_eq!(look().severity, Severity::Ok);
        for harmless in ["unconfined\n", "smbd (complain)\n"] {
            put("proc/42/attr/current", harmless);
            assert_eq!(look().severity, Severity::Ok, "{harmless}");
        }
        put("proc/42/attr/current", "smbd (enforce)\n");
        let finding = look();
        assert_eq!(finding.severity, Severity::Problem);
        let local = "etc/apparmor.d/local/usr.sbin.smbd";
        put(local, "# /run/fsrvpd/** rwlk,\n");
        assert_eq!(
            look().severity,
            Severity::Problem,
            "a comment lets nobody in"
        );
        // What the command writes.
        let mend = finding.mend.unwrap();
        let line = mend.split('\'').nth(1).unwrap();
        put(local, &format!("{line}\n"));
        assert_eq!(look().severity, Severity::Ok);
    }
}
