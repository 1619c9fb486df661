//! What the simulation itself has seen, and holds the product to.

use crate::world::World;
use fsrvp_idl::{Request, ShadowCopyId, ShadowCopySetId, ShareName, UncPath};
use fsrvp_proto::ShareDirectory;
use fsrvp_proto::durable::Table;
use fsrvp_proto::set::{SetStatus, ShadowCopySet};
use std::collections::{BTreeMap, BTreeSet};

/// Set, copy and folded share of a mapping.
pub(crate) type MappingKey = (ShadowCopySetId, ShadowCopyId, String);

/// A Recovered copy.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) set: ShadowCopySetId,
    pub(crate) content: Vec<Option<Vec<u8>>>,
    is_persistent: bool,
    /// Base share and exposed share.
    pub(crate) shares: Vec<(ShareName, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// Recovered copies: from now on they must be there, unchanged.
    pub(crate) sealed: BTreeMap<ShadowCopyId, Sealed>,
    /// Mappings that a client has asked to delete; whether that happens is told by the reply.
    asked: BTreeSet<MappingKey>,
    /// Those that were refused while it was in doubt whether the store would take them all the same:
    /// a later refusal may tell that it has.
    doubtful: BTreeSet<MappingKey>,
    /// The same, but for ever: their shares may come and go.
    ever_asked: BTreeSet<MappingKey>,
    /// Mappings of sets that retention may remove: nobody used them when it asked.
    expiring: BTreeSet<MappingKey>,
    /// Copies that the administrator has deleted.
    pub(crate) deleted_copies: BTreeSet<ShadowCopyId>,
    /// Exposed shares that the administrator has deleted since the last start.
    pub(crate) deleted_shares: BTreeSet<String>,
    /// The stamp on all volumes when the set's last Commit job began.
    pub(crate) cut: BTreeMap<ShadowCopySetId, u64>,
}

impl Witness {
    /// Looks at what the process takes for durable.
    pub(crate) fn look(&mut self, believed: &Table, world: &World) {
        for set in believed.sets() {
            if set.status != SetStatus::Recovered {
                continue;
            }
            for copy in &set.copies {
                self.sealed.entry(copy.id).or_insert_with(|| Sealed {
                    set: set.id,
                    content: world.content(copy.id),
                    is_persistent: set.context.is_persistent(),
                    shares: shares_of(set, copy.id),
                });
            }
        }
        let (asked, deleted) = (&self.asked, &self.deleted_copies);
        let expiring = &self.expiring;
        for (copy, sealed) in &mut self.sealed {
            let kept = believed.set(sealed.set).and_then(|set| set.copy(*copy));
            let set = sealed.set;
            sealed.shares.retain(|(share, _)| {
                let key = (set, *copy, share.folded());
                let is_asked = asked.contains(&key) || expiring.contains(&key);
                !is_asked || kept.is_some_and(|copy| copy.mapping(share).is_some())
            });
        }
        self.sealed.retain(|copy, sealed| {
            let is_kept = believed
                .set(sealed.set)
                .is_some_and(|set| set.copy(*copy).is_some());
            !sealed.shares.is_empty() && (is_kept || !deleted.contains(copy))
        });
    }

    /// A client has called.
    pub(crate) fn called(&mut self, request: &Request) {
        if let Some(key) = deletion(request) {
            self.asked.insert(key.clone());
            self.ever_asked.insert(key);
        }
    }

    /// A deletion was refused, and the mapping is there: it has to stay.
    pub(crate) fn refused(&mut self, request: &Request) {
        if let Some(key) = deletion(request)
            && !self.doubtful.contains(&key)
        {
            self.asked.remove(&key);
        }
    }

    /// A deletion was refused, and may come about all the same.
    pub(crate) fn refused_in_doubt(&mut self, key: MappingKey) {
        self.doubtful.insert(key);
    }

    /// Retention may remove these.
    pub(crate) fn may_expire(&mut self, keys: impl IntoIterator<Item = MappingKey>) {
        self.expiring.extend(keys);
    }

    pub(crate) fn is_asked(&self, key: &MappingKey) -> bool {
        self.asked.contains(key) || self.expiring.contains(key)
    }

    pub(crate) fn was_ever_asked(&self, key: &MappingKey) -> bool {
        self.ever_asked.contains(key) || self.expiring.contains(key)
    }

    /// A start offers again what an administrator has deleted, but for shares whose base has gone: they
    /// are made after its pattern.
    pub(crate) fn started(&mut self, world: &World) {
        let has_base = |exposed: &String| {
            let (base, rest) = exposed.split_once("@{").unwrap_or((exposed, ""));
            let hidden = if rest.ends_with('$') { "$" } else { "" };
            let base = ShareName::new(format!("{base}{hidden}"));
            world.shares.lookup(&base).is_ok()
        };
        self.deleted_shares.retain(|exposed| !has_base(exposed));
    }

    /// "Contexts without ATTR_PERSISTENT do not outlive a reboot."
    pub(crate) fn rebooted(&mut self) {
        self.sealed.retain(|_, sealed| sealed.is_persistent);
    }
}

fn shares_of(set: &ShadowCopySet, copy: ShadowCopyId) -> Vec<(ShareName, String)> {
    let of_copy = set.mappings().filter(|(of, _)| of.id == copy);
    of_copy
        .map(|(_, mapping)| {
            (
                mapping.share.clone(),
                mapping.shadow_copy_share_name.clone(),
            )
        })
        .collect()
}

/// The mapping that a call asks to delete.
pub(crate) fn deletion(request: &Request) -> Option<MappingKey> {
    let Request::DeleteShareMapping {
        shadow_copy_set_id,
        shadow_copy_id,
        share_name,
    } = request
    else {
        return None;
    };
    let path = UncPath::parse(share_name).ok()?;
    Some((*shadow_copy_set_id, *shadow_copy_id, path.share.folded()))
}
