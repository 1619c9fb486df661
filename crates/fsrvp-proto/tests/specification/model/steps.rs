//! What may happen, and how likely it is.

use crate::support::world::Fate;
use fsrvp_proto::job::FailureKind;
use proptest::prelude::*;

/// A name in a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name {
    /// One of the world's shares, in one of the forms that mean the same.
    Share(u8, u8),
    /// A share that the set of the call has mapped, if any.
    Mapped(u8, u8),
    /// The share exposed for a copy of some set.
    Exposed(u8),
    Absent,
    Foreign,
    Empty,
    Malformed,
}

/// A set or a copy in a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ref {
    /// The newest set; its copy that has the share.
    Fitting,
    Nth(u8),
    Unknown,
    Null,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum CallSpec {
    /// The call that comes next in a good client's life, with this time-out in seconds.
    Next(u16),
    Version,
    SetContext(u32),
    Start {
        null: bool,
    },
    Add(Ref, Name),
    Prepare(Ref, u16),
    Commit(Ref, u16),
    Expose(Ref, u16),
    Recovery(Ref),
    Abort(Ref),
    Supported(Name),
    Copied(Name),
    Mapping(Ref, Ref, Name, u8),
    Delete(Ref, Ref, Name),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Call {
        from: u8,
        call: CallSpec,
        /// The store cannot be written meanwhile.
        broken: bool,
        /// A look-up stays until a later step.
        linger: bool,
        /// What becomes of removals.
        removal: Fate,
    },
    /// The call that comes next in a good client's life, and its job ends well.
    Proceed {
        also: bool,
    },
    /// One of the running jobs ends.
    Finish {
        job: u8,
        fate: Fate,
        broken: bool,
    },
    Advance {
        seconds: u16,
        broken: bool,
    },
    Vanish {
        call: u8,
    },
    Restart {
        fate: Fate,
    },
    Reboot {
        fate: Fate,
    },
    /// The wall clock is set, by hours.
    Wall {
        hours: i8,
    },
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        12 => (0..4u8, 0..6u8).prop_map(|(share, form)| Name::Share(share, form)),
        2 => (4..10u8).prop_map(|share| Name::Share(share, 0)),
        1 => any::<u8>().prop_map(Name::Exposed),
        1 => Just(Name::Absent),
        1 => Just(Name::Foreign),
        1 => Just(Name::Empty),
        1 => Just(Name::Malformed),
    ]
}

/// Names for calls that ask for a mapping.
fn mapped() -> impl Strategy<Value = Name> {
    prop_oneof![
        5 => (any::<u8>(), 0..6u8).prop_map(|(share, form)| Name::Mapped(share, form)),
        2 => name(),
    ]
}

fn reference() -> impl Strategy<Value = Ref> {
    prop_oneof![
        12 => Just(Ref::Fitting),
        4 => any::<u8>().prop_map(Ref::Nth),
        1 => Just(Ref::Unknown),
        1 => Just(Ref::Null),
    ]
}

fn wait() -> impl Strategy<Value = u16> {
    prop_oneof![2 => Just(0), 4 => 1..90u16, 2 => 90..400u16, 1 => Just(3600)]
}

fn context() -> impl Strategy<Value = u32> {
    prop_oneof![
        8 => (
            prop::sample::select(vec![0x00, 0x09, 0x10, 0x19]),
            prop::sample::select(vec![0x00, 0x02, 0x0040_0000, 0x0040_0000]),
        )
            .prop_map(|(base, recovery)| base | recovery),
        1 => Just(0x0040_0002),
        1 => any::<u32>(),
    ]
}

fn call() -> impl Strategy<Value = CallSpec> {
    prop_oneof![
        30 => wait().prop_map(CallSpec::Next),
        1 => Just(CallSpec::Version),
        3 => context().prop_map(CallSpec::SetContext),
        2 => prop::bool::weighted(0.2).prop_map(|null| CallSpec::Start { null }),
        8 => (reference(), name()).prop_map(|(set, name)| CallSpec::Add(set, name)),
        4 => (reference(), wait()).prop_map(|(set, wait)| CallSpec::Prepare(set, wait)),
        5 => (reference(), wait()).prop_map(|(set, wait)| CallSpec::Commit(set, wait)),
        4 => (reference(), wait()).prop_map(|(set, wait)| CallSpec::Expose(set, wait)),
        3 => reference().prop_map(CallSpec::Recovery),
        2 => reference().prop_map(CallSpec::Abort),
        2 => name().prop_map(CallSpec::Supported),
        3 => name().prop_map(CallSpec::Copied),
        4 => (reference(), reference(), mapped(), prop_oneof![9 => Just(1u8), 1 => any::<u8>()])
            .prop_map(|(set, copy, name, level)| CallSpec::Mapping(set, copy, name, level)),
        6 => (reference(), reference(), mapped())
            .prop_map(|(set, copy, name)| CallSpec::Delete(set, copy, name)),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        10 => Just(Fate::Succeed),
        3 => prop::sample::select(vec![
            FailureKind::NotFound,
            FailureKind::Unsupported,
            FailureKind::NoSpace,
            FailureKind::Deadline,
            FailureKind::Busy,
            FailureKind::Other,
        ])
        .prop_map(Fate::Fail),
        1 => Just(Fate::LostHalfDone),
        1 => Just(Fate::LostDone),
    ]
}

fn removal() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Succeed),
        1 => Just(Fate::Fail(FailureKind::Other)),
        1 => Just(Fate::FailCopies),
        1 => Just(Fate::FailShares),
    ]
}

fn crash() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Succeed),
        Just(Fate::LostHalfDone),
        Just(Fate::Fail(FailureKind::Lost)),
    ]
}

fn broken() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.06)
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..5u8, call(), broken(), prop::bool::weighted(0.15), removal()).prop_map(
            |(from, call, broken, linger, removal)| Step::Call {
                from, call, broken, linger, removal,
            }
        ),
        16 => any::<bool>().prop_map(|also| Step::Proceed { also }),
        18 => (any::<u8>(), fate(), broken())
            .prop_map(|(job, fate, broken)| Step::Finish { job, fate, broken }),
        8 => (
            prop_oneof![6 => 0..60u16, 3 => 60..185u16, 1 => 185..2000u16],
            broken(),
        )
            .prop_map(|(seconds, broken)| Step::Advance { seconds, broken }),
        2 => any::<u8>().prop_map(|call| Step::Vanish { call }),
        1 => crash().prop_map(|fate| Step::Restart { fate }),
        1 => crash().prop_map(|fate| Step::Reboot { fate }),
        1 => any::<i8>().prop_map(|hours| Step::Wall { hours }),
    ]
}
