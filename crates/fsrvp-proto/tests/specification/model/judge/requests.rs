//! The requests that steps stand for.

use super::*;

impl Judge {
    pub(super) fn request(&self, call: CallSpec) -> (Request, Named) {
        let none = Named::Share(String::new());
        let wait = |seconds: u16| Duration::from_secs(u64::from(seconds));
        match call {
            CallSpec::Next(seconds) => self.next_call(seconds),
            CallSpec::Version => (Request::GetSupportedVersion, none),
            CallSpec::SetContext(context) => (set_context(context), none),
            CallSpec::Start { null: false } => (start(), none),
            CallSpec::Start { null: true } => (start_null(), none),
            CallSpec::Add(set, name) => {
                let (text, named) = self.name(name);
                (add(self.set(set), text), named)
            }
            CallSpec::Prepare(set, seconds) => (prepare(self.set(set), wait(seconds)), none),
            CallSpec::Commit(set, seconds) => (commit(self.set(set), wait(seconds)), none),
            CallSpec::Expose(set, seconds) => (expose(self.set(set), wait(seconds)), none),
            CallSpec::Recovery(set) => (recovery(self.set(set)), none),
            CallSpec::Abort(set) => (abort(self.set(set)), none),
            CallSpec::Supported(name) => {
                let (text, named) = self.name(name);
                (supported(text), named)
            }
            CallSpec::Copied(name) => {
                let (text, named) = self.name(name);
                (copied(text), named)
            }
            CallSpec::Mapping(set, copy, name, level) => {
                let set = self.set(set);
                let (text, named) = self.mapped_name(set, name);
                let request = mapping(set, self.copy(copy, set, &named), text);
                (with_level(request, level), named)
            }
            CallSpec::Delete(set, copy, name) => {
                let set = self.set(set);
                let (text, named) = self.mapped_name(set, name);
                (delete(set, self.copy(copy, set, &named), text), named)
            }
        }
    }

    /// What a good client would call next.
    pub(super) fn next_call(&self, seconds: u16) -> (Request, Named) {
        let none = Named::Share(String::new());
        let wait = Duration::from_secs(u64::from(seconds));
        let newest = self
            .newest
            .and_then(|id| Some((id, self.model.sets.get(&id)?)));
        let Some((id, set)) = newest else {
            let request = if self.model.context.is_some() {
                start()
            } else {
                set_context(0x0040_0009)
            };
            return (request, none);
        };
        match set.status {
            SetStatus::Started => {
                let (text, named) = self.name(Name::Share(0, 0));
                (add(id, text), named)
            }
            SetStatus::Added if seconds.is_multiple_of(2) => (prepare(id, wait), none),
            SetStatus::Added | SetStatus::CreationInProgress => (commit(id, wait), none),
            SetStatus::Committed => (expose(id, wait), none),
            SetStatus::Exposed if seconds.is_multiple_of(2) => (recovery(id), none),
            SetStatus::Exposed | SetStatus::Recovered => {
                let place = set
                    .copies
                    .first()
                    .and_then(|copy| Some((copy.id, copy.shares.first()?.share.clone())));
                let Some((copy, share)) = place else {
                    return (Request::GetSupportedVersion, none);
                };
                let text = format!(r"\\filer\{share}");
                if set.status == SetStatus::Exposed {
                    (mapping(id, copy, text), Named::Share(share))
                } else if self.model.context.is_none() && seconds.is_multiple_of(2) {
                    (set_context(0x0000_0010), none)
                } else if self.model.context.is_some() {
                    (start(), none)
                } else {
                    (delete(id, copy, text), Named::Share(share))
                }
            }
        }
    }

    pub(super) fn set(&self, reference: Ref) -> ShadowCopySetId {
        let all: Vec<ShadowCopySetId> = self.model.sets.keys().copied().collect();
        let picked = match reference {
            Ref::Fitting => self.newest,
            Ref::Nth(number) => pick(&all, number),
            Ref::Unknown => None,
            Ref::Null => Some(ShadowCopySetId::NULL),
        };
        picked.unwrap_or(UNKNOWN_SET)
    }

    pub(super) fn copy(&self, reference: Ref, set: ShadowCopySetId, named: &Named) -> ShadowCopyId {
        let copies = self
            .model
            .sets
            .get(&set)
            .map(|set| set.copies.as_slice())
            .unwrap_or_default();
        let picked = match reference {
            Ref::Fitting => copies
                .iter()
                .find(|copy| {
                    copy.shares
                        .iter()
                        .any(|mapped| Named::Share(mapped.share.clone()) == *named)
                })
                .map(|copy| copy.id),
            Ref::Nth(number) => pick(
                &copies.iter().map(|copy| copy.id).collect::<Vec<_>>(),
                number,
            ),
            Ref::Unknown => None,
            Ref::Null => Some(ShadowCopyId::NULL),
        };
        picked.unwrap_or(UNKNOWN_COPY)
    }

    pub(super) fn mapped_name(&self, set: ShadowCopySetId, name: Name) -> (String, Named) {
        let Name::Mapped(number, form) = name else {
            return self.name(name);
        };
        let shares: Vec<String> = self
            .model
            .sets
            .get(&set)
            .into_iter()
            .flat_map(|set| &set.copies)
            .flat_map(|copy| copy.shares.iter().map(|mapped| mapped.share.clone()))
            .collect();
        let place = pick(&shares, number)
            .and_then(|share| {
                SHARES
                    .iter()
                    .position(|(name, ..)| name.to_lowercase() == share)
            })
            .and_then(|place| u8::try_from(place).ok());
        self.name(Name::Share(place.unwrap_or_default(), form))
    }

    pub(super) fn name(&self, name: Name) -> (String, Named) {
        match name {
            Name::Mapped(share, form) => self.name(Name::Share(share, form)),
            Name::Share(number, form) => {
                let share = SHARES[usize::from(number) % SHARES.len()].0;
                let text = match form {
                    0 | 1 => format!(r"\\FILER\{share}"),
                    2 => format!(r"\\filer\{share}\"),
                    3 => format!(r"\\localhost\{}", share.to_uppercase()),
                    4 => format!(r"\\198.51.100.1\{}", share.to_lowercase()),
                    _ => format!(r"\\Filer.Example.\{share}"),
                };
                (text, Named::Share(share.to_lowercase()))
            }
            Name::Exposed(number) => {
                let names: Vec<String> = self.bench.world.exposed.keys().cloned().collect();
                let name = pick(&names, number).unwrap_or_else(|| "absent".to_owned());
                (
                    format!(r"\\FILER\{name}"),
                    Named::Share(name.to_lowercase()),
                )
            }
            Name::Absent => (
                r"\\FILER\absent".to_owned(),
                Named::Share("absent".to_owned()),
            ),
            Name::Foreign => (r"\\stranger.example\Data".to_owned(), Named::Foreign),
            Name::Empty => (String::new(), Named::Empty),
            Name::Malformed => (r"\\FILER\Data\inner".to_owned(), Named::Malformed),
        }
    }

    pub(super) fn copies_named_by(&self, request: &Request) -> BTreeSet<ShadowCopyId> {
        match request {
            Request::AbortShadowCopySet { shadow_copy_set_id } => self
                .model
                .sets
                .get(shadow_copy_set_id)
                .map(|set| set.copies.iter().map(|copy| copy.id).collect())
                .unwrap_or_default(),
            Request::DeleteShareMapping { shadow_copy_id, .. } => BTreeSet::from([*shadow_copy_id]),
            _ => BTreeSet::new(),
        }
    }
}

fn with_level(request: Request, number: u8) -> Request {
    match request {
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            ..
        } => {
            let level = u32::from(number);
            Request::GetShareMapping {
                shadow_copy_id,
                shadow_copy_set_id,
                share_name,
                level,
            }
        }
        other => other,
    }
}
