//! Replies, state and jobs of the agent against those of the model.

use super::*;
use crate::model::reference::{LONG, Work};

impl Judge {
    pub(super) fn compare(&mut self) {
        self.compare_replies();
        self.compare_state();
        self.compare_jobs();
    }

    pub(super) fn compare_replies(&mut self) {
        let due = std::mem::take(&mut self.model.due);
        for expected in &due {
            self.compare_reply(expected);
            self.judged.insert(expected.call);
            self.gone.remove(&expected.call);
        }
        for call in self.bench.replies.keys() {
            assert!(
                self.judged.contains(call),
                "{call:?} is answered, the model lets it wait\n{}",
                self.bench.story()
            );
        }
    }

    pub(super) fn compare_reply(&self, expected: &Due) {
        let Some((at, response)) = self.bench.replies.get(&expected.call) else {
            assert!(
                self.gone.contains(&expected.call),
                "no reply, expected {expected:?}\n{}",
                self.bench.story()
            );
            return;
        };
        let status = status_of(response);
        assert!(
            expected.allowed.contains(&status) && *at == expected.at,
            "expected {expected:?}, got {status:?} at {at:?}\n{}",
            self.bench.story()
        );
        if let Response::IsPathShadowCopied {
            shadow_copy_present,
            shadow_copy_compatibility,
            ..
        } = response
            && let Some(answer) = expected.present
        {
            let got = (*shadow_copy_present, *shadow_copy_compatibility);
            assert_eq!(got, answer, "{expected:?}\n{}", self.bench.story());
        }
        if let (
            Response::GetShareMapping {
                mapping: Some(got), ..
            },
            Some(request),
        ) = (response, self.requests.get(&expected.call))
        {
            self.compare_mapping(request, got);
        }
    }

    /// Rule 9: "ShareNameUNC is the name as the client gave it in Add", the bare exposed name,
    /// the time of Add.
    pub(super) fn compare_mapping(&self, request: &Request, got: &fsrvp_idl::ShareMapping) {
        let Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            ..
        } = request
        else {
            return;
        };
        let asked = share_name
            .trim_end_matches('\\')
            .rsplit('\\')
            .next()
            .unwrap_or_default();
        let set = &self.model.sets[shadow_copy_set_id];
        let copy = set
            .copies
            .iter()
            .find(|copy| copy.id == *shadow_copy_id)
            .unwrap();
        let mapped = copy
            .shares
            .iter()
            .find(|mapped| mapped.share == asked.to_lowercase())
            .unwrap();
        let base = mapped
            .given
            .trim_end_matches('\\')
            .rsplit('\\')
            .next()
            .unwrap_or_default();
        let hidden = if base.ends_with('$') { "$" } else { "" };
        let name = format!("{base}@{{{}}}{hidden}", copy.id);
        assert_eq!(got.share_name_unc, mapped.given, "{}", self.bench.story());
        assert_eq!(
            got.shadow_copy_share_name,
            Some(name),
            "{}",
            self.bench.story()
        );
        assert_eq!(
            got.creation_timestamp.0,
            copy.created,
            "{}",
            self.bench.story()
        );
        assert_eq!(
            (got.shadow_copy_set_id, got.shadow_copy_id),
            (*shadow_copy_set_id, copy.id),
            "{}",
            self.bench.story()
        );
    }

    pub(super) fn compare_state(&mut self) {
        let view = self.bench.view();
        let story = || self.bench.story();
        let context = view
            .context
            .current
            .filter(|_| view.context.is_set)
            .map(u32::from);
        assert_eq!(context, self.model.context, "ContextSet\n{}", story());
        let address = view.context.client_address;
        assert_eq!(
            address,
            self.model.address,
            "ShadowCopyClientAddress\n{}",
            story()
        );
        let got: BTreeMap<_, _> = view
            .sets
            .iter()
            .map(|set| {
                let copies: BTreeMap<_, _> = set
                    .copies
                    .iter()
                    .map(|copy| {
                        let names: BTreeSet<String> = copy
                            .mappings
                            .iter()
                            .map(|m| m.share_name_unc.clone())
                            .collect();
                        (copy.id, (copy.volume.clone(), names))
                    })
                    .collect();
                (set.id, (set.status, u32::from(set.context), copies))
            })
            .collect();
        let expected: BTreeMap<_, _> = self
            .model
            .sets
            .iter()
            .map(|(id, set)| {
                let copies: BTreeMap<_, _> = set
                    .copies
                    .iter()
                    .map(|copy| {
                        let names: BTreeSet<String> = copy
                            .shares
                            .iter()
                            .map(|mapped| mapped.given.clone())
                            .collect();
                        (copy.id, (copy.volume.clone(), names))
                    })
                    .collect();
                (*id, (set.status, set.context, copies))
            })
            .collect();
        assert_eq!(got, expected, "GlobalShadowCopySetTable\n{}", story());
        let now = self.bench.now.at;
        let timer = view.timer_remaining_ms;
        let timer = timer_matches(self.model.timer, timer, now)
            .unwrap_or_else(|| panic!("timer: {:?}, got {timer:?}\n{}", self.model.timer, story()));
        let mut own = BTreeMap::new();
        for set in &view.sets {
            let expected = self.model.sets[&set.id].deadline;
            let got = set.deadline_ms;
            let deadline = timer_matches(expected, got, now).unwrap_or_else(|| {
                panic!(
                    "deadline of {}: {expected:?}, got {got:?}\n{}",
                    set.id,
                    story()
                )
            });
            own.insert(set.id, deadline);
        }
        self.model.timer = timer;
        for (id, deadline) in own {
            if let Some(set) = self.model.sets.get_mut(&id) {
                set.deadline = deadline;
            }
        }
    }

    /// Exactly the jobs that the model has started run for the sets that are there.
    pub(super) fn compare_jobs(&self) {
        for (id, set) in &self.model.sets {
            for (kind, work) in [
                (JobKind::Prepare, set.prepare),
                (JobKind::Commit, set.commit),
                (JobKind::Expose, set.expose),
                (JobKind::Seal, set.seal),
            ] {
                let running = self
                    .bench
                    .jobs
                    .values()
                    .filter(|running| kind_of(&running.job) == kind)
                    .filter(|running| set_of(&running.job) == Some(*id))
                    .count();
                let expected = usize::from(work == Work::Running);
                assert_eq!(
                    running,
                    expected,
                    "{kind:?} of {id}\n{}",
                    self.bench.story()
                );
            }
        }
    }
}

/// The agent's time left against the model's deadline; an open one takes over what it finds.
fn timer_matches(expected: Deadline, got_ms: Option<u64>, now: Duration) -> Option<Deadline> {
    let got = got_ms.map(|ms| now + Duration::from_millis(ms));
    match (expected, got) {
        (Deadline::None, None) => Some(Deadline::None),
        (Deadline::At(at), Some(got)) if at == got => Some(expected),
        (Deadline::Open, Some(got)) if got <= now + LONG => Some(Deadline::At(got)),
        _ => None,
    }
}
