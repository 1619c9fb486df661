//! The battery, in every way that a share can lie on its file system.

use crate::bed::{CloneBed, FileSystem, LAYOUTS, Layout, lab};
use fsrvp_snapshot::battery::CHECKS;

fn run(kind: FileSystem) {
    if !lab() {
        return;
    }
    for layout in LAYOUTS {
        if kind == FileSystem::Xfs && matches!(layout, Layout::Subvolume) {
            continue;
        }
        let mut bed = CloneBed::new(kind, layout);
        for check in CHECKS {
            println!("{kind:?} {layout:?}: {}", check.name);
            (check.run)(&mut bed);
        }
    }
}

#[test]
fn xfs() {
    run(FileSystem::Xfs);
}

#[test]
fn btrfs() {
    run(FileSystem::Btrfs);
}
