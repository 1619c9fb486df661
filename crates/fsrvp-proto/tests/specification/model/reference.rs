//! The reference model: the protocol rules as plain code, one step at a time.
//!
//! The model is told what was called, which job ended how, and how time went. It says which calls
//! are answered now and with what, and where the server stands afterwards. The rules are cited by
//! the numbers of the protocol page.

mod methods;
mod parts;

use fsrvp_idl::{Request, ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::{CallId, Profile, SetStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

pub(crate) const SHORT: Duration = Duration::from_secs(180);
pub(crate) const LONG: Duration = Duration::from_secs(1800);
const MAX_WAIT: Duration = Duration::from_secs(1800);
const REPLY_LIMIT: Duration = Duration::from_secs(170);
/// What a store that cannot be written becomes (the page's list of codes).
pub(crate) const STORE_FAILED: Status = Status::VSS_E_UNEXPECTED_PROVIDER_ERROR;

/// Codes for what does not end within 170 s.
const TOO_LONG: &[Status] = &[
    Status::FSRVP_E_WAIT_TIMEOUT,
    Status::FSRVP_E_WAIT_FAILED,
    Status::VSS_E_UNEXPECTED_PROVIDER_ERROR,
];

/// A point of time, or unknown: the rules leave it open and the agent's choice is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    None,
    At(Duration),
    Open,
}

/// The work of one method on a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Idle,
    /// Waits for the Prepare job before it starts.
    Queued,
    Running,
    /// Ended while nobody waited; the next call returns it.
    Done(Result<(), Status>),
    /// As Done, of a Prepare that a Commit has made use of since: the rules leave open whether the
    /// next Prepare returns it or starts anew.
    Used(Result<(), Status>),
}

#[derive(Debug, Clone)]
pub(crate) struct MappedShare {
    pub(crate) given: String,
    pub(crate) share: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) id: ShadowCopyId,
    pub(crate) volume: String,
    pub(crate) created: u64,
    pub(crate) shares: Vec<MappedShare>,
}

#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) status: SetStatus,
    pub(crate) context: u32,
    pub(crate) copies: Vec<Copy>,
    pub(crate) prepare: Work,
    pub(crate) commit: Work,
    pub(crate) expose: Work,
    pub(crate) seal: Work,
    /// Rule 15: the own deadline of an Exposed set under ws2012.
    pub(crate) deadline: Deadline,
}

/// Methods that wait for a job of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Prepare,
    Commit,
    Expose,
    Seal,
}

/// Why a call is unanswered.
#[derive(Debug, Clone)]
pub(crate) enum Pending {
    /// The share is being looked up.
    Lookup { request: Request, until: Duration },
    /// A job of the set is waited for.
    Wait {
        method: Method,
        set: ShadowCopySetId,
        until: Duration,
    },
}

/// What the share that a call names is, as far as the model knows the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// Empty: counts as NULL.
    Empty,
    /// Not `\\host\share`.
    Malformed,
    /// Another host.
    Foreign,
    /// A share of ours, by its folded name.
    Share(String),
}

/// What looking a share up finds.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Volume { volume: String, compatibility: i32 },
    Failure(Status),
}

/// A call that must have been answered in this step, and with one of these.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) call: CallId,
    pub(crate) allowed: Vec<Status>,
    /// IsPathShadowCopied's answer.
    pub(crate) present: Option<(bool, i32)>,
    pub(crate) at: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) profile: Profile,
    pub(crate) now: Duration,
    pub(crate) context: Option<u32>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) retries: u32,
    pub(crate) sets: BTreeMap<ShadowCopySetId, Set>,
    pub(crate) timer: Deadline,
    pub(crate) calls: BTreeMap<CallId, Pending>,
    /// The exposed shares that there are, folded: all are ours.
    pub(crate) exposed: BTreeSet<String>,
    /// Calls of this step whose reply is due.
    pub(crate) due: Vec<Due>,
    /// Commits of the store fail in this step.
    pub(crate) store_broken: bool,
}

/// What the agent answered in this step, where the model needs it: new ids, and which of two
/// allowed ways was taken.
pub(crate) trait Seen {
    fn new_set(&self, call: CallId) -> Option<ShadowCopySetId>;
    fn new_copy(&self, call: CallId) -> Option<ShadowCopyId>;
    /// Wall time of a copy, from the agent's table.
    fn created(&self, copy: ShadowCopyId) -> u64;
    /// A job of the set runs now.
    fn runs(&self, method: Method, set: ShadowCopySetId) -> bool;
    /// A job of a set that has gone still works on the volume.
    fn is_busy(&self, volume: &str) -> bool;
    /// A removal of this kind of artefact of the set has failed in this step.
    fn share_removal_failed(&self) -> Option<Status>;
    fn copy_removal_failed(&self) -> Option<Status>;
}

impl Model {
    pub(crate) fn new(profile: Profile, now: Duration) -> Self {
        Self {
            profile,
            now,
            context: None,
            address: None,
            retries: 0,
            sets: BTreeMap::new(),
            timer: Deadline::None,
            calls: BTreeMap::new(),
            exposed: BTreeSet::new(),
            due: Vec::new(),
            store_broken: false,
        }
    }

    // ---- calls

    pub(crate) fn call(
        &mut self,
        id: CallId,
        from: IpAddr,
        request: &Request,
        named: &Named,
        seen: &dyn Seen,
    ) {
        if null_argument(request) || *named == Named::Empty {
            return self.answer(id, Status::E_INVALIDARG);
        }
        match request {
            Request::GetSupportedVersion => self.answer(id, Status::ZERO),
            Request::SetContext { context } => self.set_context(id, from, *context),
            Request::StartShadowCopySet {
                client_shadow_copy_set_id,
            } => {
                self.start(id, client_shadow_copy_set_id.is_null(), seen);
            }
            Request::AddToShadowCopySet { .. }
            | Request::IsPathSupported { .. }
            | Request::IsPathShadowCopied { .. } => self.look_up(id, request, named),
            Request::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            } => {
                self.wait_for(
                    id,
                    Method::Prepare,
                    *shadow_copy_set_id,
                    millis(*timeout_ms),
                    seen,
                );
            }
            Request::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            } => {
                self.wait_for(
                    id,
                    Method::Commit,
                    *shadow_copy_set_id,
                    millis(*timeout_ms),
                    seen,
                );
            }
            Request::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            } => {
                self.wait_for(
                    id,
                    Method::Expose,
                    *shadow_copy_set_id,
                    millis(*timeout_ms),
                    seen,
                );
            }
            Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id } => {
                self.wait_for(id, Method::Seal, *shadow_copy_set_id, REPLY_LIMIT, seen);
            }
            Request::AbortShadowCopySet { shadow_copy_set_id } => {
                self.abort(id, *shadow_copy_set_id, seen);
            }
            Request::GetShareMapping {
                shadow_copy_id,
                shadow_copy_set_id,
                level,
                ..
            } => {
                self.share_mapping(id, *shadow_copy_set_id, *shadow_copy_id, named, *level);
            }
            Request::DeleteShareMapping {
                shadow_copy_set_id,
                shadow_copy_id,
                ..
            } => {
                self.delete(id, *shadow_copy_set_id, *shadow_copy_id, named, seen);
            }
        }
    }

    /// Rules 1, 3 and 15.
    fn set_context(&mut self, id: CallId, from: IpAddr, context: u32) {
        if !is_context(context) {
            return self.answer(id, Status::FSRVP_E_UNSUPPORTED_CONTEXT);
        }
        let Some(_) = self.context else {
            if self.store_broken {
                return self.answer(id, STORE_FAILED);
            }
            self.retries = 0;
            return self.context_is_set(id, from, context);
        };
        if self.address != Some(from) {
            return self.answer(id, Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS);
        }
        if self.store_broken {
            self.timer = self.open_timer();
            return self.answer(id, STORE_FAILED);
        }
        self.drop_current();
        self.retries += 1;
        if self.profile == Profile::Spec && self.retries > 5 {
            return self.answer(id, Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS);
        }
        self.context_is_set(id, from, context);
    }

    fn context_is_set(&mut self, id: CallId, from: IpAddr, context: u32) {
        self.context = Some(context);
        self.address = Some(from);
        self.timer = Deadline::At(self.now + SHORT);
        self.answer(id, Status::ZERO);
    }

    /// Section 3.1.4.3 and rule 0.
    fn start(&mut self, id: CallId, null: bool, seen: &dyn Seen) {
        let Some(context) = self.context else {
            return self.answer(id, Status::FSRVP_E_BAD_STATE);
        };
        if self.current().is_some() {
            return self.answer(id, Status::FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS);
        }
        if null {
            return self.answer(id, Status::E_INVALIDARG);
        }
        if self.store_broken {
            self.timer = self.open_timer();
            return self.answer(id, STORE_FAILED);
        }
        if let Some(new) = seen.new_set(id) {
            self.sets.insert(new, Set::new(context));
        }
        self.timer = Deadline::At(self.now + SHORT);
        self.answer(id, Status::ZERO);
    }

    /// Rules 4, 10 and 16: what is decided before the share is looked up.
    fn look_up(&mut self, id: CallId, request: &Request, named: &Named) {
        let copied = matches!(request, Request::IsPathShadowCopied { .. });
        match named {
            Named::Empty | Named::Malformed => self.answer(id, Status::E_INVALIDARG),
            Named::Foreign => self.answer(id, Status::FSRVP_E_OBJECT_NOT_FOUND),
            Named::Share(share) if self.is_exposed_share(share) && copied => {
                self.push(id, vec![Status::ZERO], Some((false, 0)));
            }
            Named::Share(share) if self.is_exposed_share(share) => {
                self.answer(id, Status::FSRVP_E_NOT_SUPPORTED);
            }
            Named::Share(_) => {
                let (request, until) = (request.clone(), self.now + REPLY_LIMIT);
                self.calls.insert(id, Pending::Lookup { request, until });
            }
        }
    }

    /// A look-up has ended.
    pub(crate) fn looked_up(&mut self, id: CallId, share: &str, found: &Found, seen: &dyn Seen) {
        let Some(Pending::Lookup { request, .. }) = self.calls.remove(&id) else {
            return; // It took longer than the call.
        };
        let not_supported = Status::FSRVP_E_NOT_SUPPORTED;
        match (&request, found) {
            (Request::IsPathShadowCopied { .. }, Found::Failure(status))
                if *status == not_supported =>
            {
                self.push(id, vec![Status::ZERO], Some((false, 0)));
            }
            (_, Found::Failure(status)) => self.answer(id, *status),
            (
                Request::IsPathShadowCopied { .. },
                Found::Volume {
                    volume,
                    compatibility,
                },
            ) => {
                let present = self
                    .sets
                    .values()
                    .filter(|set| set.status >= SetStatus::Committed)
                    .any(|set| set.copies.iter().any(|copy| copy.volume == *volume));
                let answer = if present {
                    (true, *compatibility)
                } else {
                    (false, 0)
                };
                self.push(id, vec![Status::ZERO], Some(answer));
            }
            (_, Found::Volume { .. }) if exposed_length(share) > 80 => {
                self.answer(id, not_supported);
            }
            (
                Request::AddToShadowCopySet {
                    shadow_copy_set_id,
                    share_name,
                    ..
                },
                Found::Volume { volume, .. },
            ) => self.add(id, *shadow_copy_set_id, share_name, share, volume, seen),
            (_, Found::Volume { .. }) => self.answer(id, Status::ZERO),
        }
    }

    /// Rules 4, 5 and 8: the share is there and can be copied.
    fn add(
        &mut self,
        id: CallId,
        set_id: ShadowCopySetId,
        given: &str,
        share: &str,
        volume: &str,
        seen: &dyn Seen,
    ) {
        let Some(set) = self.sets.get(&set_id) else {
            return self.answer(id, self.unknown_set());
        };
        if !matches!(set.status, SetStatus::Started | SetStatus::Added) {
            return self.answer(id, Status::FSRVP_E_BAD_STATE);
        }
        let same_share = set
            .copies
            .iter()
            .any(|copy| copy.shares.iter().any(|mapped| mapped.share == share));
        let same_volume = set.copies.iter().position(|copy| copy.volume == volume);
        if same_share || (same_volume.is_some() && self.profile == Profile::Spec) {
            self.restart_timer(SHORT);
            return self.answer(id, Status::FSRVP_E_OBJECT_ALREADY_EXISTS);
        }
        // Rule 18: "the volume refuses until the old job has ended".
        if seen.is_busy(volume) {
            self.restart_timer(SHORT);
            return self.answer(id, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
        }
        if self.store_broken {
            self.timer = self.open_timer();
            return self.answer(id, STORE_FAILED);
        }
        let mapped = MappedShare {
            given: given.to_owned(),
            share: share.to_owned(),
        };
        if let (Some(new), Some(set)) = (seen.new_copy(id), self.sets.get_mut(&set_id)) {
            set.status = SetStatus::Added;
            match same_volume.and_then(|place| set.copies.get_mut(place)) {
                Some(copy) => {
                    assert_eq!(copy.id, new, "rule 5: one ShadowCopyId for one volume");
                    copy.shares.push(mapped);
                }
                None => {
                    assert!(set.copies.iter().all(|copy| copy.id != new), "{new} twice");
                    set.copies.push(Copy {
                        id: new,
                        volume: volume.to_owned(),
                        created: seen.created(new),
                        shares: vec![mapped],
                    });
                }
            }
        }
        self.restart_timer(LONG);
        self.answer(id, Status::ZERO);
    }
}

impl Pending {
    const fn until(&self) -> Duration {
        match self {
            Self::Lookup { until, .. } | Self::Wait { until, .. } => *until,
        }
    }
}

impl Set {
    fn new(context: u32) -> Self {
        Self {
            status: SetStatus::Started,
            context,
            copies: Vec::new(),
            prepare: Work::Idle,
            commit: Work::Idle,
            expose: Work::Idle,
            seal: Work::Idle,
            deadline: Deadline::None,
        }
    }

    pub(crate) fn work(&mut self, method: Method) -> &mut Work {
        match method {
            Method::Prepare => &mut self.prepare,
            Method::Commit => &mut self.commit,
            Method::Expose => &mut self.expose,
            Method::Seal => &mut self.seal,
        }
    }

    fn mapped(&self, copy: ShadowCopyId, named: &Named) -> Option<&MappedShare> {
        let Named::Share(share) = named else {
            return None;
        };
        let copy = self.copies.iter().find(|entry| entry.id == copy)?;
        copy.shares.iter().find(|mapped| mapped.share == *share)
    }
}

fn exposed_length(share: &str) -> usize {
    share.chars().count() + 39 + usize::from(share.ends_with('$'))
}

/// Rule 1.
fn is_context(value: u32) -> bool {
    let recovery = value & 0x0040_0002;
    matches!(value & !0x0040_0002, 0x00 | 0x09 | 0x10 | 0x19) && recovery != 0x0040_0002
}

/// Rule 0: a NULL id in any method but StartShadowCopySet, whose own checks come first.
fn null_argument(request: &Request) -> bool {
    match request {
        Request::GetSupportedVersion
        | Request::SetContext { .. }
        | Request::StartShadowCopySet { .. }
        | Request::IsPathSupported { .. }
        | Request::IsPathShadowCopied { .. } => false,
        Request::AddToShadowCopySet {
            shadow_copy_set_id, ..
        }
        | Request::CommitShadowCopySet {
            shadow_copy_set_id, ..
        }
        | Request::ExposeShadowCopySet {
            shadow_copy_set_id, ..
        }
        | Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id }
        | Request::AbortShadowCopySet { shadow_copy_set_id }
        | Request::PrepareShadowCopySet {
            shadow_copy_set_id, ..
        } => shadow_copy_set_id.is_null(),
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            ..
        }
        | Request::DeleteShareMapping {
            shadow_copy_set_id,
            shadow_copy_id,
            ..
        } => shadow_copy_set_id.is_null() || shadow_copy_id.is_null(),
    }
}

const fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms as u64)
}
