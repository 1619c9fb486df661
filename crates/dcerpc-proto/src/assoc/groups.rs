//! Association groups of a listener.

use crate::limits::MAX_ASSOCIATION_GROUPS;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// \[C706 9.3.3.1\] The association groups of one listener; clones share the same groups.
///
/// A group lives as long as an association belongs to it. Nothing is shared by a group (no
/// interface here has context handles), so joining one gives a client nothing.
#[derive(Debug, Clone)]
pub struct AssociationGroups(Arc<Mutex<Groups>>);

#[derive(Debug)]
struct Groups {
    seed: u32,
    allocated: u32,
    members: HashMap<u32, usize>,
}

/// Membership of one association; leaves the group when dropped.
#[derive(Debug)]
pub(super) struct Membership {
    groups: AssociationGroups,
    id: u32,
}

impl AssociationGroups {
    /// No groups yet. `seed` makes the ids hard to guess; take it from an RNG.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let seed = (seed ^ (seed >> 32)) as u32;
        Self(Arc::new(Mutex::new(Groups {
            seed,
            allocated: 0,
            members: HashMap::new(),
        })))
    }

    /// Number of groups that have a member.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().members.len()
    }

    /// Whether no group has a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A new group, or `None` past the bound.
    pub(super) fn found(&self) -> Option<Membership> {
        let mut groups = self.lock();
        if groups.members.len() >= MAX_ASSOCIATION_GROUPS {
            return None;
        }
        let id = groups.next_id();
        groups.members.insert(id, 1);
        Some(Membership {
            groups: self.clone(),
            id,
        })
    }

    /// Joins an existing group.
    pub(super) fn join(&self, id: u32) -> Option<Membership> {
        let mut groups = self.lock();
        let members = groups.members.get_mut(&id)?;
        *members = members.saturating_add(1);
        Some(Membership {
            groups: self.clone(),
            id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        // The table is consistent between any two statements that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Groups {
    fn next_id(&mut self) -> u32 {
        loop {
            let id = scatter(self.allocated ^ self.seed);
            self.allocated = self.allocated.wrapping_add(1);
            if id != 0 && !self.members.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Membership {
    pub(super) fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut groups = self.groups.lock();
        if let Some(members) = groups.members.get_mut(&self.id) {
            *members = members.saturating_sub(1);
            if *members == 0 {
                groups.members.remove(&self.id);
            }
        }
    }
}

/// A bijection on 32 bits, so that a counter gives ids that do not repeat and look random.
fn scatter(n: u32) -> u32 {
    let n = (n ^ (n >> 16)).wrapping_mul(0x7FEB_352D);
    let n = (n ^ (n >> 15)).wrapping_mul(0x846C_A68B);
    n ^ (n >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_lives_as_long_as_a_member() {
        let groups = AssociationGroups::new(7);
        let first = groups.found().unwrap();
        let second = groups.join(first.id()).unwrap();
        let id = first.id();
        drop(first);
        assert_eq!(groups.len(), 1);
        drop(second);
        assert!(groups.is_empty());
        assert!(groups.join(id).is_none());
    }

    #[test]
    fn ids_are_never_zero_and_never_shared() {
        let groups = AssociationGroups::new(0);
        let all: Vec<_> = (0..1000).map(|_| groups.found().unwrap()).collect();
        assert_eq!(groups.len(), all.len());
        assert!(all.iter().all(|member| member.id() != 0));
    }

    #[test]
    fn groups_are_bounded() {
        let groups = AssociationGroups::new(1);
        let all: Vec<_> = (0..MAX_ASSOCIATION_GROUPS)
            .map(|_| groups.found().unwrap())
            .collect();
        assert!(groups.found().is_none());
        drop(all);
        assert!(groups.found().is_some());
    }
}
