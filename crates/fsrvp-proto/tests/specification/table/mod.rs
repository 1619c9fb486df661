//! Every state × every operation, in both profiles, against the table of [`rows`].

#[rustfmt::skip]
mod rows;

use crate::support::bench::{A, B, Bench, secs};
use crate::support::jobs::JobKind;
use crate::support::requests::{
    UNKNOWN_COPY, UNKNOWN_SET, abort, add, commit, copied, delete, expose, mapping, prepare,
    recovery, set_context, start, start_null, status_of, supported, unc,
};
use crate::support::world::Fate;
use fsrvp_idl::{ClientShadowCopyId, Request, Response, ShadowCopyId, ShadowCopySetId};
use fsrvp_proto::job::FailureKind;
use fsrvp_proto::{Profile, SetStatus};
use rows::{ALL, Answer, Next, OPS, Op, Profiles, ROWS, Row, State, Timer};
use std::net::IpAddr;
use std::time::Duration;

/// NAS_ROLLBACK with AUTO_RECOVERY: writable until sealed, and it outlives a reboot.
const CONTEXT: u32 = 0x0040_0019;

impl Profiles {
    const fn cover(self, profile: Profile) -> bool {
        match self {
            Self::Both => true,
            Self::Spec => matches!(profile, Profile::Spec),
            Self::Ws2012 => matches!(profile, Profile::Ws2012),
        }
    }
}

/// Only where Exposed counts as finished can a newer context stand beside an Exposed set.
fn exists(profile: Profile, state: State) -> bool {
    profile == Profile::Ws2012 || state != State::ExposedAside
}

fn rows_for(profile: Profile, op: Op, state: State) -> Vec<&'static Row> {
    ROWS.iter()
        .filter(|row| row.profiles.cover(profile))
        .filter(|row| row.ops.contains(&op) && row.states.contains(&state))
        .collect()
}

#[test]
fn the_table_has_exactly_one_row_for_everything() {
    for profile in [Profile::Spec, Profile::Ws2012] {
        for op in OPS {
            for state in ALL.iter().filter(|state| exists(profile, **state)) {
                let found = rows_for(profile, *op, *state);
                assert_eq!(
                    found.len(),
                    1,
                    "{profile:?} {op:?} in {state:?}: {found:#?}"
                );
            }
        }
    }
}

#[test]
fn every_operation_in_every_state_under_spec() {
    run(Profile::Spec);
}

#[test]
fn every_operation_in_every_state_under_ws2012() {
    run(Profile::Ws2012);
}

/// Goes through the whole table and reports all differences at once.
fn run(profile: Profile) {
    let mut wrong = Vec::new();
    for state in ALL.iter().copied().filter(|state| exists(profile, *state)) {
        for op in OPS.iter().copied() {
            let row = rows_for(profile, op, state)[0];
            if let Err(difference) = check(profile, state, op, row) {
                wrong.push(format!(
                    "[{} rule {}] {profile:?} {op:?} in {state:?}: {difference}",
                    row.text, row.rule
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A server in a state.
struct Scene {
    bench: Bench,
    set: ShadowCopySetId,
    copy: ShadowCopyId,
}

fn check(profile: Profile, state: State, op: Op, row: &Row) -> Result<(), String> {
    let mut scene = build(profile, state);
    let before = deadlines(&scene.bench, scene.set);
    scene.bench.advance(secs(7));
    let (from, request) = request(&scene, op);
    scene.bench.hold_jobs = matches!(op, Op::PrepareNoWait | Op::CommitNoWait | Op::ExposeNoWait);
    let at = scene.bench.now.at;
    let id = scene.bench.send(from, request);
    let Some(response) = scene.bench.reply(id) else {
        return Err(format!("expected {:?}, got no reply", row.status));
    };
    let expected_state = match row.next {
        Next::Same => state,
        Next::To(next) => next,
    };
    let mut wrong = Vec::new();
    let mut compare = |what: &str, expected: String, got: String| {
        if expected != got {
            wrong.push(format!("{what}: expected {expected}, got {got}"));
        }
    };
    compare(
        "status",
        format!("{:?}", row.status),
        format!("{:?}", status_of(&response)),
    );
    if let Response::IsPathShadowCopied {
        shadow_copy_present,
        shadow_copy_compatibility,
        ..
    } = response
    {
        let expected = match row.answer {
            Answer::Present => (true, 1),
            Answer::Absent | Answer::Nothing => (false, 0),
        };
        let got = (shadow_copy_present, shadow_copy_compatibility);
        compare("answer", format!("{expected:?}"), format!("{got:?}"));
    }
    let old_set = !matches!(op, Op::Start | Op::StartOtherAddress);
    let seen = seen(&scene.bench, old_set.then_some(scene.set));
    compare(
        "state",
        format!("{:?}", shape(profile, expected_state)),
        format!("{seen:?}"),
    );
    let after = deadlines(&scene.bench, scene.set);
    let own = before.1;
    let expected = match row.timer {
        Timer::Keep => before,
        Timer::Start(wait) if expected_state == State::ExposedAside => (Some(at + secs(wait)), own),
        Timer::Start(wait) if aside(profile, expected_state) => (None, Some(at + secs(wait))),
        Timer::Start(wait) => (Some(at + secs(wait)), None),
        Timer::Own(wait) => (before.0, Some(at + secs(wait))),
        Timer::OwnOff => (before.0, None),
        Timer::Off => (None, None),
    };
    // The set that was put aside lives on when a newer one is started.
    let expected = if state == State::ExposedAside && expected_state == State::Started {
        (expected.0, own)
    } else {
        expected
    };
    compare("timer", format!("{expected:?}"), format!("{after:?}"));
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

/// Under ws2012 an Exposed set has a deadline of its own.
fn aside(profile: Profile, state: State) -> bool {
    profile == Profile::Ws2012 && matches!(state, State::Exposed | State::ExposedAside)
}

/// The Message Sequence Timer and the set's own deadline, as points in time.
fn deadlines(bench: &Bench, set: ShadowCopySetId) -> (Option<Duration>, Option<Duration>) {
    let view = bench.view();
    let point = |ms: Option<u64>| ms.map(|ms| bench.now.at + Duration::from_millis(ms));
    let own = view
        .sets
        .iter()
        .find(|other| other.id == set)
        .and_then(|set| set.deadline_ms);
    (point(view.timer_remaining_ms), point(own))
}

/// What can be seen of a state: ContextSet and the status of the set.
type Shape = (bool, Option<SetStatus>);

fn shape(profile: Profile, state: State) -> Shape {
    match state {
        State::Idle => (false, None),
        State::ContextSet => (true, None),
        State::Started => (true, Some(SetStatus::Started)),
        State::Added
        | State::Preparing
        | State::Prepared
        | State::PreparedLate
        | State::PrepareFailedLate => (true, Some(SetStatus::Added)),
        State::Creating | State::CreatedLate | State::CreateFailedLate => {
            (true, Some(SetStatus::CreationInProgress))
        }
        State::Committed | State::Exposing | State::ExposedLate | State::ExposeFailedLate => {
            (true, Some(SetStatus::Committed))
        }
        State::Exposed => (profile == Profile::Spec, Some(SetStatus::Exposed)),
        State::ExposedAside => (true, Some(SetStatus::Exposed)),
        State::Recovered => (false, Some(SetStatus::Recovered)),
        State::RecoveredContext => (true, Some(SetStatus::Recovered)),
    }
}

/// The status of `set`, or of whichever set was started last.
fn seen(bench: &Bench, set: Option<ShadowCopySetId>) -> Shape {
    let view = bench.view();
    let status = match set {
        Some(id) => bench.set_status(id),
        None => view.sets.iter().map(|set| set.status).min(),
    };
    (view.context.is_set, status)
}

/// Brings a new server into a state.
fn build(profile: Profile, state: State) -> Scene {
    let mut scene = Scene {
        bench: Bench::new(profile),
        set: UNKNOWN_SET,
        copy: UNKNOWN_COPY,
    };
    let bench = &mut scene.bench;
    if state == State::Idle {
        return scene;
    }
    bench.ok(set_context(CONTEXT));
    if state == State::ContextSet {
        return scene;
    }
    scene.set = bench.started();
    if state == State::Started {
        return scene;
    }
    scene.copy = bench.added(scene.set, &unc("Data"));
    let set = scene.set;
    let no_space = Fate::Fail(FailureKind::NoSpace);
    match state {
        State::Idle | State::ContextSet | State::Started | State::Added => {}
        State::Preparing => late(bench, prepare(set, secs(1)), JobKind::Prepare, None),
        State::PreparedLate => {
            late(
                bench,
                prepare(set, secs(1)),
                JobKind::Prepare,
                Some(Fate::Succeed),
            );
        }
        State::PrepareFailedLate => {
            late(
                bench,
                prepare(set, secs(1)),
                JobKind::Prepare,
                Some(no_space),
            );
        }
        State::Prepared => {
            bench.ok(prepare(set, secs(60)));
        }
        State::Creating => late(bench, commit(set, secs(1)), JobKind::Commit, None),
        State::CreatedLate => {
            late(
                bench,
                commit(set, secs(1)),
                JobKind::Commit,
                Some(Fate::Succeed),
            );
        }
        State::CreateFailedLate => {
            late(bench, commit(set, secs(1)), JobKind::Commit, Some(no_space));
        }
        State::Committed
        | State::Exposing
        | State::ExposedLate
        | State::ExposeFailedLate
        | State::Exposed
        | State::ExposedAside
        | State::Recovered
        | State::RecoveredContext => {
            bench.ok(prepare(set, secs(60)));
            bench.ok(commit(set, secs(60)));
        }
    }
    match state {
        State::Exposing => late(bench, expose(set, secs(1)), JobKind::Expose, None),
        State::ExposedLate => {
            late(
                bench,
                expose(set, secs(1)),
                JobKind::Expose,
                Some(Fate::Succeed),
            );
        }
        State::ExposeFailedLate => {
            let gone = Fate::Fail(FailureKind::NotFound);
            late(bench, expose(set, secs(1)), JobKind::Expose, Some(gone));
        }
        State::Exposed | State::ExposedAside | State::Recovered | State::RecoveredContext => {
            bench.ok(expose(set, secs(60)));
        }
        _ => {}
    }
    if matches!(state, State::Recovered | State::RecoveredContext) {
        bench.ok(recovery(set));
    }
    if matches!(state, State::ExposedAside | State::RecoveredContext) {
        bench.advance(secs(3));
        bench.ok(set_context(CONTEXT));
    }
    scene
}

/// A call whose wait ends before its job; the job then ends as told, or runs on.
fn late(bench: &mut Bench, request: Request, kind: JobKind, fate: Option<Fate>) {
    bench.hold_jobs = true;
    let id = bench.send(A, request);
    bench.advance(secs(1));
    assert!(
        bench.answer(id).is_some_and(|status| !status.is_ok()),
        "{}",
        bench.story()
    );
    if let Some(fate) = fate {
        let job = bench.job(kind);
        bench.finish(job, fate);
    }
}

/// The call that an operation of the table stands for.
#[allow(clippy::too_many_lines)]
fn request(scene: &Scene, op: Op) -> (IpAddr, Request) {
    let (set, copy) = (scene.set, scene.copy);
    let (null_set, null_copy) = (ShadowCopySetId::NULL, ShadowCopyId::NULL);
    let wait = secs(60);
    let share = || unc("Data");
    let request = match op {
        Op::Version => Request::GetSupportedVersion,
        Op::SetContext | Op::SetContextOtherAddress => set_context(CONTEXT),
        Op::SetContextInvalid => set_context(0x0040_0002),
        Op::Start | Op::StartOtherAddress => start(),
        Op::StartNull => start_null(),
        Op::Add | Op::AddOtherAddress => add(set, unc("Other")),
        Op::AddNullClientId => Request::AddToShadowCopySet {
            client_shadow_copy_id: ClientShadowCopyId::NULL,
            shadow_copy_set_id: set,
            share_name: unc("Other"),
        },
        Op::AddSameShare => add(set, r"\\localhost\DATA\"),
        Op::AddSameVolume => add(set, unc("DataToo")),
        Op::AddUnknownSet => add(UNKNOWN_SET_OTHER, share()),
        Op::AddNullSet => add(null_set, share()),
        Op::AddEmptyName => add(set, ""),
        Op::AddMalformedName => add(set, "Data"),
        Op::AddLongName => add(set, unc(&"x".repeat(1024))),
        Op::AddTrailingComponent => add(set, unc(r"Data\folder")),
        Op::AddUnknownShare => add(set, unc("absent")),
        Op::AddUnknownShareUnknownSet => add(UNKNOWN_SET_OTHER, unc("absent")),
        Op::AddUnknownShareNullSet => add(null_set, unc("absent")),
        Op::AddUnsupported => add(set, unc("nested")),
        Op::AddUnsupportedUnknownSet => add(UNKNOWN_SET_OTHER, unc("nested")),
        Op::AddForeignHost => add(set, r"\\elsewhere.example\Data"),
        Op::AddNameTooLongToExpose => add(set, unc("b23456789012345678901234567890123456789012")),
        Op::Prepare => prepare(set, wait),
        Op::PrepareNoWait => prepare(set, Duration::ZERO),
        Op::PrepareUnknownSet => prepare(UNKNOWN_SET_OTHER, wait),
        Op::PrepareNullSet => prepare(null_set, wait),
        Op::Commit => commit(set, wait),
        Op::CommitNoWait => commit(set, Duration::ZERO),
        Op::CommitUnknownSet => commit(UNKNOWN_SET_OTHER, wait),
        Op::CommitNullSet => commit(null_set, wait),
        Op::Expose => expose(set, wait),
        Op::ExposeNoWait => expose(set, Duration::ZERO),
        Op::ExposeUnknownSet => expose(UNKNOWN_SET_OTHER, wait),
        Op::ExposeNullSet => expose(null_set, wait),
        Op::Recovery | Op::RecoveryOtherAddress => recovery(set),
        Op::RecoveryUnknownSet => recovery(UNKNOWN_SET_OTHER),
        Op::RecoveryNullSet => recovery(null_set),
        Op::Abort | Op::AbortOtherAddress => abort(set),
        Op::AbortUnknownSet => abort(UNKNOWN_SET_OTHER),
        Op::AbortNullSet => abort(null_set),
        Op::Supported => supported(share()),
        Op::SupportedUnknownShare => supported(unc("absent")),
        Op::SupportedUnsupported => supported(unc("nested")),
        Op::SupportedForeignHost => supported(r"\\elsewhere.example\Data"),
        Op::SupportedEmptyName => supported(""),
        Op::SupportedNameTooLongToExpose => {
            supported(unc("d234567890123456789012345678901234567890$"))
        }
        Op::Copied => copied(share()),
        Op::CopiedSameVolume => copied(unc("DataToo")),
        Op::CopiedOtherVolume => copied(unc("Other")),
        Op::CopiedUnsupported => copied(unc("nested")),
        Op::CopiedUnknownShare => copied(unc("absent")),
        Op::CopiedForeignHost => copied(r"\\elsewhere.example\Data"),
        Op::CopiedEmptyName => copied(""),
        Op::Mapping => mapping(set, copy, share()),
        Op::MappingOtherForm => mapping(set, copy, r"\\127.0.0.1\dATA\"),
        Op::MappingLevelZero => level_zero(mapping(set, copy, share())),
        Op::MappingLevelZeroUnknownSet => level_zero(mapping(UNKNOWN_SET_OTHER, copy, share())),
        Op::MappingUnknownSet => mapping(UNKNOWN_SET_OTHER, copy, share()),
        Op::MappingUnknownCopy => mapping(set, UNKNOWN_COPY_OTHER, share()),
        Op::MappingOtherShare => mapping(set, copy, unc("Other")),
        Op::MappingForeignHost => mapping(set, copy, r"\\elsewhere.example\Data"),
        Op::MappingNullSet => mapping(null_set, copy, share()),
        Op::MappingNullCopy => mapping(UNKNOWN_SET_OTHER, null_copy, share()),
        Op::MappingEmptyName => mapping(UNKNOWN_SET_OTHER, copy, ""),
        Op::Delete => delete(set, copy, share()),
        Op::DeleteOtherForm => delete(set, copy, r"\\filer.EXAMPLE.\data\"),
        Op::DeleteUnknownSet => delete(UNKNOWN_SET_OTHER, copy, share()),
        Op::DeleteUnknownCopy => delete(set, UNKNOWN_COPY_OTHER, share()),
        Op::DeleteOtherShare => delete(set, copy, unc("Other")),
        Op::DeleteForeignHost => delete(set, copy, r"\\elsewhere.example\Data"),
        Op::DeleteNullSet => delete(null_set, copy, share()),
        Op::DeleteNullCopy => delete(UNKNOWN_SET_OTHER, null_copy, share()),
        Op::DeleteEmptyName => delete(UNKNOWN_SET_OTHER, copy, ""),
    };
    let other = matches!(
        op,
        Op::SetContextOtherAddress
            | Op::StartOtherAddress
            | Op::AddOtherAddress
            | Op::RecoveryOtherAddress
            | Op::AbortOtherAddress
    );
    (if other { B } else { A }, request)
}

/// Ids that nobody has in any state.
const UNKNOWN_SET_OTHER: ShadowCopySetId = ShadowCopySetId(uuid::Uuid::from_u128(
    0xdead_0000_0000_4000_8000_0000_0000_0011,
));
const UNKNOWN_COPY_OTHER: ShadowCopyId = ShadowCopyId(uuid::Uuid::from_u128(
    0xdead_0000_0000_4000_8000_0000_0000_0012,
));

fn level_zero(request: Request) -> Request {
    match request {
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            ..
        } => Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            level: 0,
        },
        other => other,
    }
}
