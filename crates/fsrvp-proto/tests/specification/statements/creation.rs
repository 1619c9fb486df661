//! AddToShadowCopySet: section 3.1.4.4, rules 4, 5 and 10.

use super::{WRITABLE, added, committed, exposed, spec, started};
use crate::support::bench::{A, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{
    UNKNOWN_SET, abort, add, commit, copied, delete, expose, mapping, prepare, set_context,
    supported, unc,
};
use crate::support::world::Fate;
use fsrvp_idl::{Response, ShadowCopyId, Status};
use fsrvp_proto::job::{FailureKind, Job};
use fsrvp_proto::{AgentConfig, Profile, SetStatus};

const NOT_FOUND: Status = Status::FSRVP_E_OBJECT_NOT_FOUND;
const NOT_SUPPORTED: Status = Status::FSRVP_E_NOT_SUPPORTED;
const EXISTS: Status = Status::FSRVP_E_OBJECT_ALREADY_EXISTS;

/// "share exists, store supported, set id, state, same share or volume": each check is seen with
/// everything behind it wrong too.
#[test]
fn the_order_of_adds_checks() {
    let mut bench = spec();
    let (set, _) = committed(&mut bench, WRITABLE);
    bench.expect(A, add(UNKNOWN_SET, ""), Status::E_INVALIDARG);
    bench.expect(A, add(UNKNOWN_SET, unc("absent")), NOT_FOUND);
    bench.expect(A, add(UNKNOWN_SET, unc("nested")), NOT_SUPPORTED);
    bench.expect(
        A,
        add(UNKNOWN_SET, unc("Data")),
        Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH,
    );
    bench.expect(A, add(set, unc("Data")), Status::FSRVP_E_BAD_STATE);
}

/// What a look-up's failure becomes, the same in Add and IsPathSupported.
#[test]
fn a_look_ups_failure_becomes_the_code_of_its_kind() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    for (kind, status) in [
        (FailureKind::NotFound, NOT_FOUND),
        (FailureKind::Unsupported, NOT_SUPPORTED),
        (FailureKind::Other, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR),
    ] {
        for request in [add(set, unc("Data")), supported(unc("Data"))] {
            let call = bench.send(A, request);
            assert_eq!(bench.answer(call), None);
            let job = bench.job(JobKind::Locate);
            bench.finish(job, Fate::Fail(kind));
            assert_eq!(bench.answer(call), Some(status));
        }
    }
    assert_eq!(bench.set_status(set), Some(SetStatus::Started));
}

/// "ShadowCopy.VolumeName matches the file store": another share of the volume is a duplicate.
#[test]
fn a_second_share_of_the_volume_is_a_duplicate_under_spec() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.expect(A, add(set, unc("DataToo")), EXISTS);
    bench.expect(A, add(set, r"\\localhost\DATA"), EXISTS);
    assert_eq!(bench.view().sets[0].copies.len(), 1);
    // Another volume is welcome.
    bench.added(set, &unc("Other"));
    assert_eq!(bench.view().sets[0].copies.len(), 2);
}

fn two_shares_one_copy(bench: &mut Bench) {
    let (set, copy) = added(bench, WRITABLE);
    assert_eq!(bench.added(set, &unc("DataToo")), copy);
    bench.expect(A, add(set, unc("datatoo")), EXISTS);
    bench.ok(commit(set, secs(60)));
    assert_eq!(bench.world.snapshots.len(), 1);
    bench.ok(expose(set, secs(60)));
    let names: Vec<&String> = bench.world.exposed.keys().collect();
    assert_eq!(
        names,
        [&format!("Data@{{{copy}}}"), &format!("DataToo@{{{copy}}}")]
    );
    for share in ["Data", "DataToo"] {
        bench.ok(mapping(set, copy, unc(share)));
    }
    // The snapshot stays as long as one mapping does.
    bench.ok(delete(set, copy, unc("Data")));
    assert_eq!(
        (bench.world.snapshots.len(), bench.world.exposed.len()),
        (1, 1)
    );
    bench.ok(delete(set, copy, unc("DataToo")));
    assert_eq!(bench.view().sets, []);
    bench.check_nothing_leaked();
}

/// Rule 5: one snapshot, one ShadowCopyId, two mappings.
#[test]
fn a_second_share_of_the_volume_joins_the_copy_under_ws2012_or_by_configuration() {
    two_shares_one_copy(&mut Bench::new(Profile::Ws2012));
    let mut config = AgentConfig::new("FILER");
    config.allow_shared_volume = true;
    two_shares_one_copy(&mut Bench::with_config(config));
}

/// "Looking the share up takes time: read the set's state again afterwards."
#[test]
fn add_reads_the_state_after_the_look_up() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let slow = bench.send(A, add(set, unc("Other")));
    let look_up = bench.job(JobKind::Locate);
    let commit = bench.send(A, commit(set, secs(60)));
    let job = bench.job(JobKind::Commit);
    bench.finish(job, Fate::Succeed);
    assert_eq!(bench.answer(commit), Some(Status::ZERO));
    bench.finish(look_up, Fate::Succeed);
    assert_eq!(bench.answer(slow), Some(Status::FSRVP_E_BAD_STATE));
    assert_eq!(bench.view().sets[0].copies.len(), 1);
}

#[test]
fn add_finds_the_set_gone_after_the_look_up() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let slow = bench.send(A, add(set, unc("Other")));
    let look_up = bench.job(JobKind::Locate);
    bench.ok(abort(set));
    bench.finish(look_up, Fate::Succeed);
    assert_eq!(
        bench.answer(slow),
        Some(Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH)
    );
}

/// Two looks-up at once of two shares of one volume: only one gets in.
#[test]
fn two_adds_of_one_volume_at_once() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let first = bench.send(A, add(set, unc("Data")));
    let second = bench.send(A, add(set, unc("DataToo")));
    for job in bench.jobs_of(JobKind::Locate) {
        bench.finish(job, Fate::Succeed);
    }
    assert_eq!(bench.answer(first), Some(Status::ZERO));
    assert_eq!(bench.answer(second), Some(EXISTS));
}

/// Rule 4: the exposed name may have 80 characters and not one more, hidden or not.
#[test]
fn the_longest_base_names() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    for (share, status) in [
        ("a2345678901234567890123456789012345678901", Status::ZERO),
        ("b23456789012345678901234567890123456789012", NOT_SUPPORTED),
        ("c23456789012345678901234567890123456789$", Status::ZERO),
        ("d234567890123456789012345678901234567890$", NOT_SUPPORTED),
    ] {
        bench.expect(A, supported(unc(share)), status);
        bench.expect(A, add(set, unc(share)), status);
    }
    bench.ok(commit(set, secs(60)));
    bench.ok(expose(set, secs(60)));
    assert!(
        bench
            .world
            .exposed
            .keys()
            .all(|name| name.chars().count() == 80)
    );
}

/// Rule 10: "`share$` is exposed as `share$@{guid}$` always", with and without the backslash.
#[test]
fn a_hidden_share_is_exposed_hidden() {
    for name in [r"\\FILER\hidden$", r"\\FILER\hidden$\"] {
        let mut bench = spec();
        let set = started(&mut bench, WRITABLE);
        let copy = bench.added(set, name);
        bench.ok(commit(set, secs(60)));
        bench.ok(expose(set, secs(60)));
        let exposed = format!("hidden$@{{{copy}}}$");
        assert!(bench.world.exposed.contains_key(&exposed));
        assert!(matches!(
            bench.ok(mapping(set, copy, name)),
            Response::GetShareMapping { mapping: Some(mapping), .. }
                if mapping.shadow_copy_share_name == Some(exposed)
                    && mapping.share_name_unc == name
        ));
    }
}

/// Rule 10: "One of our exposed shares as a source: NOT_SUPPORTED in Add and IsPathSupported,
/// ZERO/FALSE in IsPathShadowCopied; recognised by our records, not by the pattern."
#[test]
fn an_exposed_share_is_no_source() {
    let mut bench = spec();
    let (set, copy) = exposed(&mut bench, WRITABLE);
    let ours = unc(&format!("data@{{{copy}}}"));
    bench.expect(A, supported(ours.clone()), NOT_SUPPORTED);
    bench.expect(A, add(set, ours.clone()), NOT_SUPPORTED);
    assert_eq!(
        bench.ask(A, copied(ours)),
        Response::IsPathShadowCopied {
            shadow_copy_present: false,
            shadow_copy_compatibility: 0,
            status: Status::ZERO
        }
    );
    // A share that only looks like one is looked up like any other.
    let alike = unc(&format!(
        "Data@{{{}}}",
        ShadowCopyId(uuid::Uuid::from_u128(7))
    ));
    bench.expect(A, supported(alike), NOT_FOUND);
}

/// Rule 10: the host is text; own names in any case, one trailing dot ignored.
#[test]
fn every_own_host_form_is_ours_and_no_other() {
    let mut bench = spec();
    for host in [
        "FILER",
        "filer",
        "Filer.",
        "filer.example",
        "FILER.EXAMPLE.",
        "localhost",
        "127.0.0.1",
        "127.8.9.10",
        "::1",
        "198.51.100.1",
        "0-0-0-0-0-0-0-1.ipv6-literal.net",
        "--1.IPV6-LITERAL.NET",
    ] {
        for tail in ["", r"\"] {
            bench.expect(A, supported(format!(r"\\{host}\Data{tail}")), Status::ZERO);
        }
    }
    for host in [
        "filer..",
        "elsewhere",
        "198.51.100.2",
        "filer.example.org",
        "192.0.2.10",
    ] {
        bench.expect(A, supported(format!(r"\\{host}\Data")), NOT_FOUND);
    }
}

/// Rule 0: malformed names.
#[test]
fn malformed_names_are_invalid_arguments() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    let long = unc(&"x".repeat(1025));
    for name in [
        "",
        r"\",
        r"\\",
        r"\\FILER",
        r"\\FILER\",
        r"FILER\Data",
        r"\FILER\Data",
        "Data",
        r"\\FILER\Data\x",
        r"\\FILER\Data\\",
        r"\\\Data",
        r"//FILER/Data",
        long.as_str(),
    ] {
        bench.expect(A, add(set, name), Status::E_INVALIDARG);
        bench.expect(A, supported(name), Status::E_INVALIDARG);
        bench.expect(A, copied(name), Status::E_INVALIDARG);
    }
    assert_eq!(bench.set_status(set), Some(SetStatus::Started));
}

/// Sets of several volumes: every job takes all of them.
#[test]
fn several_volumes_are_cut_and_exposed_together() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    for share in ["Data", "Other", "hidden$"] {
        bench.added(set, &unc(share));
    }
    bench.ok(prepare(set, secs(60)));
    bench.hold_jobs = true;
    let call = bench.send(A, commit(set, secs(60)));
    let id = bench.job(JobKind::Commit);
    match &bench.jobs[&id].job {
        Job::Commit {
            copies,
            unprepared,
            writable,
            limit,
            ..
        } => {
            assert_eq!(copies.len(), 3);
            assert!(unprepared.is_empty());
            assert!(writable);
            assert_eq!(*limit, Some(secs(10)));
        }
        other => panic!("{other:?}"),
    }
    bench.finish(id, Fate::Succeed);
    assert_eq!(bench.answer(call), Some(Status::ZERO));
    bench.hold_jobs = false;
    bench.ok(expose(set, secs(60)));
    assert_eq!(
        (bench.world.snapshots.len(), bench.world.exposed.len()),
        (3, 3)
    );
}

/// Rule 6: "Commit without Prepare, and Adds after Prepare, are legal: Commit first does what
/// Prepare has not done."
#[test]
fn commit_knows_what_prepare_has_not_done() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.ok(prepare(set, secs(60)));
    let late = bench.added(set, &unc("Other"));
    bench.hold_jobs = true;
    bench.send(A, commit(set, secs(60)));
    let id = bench.job(JobKind::Commit);
    match &bench.jobs[&id].job {
        Job::Commit { unprepared, .. } => assert_eq!(*unprepared, [late]),
        other => panic!("{other:?}"),
    }
}

/// A set that was started under another context than the current one keeps its own.
#[test]
fn a_read_only_context_is_never_writable() {
    for context in [0x00, 0x02, 0x09, 0x0b, 0x10, 0x12, 0x19, 0x1b] {
        let mut bench = spec();
        bench.ok(set_context(context));
        let set = bench.started();
        bench.added(set, &unc("Data"));
        bench.ok(commit(set, secs(60)));
        bench.ok(expose(set, secs(60)));
        assert!(bench.world.exposed.values().all(|share| !share.writable));
    }
}
