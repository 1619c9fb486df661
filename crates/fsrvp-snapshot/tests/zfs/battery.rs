//! The battery, in every way that a share can lie on a pool.

use crate::bed::{Layout, ZfsBed};
use fsrvp_snapshot::battery::CHECKS;
use std::path::Path;

pub(crate) fn all() {
    for layout in [Layout::Root, Layout::Bind, Layout::OddNames] {
        run(layout, Path::new("zfs"));
    }
}

pub(crate) fn run(layout: Layout, program: &Path) {
    let mut bed = ZfsBed::new(layout, program);
    for check in CHECKS {
        let said = OnPanic(format!("{layout:?}: {}", check.name));
        (check.run)(&mut bed);
        std::mem::forget(said);
    }
}

/// This harness shows what is printed, so only the check that fails is named.
struct OnPanic(String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}
