//! The battery over btrfs, in every way that a share can lie on it.

mod common;

use common::{BtrfsBed, LAYOUTS, lab};
use fsrvp_snapshot::battery::CHECKS;

#[test]
fn battery() {
    if !lab() {
        return;
    }
    for layout in LAYOUTS {
        let mut bed = BtrfsBed::new(layout);
        for check in CHECKS {
            println!("{layout:?}: {}", check.name);
            (check.run)(&mut bed);
        }
    }
}
