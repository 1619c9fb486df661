//! The points at which a build with the feature `crash-points` can be ended by
//! [`fsrvp_sys::crash`].

/// Those of this crate.
const OWN: &[&str] = &[
    "executor.prepare.after_all",
    "executor.commit.after_all",
    "executor.expose.after_backends",
    "executor.seal.after_shares",
    "executor.seal.after_copy",
    "executor.seal.after_all",
    "executor.remove.after_share",
    "executor.remove.after_copy",
    "recovery.look.after",
    "recovery.store.after",
    "recovery.reach.after",
    "recovery.publish.after",
    "store.begin.before_rename",
    "store.begin.after_rename",
    "store.commit.before",
    "store.commit.after",
];

/// All points that the daemon can pass while its shares are on a backend, by name; for a program of
/// the site the backend is `exec`. Those of kept snapshots are not among them: nothing is kept
/// unless it is configured.
pub fn of(backend: &str) -> impl Iterator<Item = &'static str> {
    let of_backend = match backend {
        "btrfs" => fsrvp_snapshot::btrfs::CRASH_POINTS,
        "clone" | "copy" => fsrvp_snapshot::clone::CRASH_POINTS,
        "zfs" => fsrvp_snapshot::zfs::CRASH_POINTS,
        "exec" => fsrvp_snapshot::exec::CRASH_POINTS,
        _ => &[],
    };
    OWN.iter()
        .chain(fsrvp_samba::directory::CRASH_POINTS)
        .chain(fsrvp_snapshot::PREVIOUS_CRASH_POINTS)
        .chain(of_backend)
        .copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    fn passed_in(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                passed_in(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').skip(1).step_by(2);
            let points = quoted.filter(|text| {
                let parts: Vec<_> = text.split('.').collect();
                parts.len() == 3 && ["executor", "recovery", "store"].contains(&parts[0])
            });
            found.extend(points.map(str::to_owned));
        }
    }

    /// The list and the points in the code are the same.
    #[test]
    fn the_list_is_complete() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = BTreeSet::new();
        for part in ["executor", "store"] {
            passed_in(&sources.join(part), &mut found);
        }
        let recovery = fs::read_to_string(sources.join("recovery.rs")).unwrap();
        let points = recovery.split("crash::point(\"").skip(1);
        found.extend(points.filter_map(|rest| Some(rest.split('"').next()?.to_owned())));
        let listed: BTreeSet<_> = super::OWN.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(found, listed);
    }
}
