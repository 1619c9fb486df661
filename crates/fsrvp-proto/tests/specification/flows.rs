//! The call sequences of the two suites that judge file servers: Microsoft's File Server protocol
//! test suite (profile spec) and `smbtorture rpc.fsrvp` (profile ws2012).

use crate::support::bench::{A, B, Bench, secs};
use crate::support::requests::{
    UNKNOWN_COPY, UNKNOWN_SET, abort, add, commit, copied, delete, expose, mapping, prepare,
    recovery, set_context, start, status_of, supported, unc,
};
use fsrvp_idl::{Request, Response, ShadowCopyId, ShadowCopySetId, ShareMapping, Status};
use fsrvp_proto::Profile;

const BAD_STATE: Status = Status::FSRVP_E_BAD_STATE;

fn mapping_of(response: Response) -> ShareMapping {
    match response {
        Response::GetShareMapping {
            mapping: Some(mapping),
            ..
        } => mapping,
        other => panic!("{other:?}"),
    }
}

/// IsPathSupported comes on its own connection, from which nothing is kept.
fn is_path_supported(bench: &mut Bench, name: &str) {
    match bench.ask(A, supported(name)) {
        Response::IsPathSupported {
            supported_by_this_provider: true,
            owner_machine_name: Some(owner),
            status: Status::ZERO,
        } => assert_eq!(owner, "FILER"),
        other => panic!("{other:?}"),
    }
}

/// FULL up to Add.
fn begin(bench: &mut Bench, context: u32) -> (ShadowCopySetId, ShadowCopyId) {
    is_path_supported(bench, &unc("Data"));
    bench.ok(Request::GetSupportedVersion);
    bench.ok(set_context(context));
    let set = bench.started();
    let copy = bench.added(set, &unc("Data"));
    (set, copy)
}

/// FULL(context) of Microsoft's suite.
fn full(context: u32) {
    let mut bench = Bench::new(Profile::Spec);
    let (set, copy) = begin(&mut bench, context);
    let added_at = bench.now.wall;
    bench.advance(secs(2));
    bench.ok(prepare(set, secs(1800)));
    bench.ok(commit(set, secs(60)));
    bench.ok(expose(set, secs(1800)));
    let mapping = mapping_of(bench.ok(mapping(set, copy, unc("Data"))));
    let name = format!("Data@{{{copy}}}");
    assert_eq!(
        mapping.shadow_copy_share_name.as_deref(),
        Some(name.as_str())
    );
    assert_eq!(mapping.creation_timestamp, added_at);
    // "create a file ... succeeds only if ctx has 0x00400000".
    assert_eq!(
        bench.world.exposed[&name].writable,
        context & 0x0040_0000 != 0
    );
    bench.ok(recovery(set));
    assert!(!bench.world.exposed[&name].writable);
    match bench.ok(copied(unc("Data"))) {
        Response::IsPathShadowCopied {
            shadow_copy_present,
            shadow_copy_compatibility,
            ..
        } => {
            assert!(shadow_copy_present);
            assert!((0..=3).contains(&shadow_copy_compatibility));
        }
        other => panic!("{other:?}"),
    }
    bench.ok(delete(set, copy, unc("Data")));
    bench.check_nothing_leaked();
}

#[test]
fn writable_snapshot_single_node() {
    full(0x0040_0000);
}

#[test]
fn readonly_snapshot_backup() {
    full(0x0000_0002);
}

#[test]
fn readonly_snapshot_app_rollback() {
    full(0x0000_000b);
}

#[test]
fn readonly_snapshot_nas_rollback() {
    full(0x0000_0019);
}

#[test]
fn readonly_snapshot_file_share_backup() {
    full(0x0000_0010);
}

#[test]
fn abort_started() {
    let mut bench = Bench::new(Profile::Spec);
    bench.ok(set_context(0x0040_0000));
    let set = bench.started();
    bench.ok(abort(set));
    // The suite's clean-up aborts again and wants an answer.
    bench.expect(A, abort(set), Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH);
    bench.check_nothing_leaked();
}

#[test]
fn abort_added() {
    let mut bench = Bench::new(Profile::Spec);
    let (set, _) = begin(&mut bench, 0x0040_0000);
    bench.ok(abort(set));
    bench.expect(A, abort(set), Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH);
    bench.check_nothing_leaked();
}

#[test]
fn abort_recovered() {
    let mut bench = Bench::new(Profile::Spec);
    let (set, copy) = begin(&mut bench, 0x0040_0000);
    bench.ok(prepare(set, secs(1800)));
    bench.ok(commit(set, secs(60)));
    bench.ok(expose(set, secs(1800)));
    bench.ok(recovery(set));
    bench.expect(A, abort(set), BAD_STATE);
    assert!(matches!(
        bench.ok(copied(unc("Data"))),
        Response::IsPathShadowCopied {
            shadow_copy_present: true,
            ..
        }
    ));
    bench.ok(delete(set, copy, unc("Data")));
    bench.check_nothing_leaked();
}

#[test]
fn set_context_invalid() {
    let mut bench = Bench::new(Profile::Spec);
    bench.expect(
        A,
        set_context(0x0040_0002),
        Status::FSRVP_E_UNSUPPORTED_CONTEXT,
    );
    bench.expect(A, start(), BAD_STATE);
}

// ---- smbtorture rpc.fsrvp

/// smbtorture's share, always with a trailing backslash.
const TORTURE: &str = r"\\FILER\Data\";

fn torture_create(bench: &mut Bench) -> (ShadowCopySetId, ShadowCopyId, String) {
    is_path_supported(bench, TORTURE);
    bench.ok(Request::GetSupportedVersion);
    bench.ok(set_context(0));
    let set = bench.started();
    let copy = bench.added(set, TORTURE);
    bench.expect(A, add(set, TORTURE), Status::FSRVP_E_OBJECT_ALREADY_EXISTS);
    bench.ok(prepare(set, secs(240)));
    bench.ok(commit(set, secs(180)));
    bench.ok(expose(set, secs(120)));
    let mapping = mapping_of(bench.ok(mapping(set, copy, TORTURE)));
    assert_eq!(
        (mapping.shadow_copy_set_id, mapping.shadow_copy_id),
        (set, copy)
    );
    assert_eq!(mapping.share_name_unc, TORTURE);
    (set, copy, mapping.shadow_copy_share_name.unwrap())
}

fn torture_is_path_supported(bench: &mut Bench) {
    is_path_supported(bench, TORTURE);
}

fn torture_get_version(bench: &mut Bench) {
    bench.ok(Request::GetSupportedVersion);
}

fn torture_set_ctx(bench: &mut Bench) {
    bench.ok(set_context(0));
}

fn torture_create_simple(bench: &mut Bench) {
    let (set, copy, _) = torture_create(bench);
    bench.ok(delete(set, copy, TORTURE));
}

fn torture_sc_set_abort(bench: &mut Bench) {
    is_path_supported(bench, TORTURE);
    bench.ok(set_context(0));
    let set = bench.started();
    bench.ok(abort(set));
    let status = bench.status(A, add(set, TORTURE));
    assert!(!status.is_ok());
}

fn torture_bad_id(bench: &mut Bench) {
    let (set, copy, _) = torture_create(bench);
    bench.expect(
        A,
        delete(UNKNOWN_SET, copy, TORTURE),
        Status::FSRVP_E_OBJECT_NOT_FOUND,
    );
    bench.expect(A, delete(set, UNKNOWN_COPY, TORTURE), Status::E_INVALIDARG);
    bench.ok(delete(set, copy, TORTURE));
}

fn torture_sc_share_io(bench: &mut Bench) {
    let (set, copy, name) = torture_create(bench);
    assert!(!name.contains('\\'), "{name}: opened by its bare name");
    assert!(bench.world.exposed.contains_key(&name));
    bench.ok(delete(set, copy, TORTURE));
    assert!(!bench.world.exposed.contains_key(&name));
}

/// Two sets are left Exposed while a third call cycle runs; the snapshots stay.
fn torture_enum_created(bench: &mut Bench) {
    let before = bench.world.snapshots.len();
    let (set_1, copy_1, _) = torture_create(bench);
    assert_eq!(bench.world.snapshots.len(), before + 1);
    bench.advance(secs(2));
    let (set_2, copy_2, _) = torture_create(bench);
    assert_eq!(bench.world.snapshots.len(), before + 2);
    bench.ok(delete(set_1, copy_1, TORTURE));
    bench.ok(delete(set_2, copy_2, TORTURE));
    assert_eq!(bench.world.snapshots.len(), before);
}

/// The exposed share is made at Expose, not at Commit.
fn torture_share_sd(bench: &mut Bench) {
    bench.ok(set_context(0));
    let set = bench.started();
    let copy = bench.added(set, TORTURE);
    bench.ok(prepare(set, secs(240)));
    bench.ok(commit(set, secs(180)));
    assert!(bench.world.exposed.is_empty());
    bench.ok(expose(set, secs(120)));
    assert_eq!(bench.world.exposed.len(), 1);
    bench.ok(delete(set, copy, TORTURE));
}

fn torture_seq_timeout(bench: &mut Bench) {
    let short = bench.config.short_timer + secs(1);
    bench.ok(set_context(0));
    bench.advance(short);
    bench.expect(A, start(), BAD_STATE);
    bench.ok(set_context(0));
    let set = bench.started();
    bench.advance(short);
    bench.expect(A, add(set, TORTURE), Status::E_INVALIDARG);
}

/// A test of smbtorture as a call sequence.
type Torture = fn(&mut Bench);

const SMBTORTURE: &[(&str, Torture)] = &[
    ("is_path_supported", torture_is_path_supported),
    ("get_version", torture_get_version),
    ("set_ctx", torture_set_ctx),
    ("create_simple", torture_create_simple),
    ("sc_set_abort", torture_sc_set_abort),
    ("bad_id", torture_bad_id),
    ("sc_share_io", torture_sc_share_io),
    ("enum_created", torture_enum_created),
    ("share_sd", torture_share_sd),
    ("seq_timeout", torture_seq_timeout),
];

#[test]
fn smbtorture_each_test_on_a_new_server() {
    for (_, test) in SMBTORTURE {
        test(&mut Bench::new(Profile::Ws2012));
    }
}

/// Ten of ten on one server, twice in a row.
#[test]
fn smbtorture_all_tests_on_one_server_twice() {
    let mut bench = Bench::new(Profile::Ws2012);
    for (_, test) in SMBTORTURE.iter().chain(SMBTORTURE) {
        test(&mut bench);
    }
    bench.advance(secs(3600));
    bench.check_nothing_leaked();
}

/// The text's profile passes the tests that do not need Windows Server 2012's ways.
#[test]
fn smbtorture_under_spec_where_the_text_agrees() {
    let ws2012_only = ["bad_id", "enum_created", "seq_timeout"];
    for (_, test) in SMBTORTURE
        .iter()
        .filter(|(name, _)| !ws2012_only.contains(name))
    {
        test(&mut Bench::new(Profile::Spec));
    }
}

/// `rpcclient` uses a new connection and port for each command; the address stays the same.
#[test]
fn a_life_over_many_connections_and_callers() {
    let mut bench = Bench::new(Profile::Spec);
    bench.ok(set_context(0x0040_0009));
    let set = bench.started();
    let status = |bench: &mut Bench, request| status_of(&bench.ask(B, request));
    assert_eq!(status(&mut bench, add(set, unc("Other"))), Status::ZERO);
    assert_eq!(status(&mut bench, commit(set, secs(60))), Status::ZERO);
    assert_eq!(status(&mut bench, expose(set, secs(60))), Status::ZERO);
    assert_eq!(status(&mut bench, recovery(set)), Status::ZERO);
    bench.check_nothing_leaked();
}
