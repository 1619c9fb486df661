//! The ZFS backend on zfs-fuse, in namespaces of its own, and with an `openzfs` that answers in the
//! words of OpenZFS, which was never run here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test"
)]

#[path = "../common/mod.rs"]
mod common;

mod battery;
mod bed;
mod life;
mod openzfs;
mod source;

use fsrvp_testkit::zfs::{ZfsFuse, unfit};
use fsrvp_testkit::{Isolation, laboratory_required};
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let tests: Vec<(&str, fn())> = vec![
        ("battery", battery::all),
        ("battery_in_the_words_of_openzfs", openzfs::battery),
        (
            "several_snapshots_in_one_call",
            openzfs::several_in_one_call,
        ),
        ("a_tool_that_hangs_is_killed", openzfs::hangs),
        (
            "a_tool_that_hangs_holds_up_no_other_share",
            openzfs::hangs_elsewhere,
        ),
        ("a_tool_that_is_busy_is_asked_again", openzfs::busy),
        ("a_full_pool", openzfs::full),
        ("nonsense", openzfs::nonsense),
        ("off_zfs_it_says_what_is_there", source::off_zfs),
        ("what_is_not_mounted_is_not_copied", source::not_mounted),
        (
            "what_is_not_mounted_is_not_left_to_others",
            source::not_mounted_elsewhere,
        ),
        (
            "what_goes_after_prepare_is_not_copied",
            source::goes_after_prepare,
        ),
        ("a_child_data_set_is_in_the_way", source::child),
        ("a_copy_is_no_share", source::copy_is_no_share),
        ("no_space_is_found_in_prepare", source::no_space),
        ("metadata_is_that_of_the_source", life::metadata),
        ("a_reboot", life::reboot),
        ("what_depends_on_a_copy_is_not_destroyed", life::dependants),
        ("a_clone_that_somebody_destroyed", life::destroyed_clone),
        ("a_pool_that_is_away", life::exported_pool),
        ("two_servers_on_one_pool", life::two_servers),
    ];
    let unfit = unfit();
    let skip = unfit.is_some() && !laboratory_required();
    if let Some(why) = &unfit {
        println!("skipped: {why}");
        assert!(skip, "FSRVP_REQUIRE_LAB is set");
    }
    if unfit.is_none()
        && !arguments.list
        && let Err(error) = Isolation::Zfs.enter()
    {
        println!("no namespaces: {error}");
        return ExitCode::FAILURE;
    }
    let trials = tests.into_iter().map(|(name, test)| {
        let body = move || {
            test();
            Ok(())
        };
        Trial::test(name, body).with_ignored_flag(skip)
    });
    let trials = trials.collect();
    let directory = tempfile::tempdir().unwrap();
    let daemon = (!skip && !arguments.list)
        .then(|| ZfsFuse::start(directory.path(), directory.path()).unwrap());
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(daemon);
    conclusion.exit_code()
}
