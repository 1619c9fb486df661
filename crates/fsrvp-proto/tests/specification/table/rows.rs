//! What every operation answers in every state, row by row, from the text.
//!
//! `text` is the section of MS-FSRVP, `rule` the number of the rule on the project's protocol page
//! that decides it (0: none is needed, the text alone decides).

use Answer::{Absent, Nothing, Present};
use Next::{Same, To};
use Op as O;
use Profiles::{Both, Spec, Ws2012};
use State as S;
use Timer::{Keep, Off, Own, OwnOff, Start};
use fsrvp_idl::Status;

/// Where the server stands before the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing set, no set.
    Idle,
    /// Context set, no set.
    ContextSet,
    /// Set without shares.
    Started,
    /// One share added.
    Added,
    /// Added; a Prepare job runs, the wait for it has ended.
    Preparing,
    /// Added; Prepare has answered ZERO.
    Prepared,
    /// Added; the Prepare job succeeded after its wait had ended.
    PreparedLate,
    /// Added; the Prepare job failed (no space) after its wait had ended.
    PrepareFailedLate,
    /// CreationInProgress; the Commit job runs, the wait for it has ended.
    Creating,
    /// CreationInProgress; the Commit job succeeded after its wait had ended.
    CreatedLate,
    /// CreationInProgress; the Commit job failed (no space) after its wait had ended.
    CreateFailedLate,
    /// Committed.
    Committed,
    /// Committed; an Expose job runs, the wait for it has ended.
    Exposing,
    /// Committed; the Expose job succeeded after its wait had ended.
    ExposedLate,
    /// Committed; the Expose job failed (base share gone) after its wait had ended.
    ExposeFailedLate,
    /// Exposed.
    Exposed,
    /// Exposed, and a newer context has been set (only where Exposed counts as finished).
    ExposedAside,
    /// Recovered.
    Recovered,
    /// Recovered, and a newer context has been set.
    RecoveredContext,
}

/// The calls. Unless the name says otherwise: from the address that set the context, on the set
/// and the copy of the state (ids that nobody has where the state has no set), with the name of
/// the share that was added, in good form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Version,
    SetContext,
    SetContextOtherAddress,
    SetContextInvalid,
    Start,
    StartOtherAddress,
    StartNull,
    /// Another share on another volume.
    Add,
    AddNullClientId,
    AddOtherAddress,
    AddSameShare,
    AddSameVolume,
    AddUnknownSet,
    AddNullSet,
    AddEmptyName,
    AddMalformedName,
    AddLongName,
    AddTrailingComponent,
    AddUnknownShare,
    AddUnknownShareUnknownSet,
    AddUnknownShareNullSet,
    AddUnsupported,
    AddUnsupportedUnknownSet,
    AddForeignHost,
    AddNameTooLongToExpose,
    Prepare,
    PrepareNoWait,
    PrepareUnknownSet,
    PrepareNullSet,
    Commit,
    CommitNoWait,
    CommitUnknownSet,
    CommitNullSet,
    Expose,
    ExposeNoWait,
    ExposeUnknownSet,
    ExposeNullSet,
    Recovery,
    RecoveryOtherAddress,
    RecoveryUnknownSet,
    RecoveryNullSet,
    Abort,
    AbortOtherAddress,
    AbortUnknownSet,
    AbortNullSet,
    Supported,
    SupportedUnknownShare,
    SupportedUnsupported,
    SupportedForeignHost,
    SupportedEmptyName,
    SupportedNameTooLongToExpose,
    Copied,
    CopiedSameVolume,
    CopiedOtherVolume,
    CopiedUnsupported,
    CopiedUnknownShare,
    CopiedForeignHost,
    CopiedEmptyName,
    Mapping,
    MappingOtherForm,
    MappingLevelZero,
    MappingLevelZeroUnknownSet,
    MappingUnknownSet,
    MappingUnknownCopy,
    MappingOtherShare,
    MappingForeignHost,
    MappingNullSet,
    MappingNullCopy,
    MappingEmptyName,
    Delete,
    DeleteOtherForm,
    DeleteUnknownSet,
    DeleteUnknownCopy,
    DeleteOtherShare,
    DeleteForeignHost,
    DeleteNullSet,
    DeleteNullCopy,
    DeleteEmptyName,
}

/// Profiles that a row speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profiles {
    Both,
    Spec,
    Ws2012,
}

/// Where the server stands after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Same,
    To(State),
}

/// What the call does to the Message Sequence Timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The old deadline, or none if none was.
    Keep,
    /// Starts it with this many seconds.
    Start(u64),
    /// Starts the deadline of the set alone and leaves the one of the newer context.
    Own(u64),
    /// The set's own deadline goes with it; the one of the newer context stays.
    OwnOff,
    /// Stops it.
    Off,
}

/// Further contents of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Nothing,
    /// IsPathShadowCopied: TRUE, with the compatibility of the store.
    Present,
    /// IsPathShadowCopied: FALSE, compatibility 0.
    Absent,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) text: &'static str,
    pub(crate) rule: u8,
    pub(crate) profiles: Profiles,
    pub(crate) ops: &'static [Op],
    pub(crate) states: &'static [State],
    pub(crate) status: Status,
    pub(crate) next: Next,
    pub(crate) timer: Timer,
    pub(crate) answer: Answer,
}

#[allow(clippy::too_many_arguments)]
const fn row(
    text: &'static str,
    rule: u8,
    profiles: Profiles,
    ops: &'static [Op],
    states: &'static [State],
    status: Status,
    next: Next,
    timer: Timer,
) -> Row {
    let answer = Nothing;
    Row {
        text,
        rule,
        profiles,
        ops,
        states,
        status,
        next,
        timer,
        answer,
    }
}

/// A refused call: nothing changes, and refused calls never touch the timer (rule 8).
const fn refused(
    text: &'static str,
    rule: u8,
    profiles: Profiles,
    ops: &'static [Op],
    states: &'static [State],
    status: Status,
) -> Row {
    row(text, rule, profiles, ops, states, status, Same, Keep)
}

/// IsPathShadowCopied.
const fn copied(rule: u8, ops: &'static [Op], states: &'static [State], answer: Answer) -> Row {
    let base = refused("3.1.4.10", rule, Both, ops, states, Status::ZERO);
    Row { answer, ..base }
}

pub(crate) const ALL: &[State] = &[
    S::Idle, S::ContextSet, S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate,
    S::PrepareFailedLate, S::Creating, S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing,
    S::ExposedLate, S::ExposeFailedLate, S::Exposed, S::ExposedAside, S::Recovered, S::RecoveredContext,
];

/// States without a set: every set id is unknown there.
const NO_SET: &[State] = &[S::Idle, S::ContextSet];
/// Status "Added", whatever Prepare has done.
const ADDED: &[State] = &[S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate];
/// Status "CreationInProgress".
const CREATION: &[State] = &[S::Creating, S::CreatedLate, S::CreateFailedLate];
const EXPOSED: &[State] = &[S::Exposed, S::ExposedAside];
const RECOVERED: &[State] = &[S::Recovered, S::RecoveredContext];
/// From Started to Committed.
const IN_CREATION: &[State] = &[
    S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate, S::Creating,
    S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate, S::ExposeFailedLate,
];
const FROM_COMMITTED: &[State] = &[
    S::Committed, S::Exposing, S::ExposedLate, S::ExposeFailedLate, S::Exposed, S::ExposedAside, S::Recovered,
    S::RecoveredContext,
];
const TO_CREATION: &[State] = &[
    S::Idle, S::ContextSet, S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate,
    S::PrepareFailedLate, S::Creating, S::CreatedLate, S::CreateFailedLate,
];
const NOT_EXPOSED_YET: &[State] = IN_CREATION;
const SETS_OUTSIDE_ADDED: &[State] = &[
    S::Started, S::Creating, S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate,
    S::ExposeFailedLate, S::Exposed, S::ExposedAside, S::Recovered, S::RecoveredContext,
];
const SETS_OUTSIDE_COMMIT: &[State] = &[
    S::Started, S::Committed, S::Exposing, S::ExposedLate, S::ExposeFailedLate, S::Exposed, S::ExposedAside,
    S::Recovered, S::RecoveredContext,
];
const SETS_OUTSIDE_COMMITTED: &[State] = &[
    S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate, S::Creating,
    S::CreatedLate, S::CreateFailedLate, S::Exposed, S::ExposedAside, S::Recovered, S::RecoveredContext,
];
const SETS_OUTSIDE_EXPOSED: &[State] = &[
    S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate, S::Creating,
    S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate, S::ExposeFailedLate,
    S::Recovered, S::RecoveredContext,
];
/// Sets that SetContext of the same client throws away.
const REPLACED_SPEC: &[State] = &[
    S::ContextSet, S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate,
    S::Creating, S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate,
    S::ExposeFailedLate, S::Exposed,
];
const REPLACED_WS2012: &[State] = &[
    S::ContextSet, S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate,
    S::Creating, S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate,
    S::ExposeFailedLate,
];
const CONTEXT_SET_SPEC: &[State] = &[
    S::ContextSet, S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate,
    S::Creating, S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate,
    S::ExposeFailedLate, S::Exposed, S::RecoveredContext,
];
const CONTEXT_SET_WS2012: &[State] = &[
    S::ContextSet, S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate,
    S::Creating, S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate,
    S::ExposeFailedLate, S::ExposedAside, S::RecoveredContext,
];
const BUSY_SPEC: &[State] = &[
    S::Started, S::Added, S::Preparing, S::Prepared, S::PreparedLate, S::PrepareFailedLate, S::Creating,
    S::CreatedLate, S::CreateFailedLate, S::Committed, S::Exposing, S::ExposedLate, S::ExposeFailedLate,
    S::Exposed,
];

const UNKNOWN_SET_OPS: &[Op] = &[
    O::AddUnknownSet, O::PrepareUnknownSet, O::CommitUnknownSet, O::ExposeUnknownSet, O::RecoveryUnknownSet,
    O::AbortUnknownSet, O::MappingUnknownSet,
];
const STARTS: &[Op] = &[O::Start, O::StartOtherAddress];
const ADDS: &[Op] = &[O::Add, O::AddNullClientId, O::AddOtherAddress];
const ADDS_KNOWN: &[Op] = &[O::Add, O::AddNullClientId, O::AddOtherAddress, O::AddSameShare, O::AddSameVolume];
const RECOVERIES: &[Op] = &[O::Recovery, O::RecoveryOtherAddress];
const ABORTS: &[Op] = &[O::Abort, O::AbortOtherAddress];
const MAPPINGS: &[Op] = &[O::Mapping, O::MappingOtherForm];
const MAPPINGS_BAD_COPY_OR_SHARE: &[Op] = &[O::MappingUnknownCopy, O::MappingOtherShare, O::MappingForeignHost];
const MAPPINGS_BY_SET: &[Op] = &[
    O::Mapping, O::MappingOtherForm, O::MappingUnknownCopy, O::MappingOtherShare, O::MappingForeignHost,
];
const DELETES: &[Op] = &[O::Delete, O::DeleteOtherForm];
const DELETES_BY_SET: &[Op] = &[
    O::Delete, O::DeleteOtherForm, O::DeleteUnknownCopy, O::DeleteOtherShare, O::DeleteForeignHost,
];

const ZERO: Status = Status::ZERO;
const BAD_STATE: Status = Status::FSRVP_E_BAD_STATE;
const INVALIDARG: Status = Status::E_INVALIDARG;
const MISMATCH: Status = Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH;
const IN_PROGRESS: Status = Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS;
const NOT_FOUND: Status = Status::FSRVP_E_OBJECT_NOT_FOUND;
const EXISTS: Status = Status::FSRVP_E_OBJECT_ALREADY_EXISTS;
const NOT_SUPPORTED: Status = Status::FSRVP_E_NOT_SUPPORTED;
const UNSUPPORTED_CONTEXT: Status = Status::FSRVP_E_UNSUPPORTED_CONTEXT;
const NO_SPACE: Status = Status::VSS_E_INSUFFICIENT_STORAGE;
const WAIT_TIMEOUT: Status = Status::FSRVP_E_WAIT_TIMEOUT;
const COMMIT_TIMEOUT: Status = Status::FSSAGENT_E_TIMEOUT;
const NOT_EXPOSED: Status = Status::FSRVP_E_NOT_EXPOSED;

/// The table.
pub(crate) const ROWS: &[Row] = &[
    // GetSupportedVersion: legal anywhere, touches nothing.
    refused("3.1.4.1", 0, Both, &[O::Version], ALL, ZERO),

    // SetContext: "If the Context parameter contains an invalid value ... UNSUPPORTED_CONTEXT".
    refused("3.1.4.2", 1, Both, &[O::SetContextInvalid], ALL, UNSUPPORTED_CONTEXT),
    // "Otherwise, if ContextSet is FALSE": from any address, 180 s.
    row("3.1.4.2", 3, Both, &[O::SetContext, O::SetContextOtherAddress], &[S::Idle], ZERO, To(S::ContextSet), Start(180)),
    row("3.1.4.2", 3, Both, &[O::SetContext, O::SetContextOtherAddress], &[S::Recovered], ZERO, To(S::RecoveredContext), Start(180)),
    row("3.1.4.2", 15, Ws2012, &[O::SetContext, O::SetContextOtherAddress], &[S::Exposed], ZERO, To(S::ExposedAside), Start(180)),
    // Same address: "Remove the ShadowCopySet ... not equal to Recovered", then as above.
    row("3.1.4.2", 3, Spec, &[O::SetContext], REPLACED_SPEC, ZERO, To(S::ContextSet), Start(180)),
    row("3.1.4.2", 3, Ws2012, &[O::SetContext], REPLACED_WS2012, ZERO, To(S::ContextSet), Start(180)),
    row("3.1.4.2", 3, Both, &[O::SetContext], &[S::RecoveredContext], ZERO, Same, Start(180)),
    row("3.1.4.2", 15, Ws2012, &[O::SetContext], &[S::ExposedAside], ZERO, Same, Start(180)),
    // Other address while ContextSet.
    refused("3.1.4.2", 3, Spec, &[O::SetContextOtherAddress], CONTEXT_SET_SPEC, IN_PROGRESS),
    refused("3.1.4.2", 3, Ws2012, &[O::SetContextOtherAddress], CONTEXT_SET_WS2012, IN_PROGRESS),

    // StartShadowCopySet: no context, then busy, then the NULL client id.
    refused("3.1.4.3", 0, Both, &[O::Start, O::StartOtherAddress, O::StartNull], &[S::Idle, S::Recovered], BAD_STATE),
    refused("3.1.4.3", 15, Ws2012, &[O::Start, O::StartOtherAddress, O::StartNull], &[S::Exposed], BAD_STATE),
    refused("3.1.4.3", 2, Spec, &[O::Start, O::StartOtherAddress, O::StartNull], BUSY_SPEC, IN_PROGRESS),
    refused("3.1.4.3", 2, Ws2012, &[O::Start, O::StartOtherAddress, O::StartNull], IN_CREATION, IN_PROGRESS),
    row("3.1.4.3", 2, Both, STARTS, &[S::ContextSet, S::RecoveredContext], ZERO, To(S::Started), Start(180)),
    row("3.1.4.3", 15, Ws2012, STARTS, &[S::ExposedAside], ZERO, To(S::Started), Start(180)),
    refused("7 <7>", 0, Both, &[O::StartNull], &[S::ContextSet, S::RecoveredContext], INVALIDARG),
    refused("7 <7>", 0, Ws2012, &[O::StartNull], &[S::ExposedAside], INVALIDARG),

    // An unknown set id, in every method but DeleteShareMapping.
    refused("3.1.4", 15, Spec, UNKNOWN_SET_OPS, ALL, MISMATCH),
    refused("3.1.4", 15, Ws2012, UNKNOWN_SET_OPS, ALL, INVALIDARG),
    // NULL ids and empty names come before the method's own checks.
    refused("3.1.4", 0, Both, &[
        O::AddNullSet, O::AddEmptyName, O::AddUnknownShareNullSet, O::PrepareNullSet, O::CommitNullSet,
        O::ExposeNullSet, O::RecoveryNullSet, O::AbortNullSet, O::SupportedEmptyName, O::CopiedEmptyName,
        O::MappingNullSet, O::MappingNullCopy, O::MappingEmptyName, O::DeleteNullSet, O::DeleteNullCopy,
        O::DeleteEmptyName,
    ], ALL, INVALIDARG),

    // AddToShadowCopySet: the share first,
    refused("3.1.4.4", 0, Both, &[O::AddMalformedName, O::AddLongName, O::AddTrailingComponent], ALL, INVALIDARG),
    refused("3.1.4.4", 4, Both, &[O::AddUnknownShare, O::AddUnknownShareUnknownSet], ALL, NOT_FOUND),
    refused("3.1.4.4", 10, Both, &[O::AddForeignHost], ALL, NOT_FOUND),
    refused("3.1.4.4", 4, Both, &[O::AddUnsupported, O::AddUnsupportedUnknownSet, O::AddNameTooLongToExpose], ALL, NOT_SUPPORTED),
    // then the set,
    refused("3.1.4.4", 4, Spec, ADDS_KNOWN, NO_SET, MISMATCH),
    refused("3.1.4.4", 15, Ws2012, ADDS_KNOWN, NO_SET, INVALIDARG),
    // then its state,
    refused("3.1.4.4", 20, Both, ADDS_KNOWN, CREATION, BAD_STATE),
    refused("3.1.4.4", 4, Both, ADDS_KNOWN, FROM_COMMITTED, BAD_STATE),
    // then the volume: "OBJECT_ALREADY_EXISTS and start the Message Sequence Timer ... 180 seconds".
    row("3.1.4.4", 4, Both, ADDS_KNOWN, &[S::Started], ZERO, To(S::Added), Start(1800)),
    row("3.1.4.4", 4, Both, ADDS, ADDED, ZERO, Same, Start(1800)),
    row("3.1.4.4", 8, Both, &[O::AddSameShare], ADDED, EXISTS, Same, Start(180)),
    row("3.1.4.4", 5, Spec, &[O::AddSameVolume], ADDED, EXISTS, Same, Start(180)),
    row("3.1.4.4", 5, Ws2012, &[O::AddSameVolume], ADDED, ZERO, Same, Start(1800)),

    // PrepareShadowCopySet.
    refused("3.1.4.13", 15, Spec, &[O::Prepare, O::PrepareNoWait], NO_SET, MISMATCH),
    refused("3.1.4.13", 15, Ws2012, &[O::Prepare, O::PrepareNoWait], NO_SET, INVALIDARG),
    refused("3.1.4.13", 6, Both, &[O::Prepare, O::PrepareNoWait], SETS_OUTSIDE_ADDED, BAD_STATE),
    row("3.1.4.13", 6, Both, &[O::Prepare], &[S::Added, S::Preparing, S::Prepared, S::PreparedLate], ZERO, To(S::Prepared), Start(1800)),
    row("3.1.4.13", 6, Both, &[O::Prepare, O::PrepareNoWait], &[S::PrepareFailedLate], NO_SPACE, To(S::Added), Start(180)),
    row("3.1.4.13", 6, Both, &[O::PrepareNoWait], &[S::Added, S::Preparing, S::Prepared], WAIT_TIMEOUT, To(S::Preparing), Start(180)),
    row("3.1.4.13", 6, Both, &[O::PrepareNoWait], &[S::PreparedLate], ZERO, To(S::Prepared), Start(1800)),

    // CommitShadowCopySet: "not Added or CreationinProgress ... BAD_STATE".
    refused("3.1.4.5", 15, Spec, &[O::Commit, O::CommitNoWait], NO_SET, MISMATCH),
    refused("3.1.4.5", 15, Ws2012, &[O::Commit, O::CommitNoWait], NO_SET, INVALIDARG),
    refused("3.1.4.5", 0, Both, &[O::Commit, O::CommitNoWait], SETS_OUTSIDE_COMMIT, BAD_STATE),
    row("3.1.4.5", 6, Both, &[O::Commit], ADDED, ZERO, To(S::Committed), Start(180)),
    row("3.1.4.5", 6, Both, &[O::Commit], &[S::Creating, S::CreatedLate], ZERO, To(S::Committed), Start(180)),
    row("3.1.4.5", 6, Both, &[O::Commit, O::CommitNoWait], &[S::CreateFailedLate], NO_SPACE, To(S::Added), Start(180)),
    row("3.1.4.5", 6, Both, &[O::CommitNoWait], ADDED, COMMIT_TIMEOUT, To(S::Creating), Start(180)),
    row("3.1.4.5", 6, Both, &[O::CommitNoWait], &[S::Creating], COMMIT_TIMEOUT, Same, Start(180)),
    row("3.1.4.5", 6, Both, &[O::CommitNoWait], &[S::CreatedLate], ZERO, To(S::Committed), Start(180)),

    // ExposeShadowCopySet.
    refused("3.1.4.6", 15, Spec, &[O::Expose, O::ExposeNoWait], NO_SET, MISMATCH),
    refused("3.1.4.6", 15, Ws2012, &[O::Expose, O::ExposeNoWait], NO_SET, INVALIDARG),
    refused("3.1.4.6", 0, Both, &[O::Expose, O::ExposeNoWait], SETS_OUTSIDE_COMMITTED, BAD_STATE),
    row("3.1.4.6", 6, Both, &[O::Expose], &[S::Committed, S::Exposing, S::ExposedLate], ZERO, To(S::Exposed), Start(180)),
    row("3.1.4.6", 6, Both, &[O::Expose, O::ExposeNoWait], &[S::ExposeFailedLate], NOT_FOUND, To(S::Committed), Start(180)),
    row("3.1.4.6", 6, Both, &[O::ExposeNoWait], &[S::Committed, S::Exposing], WAIT_TIMEOUT, To(S::Exposing), Start(180)),
    row("3.1.4.6", 6, Both, &[O::ExposeNoWait], &[S::ExposedLate], ZERO, To(S::Exposed), Start(180)),

    // RecoveryCompleteShadowCopySet: "Recovered, set ContextSet to FALSE".
    refused("3.1.4.7", 15, Spec, RECOVERIES, NO_SET, MISMATCH),
    refused("3.1.4.7", 15, Ws2012, RECOVERIES, NO_SET, INVALIDARG),
    refused("3.1.4.7", 0, Both, RECOVERIES, SETS_OUTSIDE_EXPOSED, BAD_STATE),
    row("3.1.4.7", 12, Both, RECOVERIES, &[S::Exposed], ZERO, To(S::Recovered), Off),
    row("3.1.4.7", 15, Ws2012, RECOVERIES, &[S::ExposedAside], ZERO, To(S::RecoveredContext), OwnOff),

    // AbortShadowCopySet.
    refused("3.1.4.8", 15, Spec, ABORTS, NO_SET, MISMATCH),
    refused("3.1.4.8", 15, Ws2012, ABORTS, NO_SET, INVALIDARG),
    row("3.1.4.8", 13, Both, ABORTS, IN_CREATION, ZERO, To(S::Idle), Off),
    row("3.1.4.8", 13, Both, ABORTS, &[S::Exposed], ZERO, To(S::Idle), Off),
    row("3.1.4.8", 15, Ws2012, ABORTS, &[S::ExposedAside], ZERO, To(S::ContextSet), OwnOff),
    refused("3.1.4.8", 13, Both, ABORTS, RECOVERED, BAD_STATE),

    // IsPathSupported.
    refused("3.1.4.9", 4, Both, &[O::Supported], ALL, ZERO),
    refused("3.1.4.9", 10, Both, &[O::SupportedUnknownShare, O::SupportedForeignHost], ALL, NOT_FOUND),
    refused("3.1.4.9", 4, Both, &[O::SupportedUnsupported, O::SupportedNameTooLongToExpose], ALL, NOT_SUPPORTED),

    // IsPathShadowCopied: "Committed, Exposed or Recovered", by volume.
    copied(16, &[O::Copied, O::CopiedSameVolume], TO_CREATION, Absent),
    copied(16, &[O::Copied, O::CopiedSameVolume], FROM_COMMITTED, Present),
    copied(16, &[O::CopiedOtherVolume, O::CopiedUnsupported], ALL, Absent),
    refused("3.1.4.10", 10, Both, &[O::CopiedUnknownShare, O::CopiedForeignHost], ALL, NOT_FOUND),

    // GetShareMapping: level, set, state, copy, share.
    refused("3.1.4.11", 9, Both, &[O::MappingLevelZero, O::MappingLevelZeroUnknownSet], ALL, INVALIDARG),
    refused("3.1.4.11", 15, Spec, MAPPINGS_BY_SET, NO_SET, MISMATCH),
    refused("3.1.4.11", 15, Ws2012, MAPPINGS_BY_SET, NO_SET, INVALIDARG),
    refused("3.1.4.11", 9, Spec, MAPPINGS_BY_SET, NOT_EXPOSED_YET, BAD_STATE),
    refused("7 <10>", 9, Ws2012, MAPPINGS_BY_SET, NOT_EXPOSED_YET, NOT_EXPOSED),
    refused("3.1.4.11", 9, Both, MAPPINGS_BAD_COPY_OR_SHARE, EXPOSED, INVALIDARG),
    row("3.1.4.11", 9, Both, MAPPINGS, &[S::Exposed], ZERO, Same, Start(1800)),
    row("3.1.4.11", 15, Ws2012, MAPPINGS, &[S::ExposedAside], ZERO, Same, Own(1800)),
    refused("3.1.4.11", 9, Spec, MAPPINGS_BY_SET, RECOVERED, BAD_STATE),
    refused("3.1.4.11", 9, Ws2012, MAPPINGS, RECOVERED, ZERO),
    refused("3.1.4.11", 9, Ws2012, MAPPINGS_BAD_COPY_OR_SHARE, RECOVERED, INVALIDARG),

    // DeleteShareMapping: set, state, copy, share; unknown is OBJECT_NOT_FOUND.
    refused("3.1.4.12", 14, Both, &[O::DeleteUnknownSet], ALL, NOT_FOUND),
    refused("3.1.4.12", 14, Both, DELETES_BY_SET, NO_SET, NOT_FOUND),
    refused("3.1.4.12", 14, Both, DELETES_BY_SET, NOT_EXPOSED_YET, BAD_STATE),
    refused("3.1.4.12", 14, Spec, &[O::DeleteUnknownCopy, O::DeleteOtherShare, O::DeleteForeignHost], EXPOSED, NOT_FOUND),
    refused("3.1.4.12", 14, Spec, &[O::DeleteUnknownCopy, O::DeleteOtherShare, O::DeleteForeignHost], RECOVERED, NOT_FOUND),
    refused("3.1.4.12", 14, Ws2012, &[O::DeleteUnknownCopy, O::DeleteOtherShare, O::DeleteForeignHost], EXPOSED, INVALIDARG),
    refused("3.1.4.12", 14, Ws2012, &[O::DeleteUnknownCopy, O::DeleteOtherShare, O::DeleteForeignHost], RECOVERED, INVALIDARG),
    // The last mapping ends the set; of an Exposed set like Abort, of a Recovered one by itself.
    row("3.1.4.12", 14, Both, DELETES, &[S::Exposed], ZERO, To(S::Idle), Off),
    row("3.1.4.12", 15, Ws2012, DELETES, &[S::ExposedAside], ZERO, To(S::ContextSet), OwnOff),
    row("3.1.4.12", 14, Both, DELETES, &[S::Recovered], ZERO, To(S::Idle), Keep),
    row("3.1.4.12", 14, Both, DELETES, &[S::RecoveredContext], ZERO, To(S::ContextSet), Keep),
];

/// All operations, for the check that the table is complete.
pub(crate) const OPS: &[Op] = &[
    O::Version, O::SetContext, O::SetContextOtherAddress, O::SetContextInvalid, O::Start, O::StartOtherAddress,
    O::StartNull, O::Add, O::AddNullClientId, O::AddOtherAddress, O::AddSameShare, O::AddSameVolume,
    O::AddUnknownSet, O::AddNullSet, O::AddEmptyName, O::AddMalformedName, O::AddLongName,
    O::AddTrailingComponent, O::AddUnknownShare, O::AddUnknownShareUnknownSet, O::AddUnknownShareNullSet,
    O::AddUnsupported, O::AddUnsupportedUnknownSet, O::AddForeignHost, O::AddNameTooLongToExpose, O::Prepare,
    O::PrepareNoWait, O::PrepareUnknownSet, O::PrepareNullSet, O::Commit, O::CommitNoWait, O::CommitUnknownSet,
    O::CommitNullSet, O::Expose, O::ExposeNoWait, O::ExposeUnknownSet, O::ExposeNullSet, O::Recovery,
    O::RecoveryOtherAddress, O::RecoveryUnknownSet, O::RecoveryNullSet, O::Abort, O::AbortOtherAddress,
    O::AbortUnknownSet, O::AbortNullSet, O::Supported, O::SupportedUnknownShare, O::SupportedUnsupported,
    O::SupportedForeignHost, O::SupportedEmptyName, O::SupportedNameTooLongToExpose, O::Copied,
    O::CopiedSameVolume, O::CopiedOtherVolume, O::CopiedUnsupported, O::CopiedUnknownShare,
    O::CopiedForeignHost, O::CopiedEmptyName, O::Mapping, O::MappingOtherForm, O::MappingLevelZero,
    O::MappingLevelZeroUnknownSet, O::MappingUnknownSet, O::MappingUnknownCopy, O::MappingOtherShare,
    O::MappingForeignHost, O::MappingNullSet, O::MappingNullCopy, O::MappingEmptyName, O::Delete,
    O::DeleteOtherForm, O::DeleteUnknownSet, O::DeleteUnknownCopy, O::DeleteOtherShare, O::DeleteForeignHost,
    O::DeleteNullSet, O::DeleteNullCopy, O::DeleteEmptyName,
];
