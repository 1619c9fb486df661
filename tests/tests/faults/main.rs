//! One fault at a time against the real daemon: the call is answered in time, the operator is told
//! what is wrong and what to do, nothing is left, and the next backup works.

mod clock;
mod debts;
mod documented;
mod room;
mod samba;
mod shares;
mod start;
mod store;
mod volume;

use fsrvp_testkit::{AgentKind, LabOptions, MinAuthLevel};
use fsrvp_tests::Suite;
use std::process::ExitCode;

/// The long form of the tests.
fn is_long() -> bool {
    std::env::var_os("FSRVP_LONG").is_some_and(|value| value == "1")
}

fn main() -> ExitCode {
    // The faults are below the RPC; a client without security shows them as well, and sooner.
    let options = |agent: AgentKind| LabOptions::for_test(agent).min_auth_level(MinAuthLevel::None);
    let mut suite = Suite::new(options);
    if is_long() {
        suite = suite.case("store::a_disk_that_hangs", store::hung_disk);
    }
    suite
        .case("store::a_full_disk_fails_the_call", store::full_disk)
        .case("store::every_commit_may_fail", store::every_commit)
        .case("store::errors_of_the_disk", store::input_output_error)
        .case("store::a_read_only_state_directory", store::read_only)
        .case("start::a_state_directory_in_use", start::in_use)
        .case(
            "start::a_state_directory_that_is_read_only",
            start::read_only,
        )
        .case("start::a_damaged_store", start::damaged)
        .case("start::a_store_of_a_newer_version", start::newer)
        .case("volume::full", volume::full)
        .case("volume::full_at_the_cut", volume::full_at_the_cut)
        .case(
            "volume::input_output_error_at_the_cut",
            volume::broken_at_the_cut,
        )
        .case("volume::read_only", volume::read_only)
        .case("volume::a_disk_that_really_fails", volume::dying_disk)
        .case("volume::frozen", volume::frozen)
        .case("samba::smbd_does_not_run", samba::no_smbd)
        .case("samba::the_mailbox_of_a_killed_agent", samba::left_mailbox)
        .case("samba::the_helper_is_killed", samba::killed_helper)
        .case("samba::the_helper_hangs", samba::hung_helper)
        .case("samba::the_registry_is_locked", samba::locked_registry)
        .case(
            "samba::the_registry_cannot_be_written",
            samba::broken_registry,
        )
        .case("shares::the_base_share_is_deleted", shares::base_deleted)
        .case("shares::the_base_share_is_renamed", shares::base_renamed)
        .case("shares::the_base_share_moves", shares::base_moved)
        .case(
            "shares::the_snapshot_is_deleted_by_hand",
            shares::snapshot_deleted,
        )
        .case(
            "shares::the_exposed_share_is_deleted_by_hand",
            shares::share_deleted,
        )
        .case(
            "debts::a_snapshot_that_will_not_go",
            debts::stubborn_snapshot,
        )
        .case("clock::jumps_both_ways", clock::jumps)
        .case("debts::a_disk_that_never_comes_back", debts::lost_disk)
        .case(
            "debts::shutting_down_does_not_wait_for_ever",
            debts::shutdown,
        )
        .case("documented::every_fault_of_the_handbook", |_| {
            documented::all_tried(is_long())
        })
        .and_nothing_is_left()
        .run()
}
