//! IsPathSupported, IsPathShadowCopied, GetShareMapping, and no faults: sections 3.1.4.9 to 11.

use super::{READ_ONLY, WRITABLE, committed, exposed, recovered, spec, started};
use crate::support::bench::{A, B, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{commit, copied, expose, mapping, set_context, supported, unc};
use crate::support::world::Fate;
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Request, Response, ShadowCopyId, ShadowCopySetId,
    ShareMapping, Status,
};
use fsrvp_proto::Profile;
use fsrvp_proto::job::FailureKind;
use proptest::prelude::*;
use uuid::Uuid;

fn mapping_of(response: Response) -> ShareMapping {
    match response {
        Response::GetShareMapping {
            mapping: Some(mapping),
            ..
        } => mapping,
        other => panic!("{other:?}"),
    }
}

fn present(bench: &mut Bench, share: &str) -> (bool, i32) {
    match bench.ok(copied(unc(share))) {
        Response::IsPathShadowCopied {
            shadow_copy_present,
            shadow_copy_compatibility,
            ..
        } => (shadow_copy_present, shadow_copy_compatibility),
        other => panic!("{other:?}"),
    }
}

/// Rule 20: the owner is the configured name.
#[test]
fn the_owner_is_the_servers_name() {
    let mut bench = spec();
    assert_eq!(
        bench.ask(A, supported(r"\\127.0.0.1\DATA\")),
        Response::IsPathSupported {
            supported_by_this_provider: true,
            owner_machine_name: Some("FILER".to_owned()),
            status: Status::ZERO
        }
    );
}

/// "Committed, Exposed, or Recovered", by volume; compatibility is the store's; FALSE means 0.
#[test]
fn shadow_copied_by_volume_with_the_stores_compatibility() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    bench.added(set, &unc("Other"));
    assert_eq!(present(&mut bench, "Other"), (false, 0));
    bench.ok(commit(set, secs(60)));
    for _ in 0..2 {
        assert_eq!(present(&mut bench, "Other"), (true, 3));
        assert_eq!(present(&mut bench, "Data"), (false, 0));
        assert_eq!(present(&mut bench, "hidden$"), (false, 0));
        if bench.world.exposed.is_empty() {
            bench.ok(expose(set, secs(60)));
        }
    }
}

#[test]
fn another_share_of_the_volume_is_shadow_copied_too() {
    let mut bench = spec();
    recovered(&mut bench, READ_ONLY);
    assert_eq!(present(&mut bench, "DataToo"), (true, 1));
}

/// Rule 16: "looks only at our table [...] Unsupported store: ZERO, FALSE."
#[test]
fn shadow_copied_of_an_unsupported_store_and_of_nothing() {
    let mut bench = spec();
    committed(&mut bench, WRITABLE);
    assert_eq!(present(&mut bench, "nested"), (false, 0));
    bench.expect(A, copied(unc("absent")), Status::FSRVP_E_OBJECT_NOT_FOUND);
    bench.expect(
        A,
        copied(unc("broken")),
        Status::VSS_E_UNEXPECTED_PROVIDER_ERROR,
    );
    bench.expect(A, supported(unc("nested")), Status::FSRVP_E_NOT_SUPPORTED);
}

/// The queries touch neither state nor timer, whoever asks and however often.
#[test]
fn queries_touch_nothing() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    for _ in 0..17 {
        bench.advance(secs(10));
        bench.expect(B, supported(unc("Data")), Status::ZERO);
        bench.expect(B, copied(unc("Data")), Status::ZERO);
        bench.expect(B, Request::GetSupportedVersion, Status::ZERO);
    }
    assert_eq!(bench.timer(), Some(secs(10)));
    bench.advance(secs(10));
    assert_eq!(bench.set_status(set), None);
}

/// A look-up that hangs does not hold the timer, and does not hold its caller for ever.
#[test]
fn a_look_up_that_hangs() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(B, supported(unc("Data")));
    assert_eq!(bench.timer(), Some(secs(180)));
    bench.advance(secs(170));
    assert!(bench.answer(call).is_some_and(|status| !status.is_ok()));
    bench.advance(secs(10));
    assert_eq!(bench.set_status(set), None);
    let job = bench.job(JobKind::Locate);
    bench.finish(job, Fate::Succeed);
}

/// Rule 9: "ShareNameUNC is the name as the client gave it in Add"; asked for in another form.
#[test]
fn the_mapping_echoes_the_name_of_add() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    let given = r"\\LocalHost\dAtA\";
    let copy = bench.added(set, given);
    let added_at = bench.now.wall;
    bench.advance(secs(50));
    bench.ok(commit(set, secs(60)));
    bench.ok(expose(set, secs(60)));
    let answer = mapping_of(bench.ask(B, mapping(set, copy, r"\\198.51.100.1\DATA")));
    assert_eq!(
        answer,
        ShareMapping {
            shadow_copy_set_id: set,
            shadow_copy_id: copy,
            share_name_unc: given.to_owned(),
            shadow_copy_share_name: Some(format!("dAtA@{{{copy}}}")),
            creation_timestamp: added_at,
        }
    );
    assert_eq!(copy.to_string(), copy.to_string().to_lowercase());
}

/// "set to ShadowCopy.CreationTimeStamp": each copy its own time, and the wall clock's jumps do
/// not change what is recorded.
#[test]
fn creation_timestamps_are_those_of_add() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    let first = (bench.added(set, &unc("Data")), bench.now.wall, "Data");
    bench.advance(secs(60));
    let second = (bench.added(set, &unc("Other")), bench.now.wall, "Other");
    bench.set_wall(fsrvp_idl::FileTime(bench.now.wall.0 / 2));
    bench.ok(commit(set, secs(60)));
    bench.ok(expose(set, secs(60)));
    bench.restart(Fate::Succeed);
    for (copy, time, share) in [first, second] {
        let mapping = mapping_of(bench.ok(mapping(set, copy, unc(share))));
        assert_eq!(mapping.creation_timestamp, time);
    }
}

/// Rule 9: "A failure puts the timer's old deadline back".
#[test]
fn a_failed_mapping_leaves_the_timer() {
    let mut bench = spec();
    let (set, copy) = exposed(&mut bench, WRITABLE);
    for _ in 0..17 {
        bench.advance(secs(10));
        bench.expect(B, mapping(set, copy, unc("Other")), Status::E_INVALIDARG);
        let unknown = ShadowCopyId(Uuid::from_u128(9));
        bench.expect(B, mapping(set, unknown, unc("Data")), Status::E_INVALIDARG);
    }
    assert_eq!(bench.timer(), Some(secs(10)));
}

/// Rule 9, profile ws2012: Recovered answers, and "a Recovered set never touches the timer".
#[test]
fn ws2012_maps_recovered_sets() {
    let mut bench = Bench::new(Profile::Ws2012);
    let (set, copy) = recovered(&mut bench, WRITABLE);
    mapping_of(bench.ok(mapping(set, copy, unc("Data"))));
    assert_eq!(bench.agent.poll_timeout(), None);
    bench.ok(set_context(WRITABLE));
    bench.advance(secs(30));
    mapping_of(bench.ok(mapping(set, copy, unc("Data"))));
    assert_eq!(bench.timer(), Some(secs(150)));
}

/// The look-up's failure in IsPathShadowCopied.
#[test]
fn shadow_copied_passes_a_look_ups_failure_on() {
    let mut bench = spec();
    bench.hold_jobs = true;
    let call = bench.send(A, copied(unc("Data")));
    let job = bench.job(JobKind::Locate);
    bench.finish(job, Fate::Fail(FailureKind::Lost));
    assert_eq!(bench.answer(call), Some(Status::FSRVP_E_WAIT_FAILED));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r"\\\\(FILER|localhost|[a-z]{1,9})\\([A-Za-z$@{}\\]{0,12}|Data|nested)",
        "[x\u{10400}]{0,16384}",
    ]
}

fn id() -> impl Strategy<Value = Uuid> {
    prop_oneof![Just(Uuid::nil()), any::<u128>().prop_map(Uuid::from_u128)]
}

fn any_request() -> impl Strategy<Value = Request> {
    let set = || id().prop_map(ShadowCopySetId);
    let copy = || id().prop_map(ShadowCopyId);
    let ms = || any::<u32>();
    prop_oneof![
        Just(Request::GetSupportedVersion),
        any::<u32>().prop_map(set_context),
        id().prop_map(|id| Request::StartShadowCopySet {
            client_shadow_copy_set_id: ClientShadowCopySetId(id)
        }),
        (id(), set(), text()).prop_map(|(client, shadow_copy_set_id, share_name)| {
            let client_shadow_copy_id = ClientShadowCopyId(client);
            Request::AddToShadowCopySet {
                client_shadow_copy_id,
                shadow_copy_set_id,
                share_name,
            }
        }),
        (set(), ms()).prop_map(|(shadow_copy_set_id, timeout_ms)| {
            Request::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
        }),
        (set(), ms()).prop_map(|(shadow_copy_set_id, timeout_ms)| {
            Request::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
        }),
        (set(), ms()).prop_map(|(shadow_copy_set_id, timeout_ms)| {
            Request::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
        }),
        set().prop_map(
            |shadow_copy_set_id| Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id }
        ),
        set().prop_map(|shadow_copy_set_id| Request::AbortShadowCopySet { shadow_copy_set_id }),
        text().prop_map(|share_name| Request::IsPathSupported { share_name }),
        text().prop_map(|share_name| Request::IsPathShadowCopied { share_name }),
        (set(), copy(), text(), any::<u32>()).prop_map(
            |(shadow_copy_set_id, shadow_copy_id, share_name, level)| Request::GetShareMapping {
                shadow_copy_id,
                shadow_copy_set_id,
                share_name,
                level,
            }
        ),
        (set(), copy(), text()).prop_map(|(shadow_copy_set_id, shadow_copy_id, share_name)| {
            Request::DeleteShareMapping {
                shadow_copy_set_id,
                shadow_copy_id,
                share_name,
            }
        }),
    ]
}

proptest! {
    /// "All methods MUST NOT throw exceptions": whatever is called, exactly one answer comes, in
    /// its full form, and the server goes on.
    #[test]
    fn any_request_is_answered_once(requests in prop::collection::vec(any_request(), 1..20)) {
        let mut bench = spec();
        let (set, copy) = exposed(&mut bench, WRITABLE);
        for request in requests {
            if matches!(request, Request::SetContext { .. }) {
                // From another client, so that the set stays.
                bench.ask(B, request);
            } else {
                bench.ask(A, request);
            }
        }
        mapping_of(bench.ok(mapping(set, copy, unc("Data"))));
    }
}
