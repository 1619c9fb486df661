//! `smbtorture rpc.fsrvp` with its share on ZFS (zfs-fuse), and previous versions there.

use fsrvp_testkit::Isolation;
use fsrvp_tests::Suite;
use fsrvp_tests::torture::{options, previous_versions, ten_of_ten};
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new(|agent| options(agent).zfs())
        .isolated(Isolation::Zfs)
        .case("ten_of_ten_in_one_process", ten_of_ten)
        .case("previous_versions_hold_the_data", previous_versions)
        .run()
}
