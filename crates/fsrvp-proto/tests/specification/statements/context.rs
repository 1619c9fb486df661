//! SetContext and StartShadowCopySet: sections 3.1.4.2 and 3.1.4.3.

use super::{WRITABLE, added, committed, exposed, recovered, spec, started};
use crate::support::bench::{A, B, Bench, secs};
use crate::support::requests::{add, set_context, start, start_null, supported, unc};
use fsrvp_idl::{Context, Status};
use fsrvp_proto::{Caller, Profile, SetStatus};

const IN_PROGRESS: Status = Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS;

/// Section 2.2.2.2: four bases, each alone or with exactly one recovery bit, and nothing else.
#[test]
fn twelve_contexts_are_valid_and_no_others() {
    let valid: Vec<u32> = [0x00, 0x09, 0x10, 0x19]
        .into_iter()
        .flat_map(|base| [base, base | 0x02, base | 0x0040_0000])
        .collect();
    let bits = [
        0x01,
        0x02,
        0x04,
        0x08,
        0x10,
        0x20,
        0x0040_0000,
        0x8000_0000_u32,
    ];
    for combination in 0..1_u32 << bits.len() {
        let value = bits
            .iter()
            .enumerate()
            .filter(|(place, _)| combination & (1 << place) != 0)
            .fold(0, |value, (_, bit)| value | bit);
        let expected = if valid.contains(&value) {
            Status::ZERO
        } else {
            Status::FSRVP_E_UNSUPPORTED_CONTEXT
        };
        spec().expect(A, set_context(value), expected);
    }
}

/// "checked before the address, and nothing changes".
#[test]
fn an_invalid_context_is_noticed_before_the_address() {
    let mut bench = spec();
    let set = started(&mut bench, WRITABLE);
    let before = bench.view();
    bench.expect(
        B,
        set_context(0x0040_0002),
        Status::FSRVP_E_UNSUPPORTED_CONTEXT,
    );
    bench.expect(
        A,
        set_context(0x0040_0002),
        Status::FSRVP_E_UNSUPPORTED_CONTEXT,
    );
    assert_eq!(bench.view(), before);
    assert_eq!(bench.set_status(set), Some(SetStatus::Started));
}

/// "If the requestor client address is not the same as ShadowCopyClientAddress ...".
#[test]
fn the_address_lock_is_set_contexts_alone() {
    let mut bench = spec();
    bench.ok(set_context(WRITABLE));
    bench.expect(B, set_context(WRITABLE), IN_PROGRESS);
    // Other methods may come from anywhere.
    bench.expect(B, start(), Status::ZERO);
    bench.expect(B, supported(unc("Data")), Status::ZERO);
    bench.expect(B, set_context(WRITABLE), IN_PROGRESS);
}

/// Rule 3: "the address is the client's IP without port (IPv4-mapped form normalised)"; the
/// driver normalises, the agent compares.
#[test]
fn an_ipv6_client_is_another_client() {
    let mut bench = spec();
    bench.ok(set_context(WRITABLE));
    bench.expect(
        "2001:db8::1".parse().unwrap(),
        set_context(WRITABLE),
        IN_PROGRESS,
    );
}

/// A caller without an address (the admin socket) is nobody's other self.
#[test]
fn a_caller_without_address_does_not_pass_the_lock() {
    let mut bench = spec();
    bench.ok(set_context(WRITABLE));
    let id = bench.send_as(Caller::default(), set_context(WRITABLE));
    assert_eq!(bench.answer(id), Some(IN_PROGRESS));
}

/// "Remove the ShadowCopySet if [...] Status is not equal to Recovered", with everything it has.
#[test]
fn set_context_again_drops_the_unfinished_set_with_its_artefacts() {
    for build in [added, committed, exposed] {
        let mut bench = spec();
        let (set, _) = build(&mut bench, WRITABLE);
        bench.ok(set_context(0x0000_0010));
        assert_eq!(bench.set_status(set), None);
        bench.check_nothing_leaked();
        assert_eq!(bench.world.snapshots.len() + bench.world.exposed.len(), 0);
        let context = bench.view().context;
        assert_eq!(context.current, Context::try_from(0x10).ok());
        assert_eq!(context.client_address, Some(A));
    }
}

#[test]
fn set_context_again_leaves_recovered_sets() {
    let mut bench = spec();
    let (set, _) = recovered(&mut bench, WRITABLE);
    bench.ok(set_context(WRITABLE));
    bench.ok(set_context(WRITABLE));
    assert_eq!(bench.set_status(set), Some(SetStatus::Recovered));
    assert_eq!(bench.world.snapshots.len(), 1);
}

/// "If ShadowCopyClientRetryCount exceeds the implementation-specific count": 5, and the set is
/// gone, ContextSet stays off, the next call succeeds and starts the count at 0.
#[test]
fn the_sixth_repetition_fails_and_the_count_starts_again() {
    let mut bench = spec();
    for _ in 0..2 {
        bench.ok(set_context(WRITABLE));
        for repetition in 1..=5 {
            bench.ok(set_context(WRITABLE));
            assert_eq!(bench.view().context.retry_count, repetition);
        }
        bench.ok(start());
        bench.expect(A, set_context(WRITABLE), IN_PROGRESS);
        assert!(!bench.view().context.is_set);
        assert_eq!(bench.view().context.client_address, None);
        assert_eq!(bench.view().sets, []);
        bench.expect(A, start(), Status::FSRVP_E_BAD_STATE);
    }
    // Anybody may come now.
    bench.expect(B, set_context(WRITABLE), Status::ZERO);
}

/// "Otherwise, if ContextSet is FALSE, set ShadowCopyClientRetryCount to 0."
#[test]
fn a_finished_set_resets_the_count() {
    let mut bench = spec();
    for _ in 0..20 {
        bench.ok(set_context(WRITABLE));
        bench.ok(set_context(WRITABLE));
        recovered(&mut bench, WRITABLE);
    }
}

/// <5> "Windows Server 2012 doesn't perform this verification."
#[test]
fn ws2012_does_not_count() {
    let mut bench = Bench::new(Profile::Ws2012);
    for _ in 0..20 {
        bench.ok(set_context(WRITABLE));
    }
}

/// "If ContextSet is FALSE, the server MUST fail the call with FSRVP_E_BAD_STATE", which comes
/// before a NULL id, as being busy does.
#[test]
fn start_without_context_and_while_busy_comes_before_null() {
    let mut bench = spec();
    bench.expect(A, start_null(), Status::FSRVP_E_BAD_STATE);
    bench.ok(set_context(WRITABLE));
    bench.expect(A, start_null(), Status::E_INVALIDARG);
    bench.ok(start());
    bench.expect(A, start_null(), IN_PROGRESS);
    bench.expect(B, start(), IN_PROGRESS);
}

/// "ShadowCopySetId is set to a unique GUID generated by the server."
#[test]
fn ids_are_never_given_twice() {
    let mut bench = spec();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let set = started(&mut bench, WRITABLE);
        assert!(ids.insert(set.0));
        for share in ["Data", "Other"] {
            let copy = bench.added(set, &unc(share));
            assert!(ids.insert(copy.0));
        }
        bench.ok(crate::support::requests::abort(set));
    }
}

/// "Context is set to CurrentContext", and stays what it was.
#[test]
fn the_context_is_carried_into_the_set() {
    let mut bench = spec();
    let (first, _) = recovered(&mut bench, 0x0000_0019);
    let (second, _) = exposed(&mut bench, 0x0040_0010);
    let context = |id| {
        let view = bench.view();
        let set = view.sets.iter().find(|set| set.id == id).cloned();
        set.map(|set| u32::from(set.context))
    };
    assert_eq!(context(first), Some(0x19));
    assert_eq!(context(second), Some(0x0040_0010));
}

/// Rule 2: one set in creation per server, whatever connection; nothing goes on a disconnect.
#[test]
fn a_disconnect_releases_nothing() {
    let mut bench = spec();
    let (set, _) = added(&mut bench, WRITABLE);
    bench.hold_jobs = true;
    let call = bench.send(A, crate::support::requests::commit(set, secs(60)));
    bench.vanish(call);
    assert_eq!(bench.set_status(set), Some(SetStatus::CreationInProgress));
    bench.expect(B, set_context(WRITABLE), IN_PROGRESS);
    bench.expect(B, start(), IN_PROGRESS);
    bench.expect(A, add(set, "x"), Status::E_INVALIDARG);
}
