//! The snapshot backends of a server, as its configuration has them.

use crate::config::ServerConfig;
use crate::targets::FileLists;
use fsrvp_snapshot::clone::Data;
use fsrvp_snapshot::{
    Backends, Btrfs, BtrfsConfig, CloneConfig, Exec, ExecConfig, SnapshotBackend, TreeClone, Zfs,
    ZfsConfig,
};
use std::sync::Arc;

/// All backends of the server `name`: those that are probed for, in this order, and those that a
/// share has to name.
#[must_use]
pub fn of(config: &ServerConfig, name: &str, lists: Arc<FileLists>) -> Backends {
    let btrfs = Btrfs::new(BtrfsConfig {
        server: name.to_owned(),
        run_dir: config.run_dir.clone(),
        known: Vec::new(),
    });
    let exec = |exec: &crate::config::ExecConfig| -> Arc<dyn SnapshotBackend> {
        Arc::new(Exec::new(ExecConfig {
            name: exec.name.clone(),
            command: exec.command.clone(),
            limits: exec.limits.into(),
            server: name.to_owned(),
            run_dir: config.run_dir.clone(),
        }))
    };
    let clone = TreeClone::new(CloneConfig {
        targets: lists,
        ..config.clone_backend(name)
    });
    let zfs = Zfs::new(ZfsConfig {
        program: config.zfs.program.clone(),
        limit: config.zfs.limit,
        server: name.to_owned(),
        run_dir: config.run_dir.clone(),
    });
    let copy = config.copy.map(|copy| -> Arc<dyn SnapshotBackend> {
        Arc::new(TreeClone::new(CloneConfig {
            data: Data::Own {
                max_bytes: copy.max_bytes,
            },
            ..config.clone_backend(name)
        }))
    });
    let by_name = config.exec.iter().map(exec).chain(copy);
    Backends::probed(zfs, btrfs, clone).and_by_name(by_name)
}
