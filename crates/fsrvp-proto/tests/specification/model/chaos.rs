//! Nothing ends when it is convenient: jobs, removals and commits of the store end in any order,
//! commits fail, callers vanish, the process dies. Only the bench's invariants judge, and that in
//! the end nothing is left over.

use super::steps::{Name, Ref};
use crate::support::bench::{A, B, Bench, secs};
use crate::support::requests::{
    UNKNOWN_COPY, UNKNOWN_SET, abort, add, commit, copied, delete, expose, mapping, prepare,
    recovery, set_context, start,
};
use crate::support::world::{Fate, SHARES};
use fsrvp_idl::{Request, ShadowCopyId};
use fsrvp_proto::job::{FailureKind, JobId};
use fsrvp_proto::view::SetView;
use fsrvp_proto::{CallId, Profile, SetStatus};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Call { from: u8, what: What },
    Finish { job: u8, fate: Fate },
    Settle { good: bool },
    Advance { seconds: u16 },
    Vanish { call: u8 },
    Restart { fate: Fate, reboot: bool },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Next(u16),
    SetContext,
    Start,
    Add(Name),
    Prepare(u16),
    Commit(u16),
    Expose(u16),
    Recovery(Ref),
    Abort(Ref),
    Copied(Name),
    Mapping(Ref),
    Delete(Ref),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Succeed),
        2 => Just(Fate::Fail(FailureKind::Other)),
        1 => Just(Fate::Fail(FailureKind::Busy)),
        1 => Just(Fate::FailCopies),
        1 => Just(Fate::FailShares),
        2 => Just(Fate::LostHalfDone),
        2 => Just(Fate::LostDone),
    ]
}

fn which() -> impl Strategy<Value = Ref> {
    prop_oneof![4 => Just(Ref::Fitting), 2 => any::<u8>().prop_map(Ref::Nth), 1 => Just(Ref::Unknown)]
}

fn what() -> impl Strategy<Value = What> {
    let wait = || prop_oneof![1 => Just(0u16), 3 => 1..200u16, 1 => Just(4000)];
    let name = || (0..4u8).prop_map(|share| Name::Share(share, 0));
    prop_oneof![
        20 => wait().prop_map(What::Next),
        2 => Just(What::SetContext),
        1 => Just(What::Start),
        3 => name().prop_map(What::Add),
        2 => wait().prop_map(What::Prepare),
        3 => wait().prop_map(What::Commit),
        3 => wait().prop_map(What::Expose),
        3 => which().prop_map(What::Recovery),
        3 => which().prop_map(What::Abort),
        1 => name().prop_map(What::Copied),
        1 => which().prop_map(What::Mapping),
        5 => which().prop_map(What::Delete),
    ]
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        24 => (0..6u8, what()).prop_map(|(from, what)| Event::Call { from, what }),
        24 => (any::<u8>(), fate()).prop_map(|(job, fate)| Event::Finish { job, fate }),
        30 => prop::bool::weighted(0.92).prop_map(|good| Event::Settle { good }),
        8 => prop_oneof![6 => 0..100u16, 2 => 100..2000u16]
            .prop_map(|seconds| Event::Advance { seconds }),
        2 => any::<u8>().prop_map(|call| Event::Vanish { call }),
        2 => (fate(), prop::bool::weighted(0.3))
            .prop_map(|(fate, reboot)| Event::Restart { fate, reboot }),
    ]
}

pub(crate) fn run(profile: Profile, events: &[Event]) {
    let mut bench = Bench::new(profile);
    bench.hold_jobs = true;
    bench.hold_persists = true;
    for event in events {
        happen(&mut bench, *event);
    }
    bench.hold_jobs = false;
    bench.hold_persists = false;
    bench.pump();
    for _ in 0..3 {
        bench.advance(secs(7200));
    }
    if !bench.missing.is_empty() {
        bench.restart(Fate::Succeed);
    }
    bench.check_nothing_leaked();
    let unfinished: Vec<_> = bench
        .view()
        .sets
        .into_iter()
        .filter(|set| set.status != SetStatus::Recovered)
        .collect();
    assert_eq!(unfinished, [], "{}", bench.story());
}

fn happen(bench: &mut Bench, event: Event) {
    match event {
        Event::Call { from, what } => {
            let request = request(bench, what);
            bench.send(if from == 0 { B } else { A }, request);
        }
        Event::Finish { job, fate } => {
            let jobs: Vec<JobId> = bench.jobs.keys().copied().collect();
            if let Some(job) = jobs.get(usize::from(job) % jobs.len().max(1)) {
                bench.finish(*job, fate);
            }
        }
        Event::Settle { good } => {
            if bench.persists() > 0 {
                bench.settle(good);
            }
        }
        Event::Advance { seconds } => bench.advance(secs(u64::from(seconds))),
        Event::Vanish { call } => {
            let calls: Vec<CallId> = bench.unanswered();
            if let Some(call) = calls.get(usize::from(call) % calls.len().max(1)) {
                bench.vanish(*call);
            }
        }
        Event::Restart {
            fate,
            reboot: false,
        } => bench.restart(fate),
        Event::Restart { fate, reboot: true } => bench.reboot(fate),
    }
}

fn request(bench: &Bench, what: What) -> Request {
    let view = bench.view();
    let newest = view.sets.iter().max_by_key(|set| set.id);
    let newest_id = newest.map_or(UNKNOWN_SET, |set| set.id);
    let set = |which: Ref| match which {
        Ref::Fitting => newest,
        Ref::Nth(number) => view.sets.get(usize::from(number) % view.sets.len().max(1)),
        Ref::Unknown | Ref::Null => None,
    };
    let id = |which: Ref| set(which).map_or(UNKNOWN_SET, |set| set.id);
    let wait = |seconds: u16| Duration::from_secs(u64::from(seconds));
    match what {
        What::Next(seconds) => next(newest, view.context.is_set, wait(seconds)),
        What::SetContext => set_context(0x0040_0009),
        What::Start => start(),
        What::Add(name) => add(newest_id, text(name)),
        What::Prepare(seconds) => prepare(newest_id, wait(seconds)),
        What::Commit(seconds) => commit(newest_id, wait(seconds)),
        What::Expose(seconds) => expose(newest_id, wait(seconds)),
        What::Recovery(which) => recovery(id(which)),
        What::Abort(which) => abort(id(which)),
        What::Copied(name) => copied(text(name)),
        What::Mapping(which) => {
            let (copy, name) = mapped(set(which));
            mapping(id(which), copy, name)
        }
        What::Delete(which) => {
            let (copy, name) = mapped(set(which));
            delete(id(which), copy, name)
        }
    }
}

fn next(newest: Option<&SetView>, context: bool, wait: Duration) -> Request {
    let begin = if context {
        start()
    } else {
        set_context(0x0040_0009)
    };
    let Some(set) = newest else {
        return begin;
    };
    match set.status {
        SetStatus::Started => add(set.id, text(Name::Share(0, 0))),
        SetStatus::Added if wait.as_secs().is_multiple_of(3) => prepare(set.id, wait),
        SetStatus::Added if wait.as_secs().is_multiple_of(4) => {
            add(set.id, text(Name::Share(2, 0)))
        }
        SetStatus::Added | SetStatus::CreationInProgress => commit(set.id, wait),
        SetStatus::Committed => expose(set.id, wait),
        SetStatus::Exposed => recovery(set.id),
        SetStatus::Recovered => begin,
    }
}

fn mapped(set: Option<&SetView>) -> (ShadowCopyId, String) {
    set.and_then(|set| set.copies.last())
        .and_then(|copy| Some((copy.id, copy.mappings.last()?.share_name_unc.clone())))
        .unwrap_or((UNKNOWN_COPY, text(Name::Absent)))
}

fn text(name: Name) -> String {
    match name {
        Name::Share(number, _) => format!(r"\\FILER\{}", SHARES[usize::from(number)].0),
        _ => r"\\FILER\absent".to_owned(),
    }
}
