//! File lists: an operator names the files of a share, and what becomes of each list.

use crate::drive::{Phase, Simulation};
use crate::random::Draw;
use crate::strand::Fate;
use crate::world::{SHARES, Stored, World};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::durable::Table;
use fsrvp_server::targets::{FileList, FileListEditor};
use std::collections::{BTreeMap, BTreeSet};

/// What operators have been told, and which copies have been committed.
#[derive(Debug, Default)]
pub(crate) struct ListWitness {
    /// The lists that are stored, by the folded name of their share.
    promised: BTreeMap<String, Stored>,
    /// Every copy that the process has ever taken for committed.
    committed: BTreeSet<ShadowCopyId>,
    number: u64,
}

impl ListWitness {
    /// A list for the next set is there until a set that used it is recorded as committed, and from
    /// then on it is not; a standing one stays. `stored` and `believed` are of one moment.
    ///
    /// # Errors
    /// What is not as it should be.
    pub(crate) fn look(
        &mut self,
        believed: &Table,
        stored: &BTreeMap<String, Stored>,
        world: &World,
    ) -> Result<(), String> {
        for set in believed.sets().filter(|set| set.is_committed()) {
            self.committed.extend(set.copies.iter().map(|copy| copy.id));
        }
        let told = world.told();
        let committed = &self.committed;
        let is_used = |share: &str, list: &Stored| {
            let by = |(copy, lists): (&ShadowCopyId, &BTreeMap<String, String>)| {
                committed.contains(copy) && lists.get(share) == Some(&list.file)
            };
            told.iter().any(by)
        };
        let used_up: BTreeSet<_> = self
            .promised
            .iter()
            .filter(|(share, list)| !list.standing && is_used(share, list))
            .map(|(share, _)| share.clone())
            .collect();
        for (share, list) in &self.promised {
            let found = stored.get(share);
            match (used_up.contains(share), found == Some(list)) {
                (false, true) | (true, false) => {}
                (false, false) => {
                    return Err(format!(
                        "a list that no set has used stays: {share} has {found:?} in place of {list:?}"
                    ));
                }
                (true, true) => {
                    return Err(format!("a list is used once: {list:?} of {share} stays"));
                }
            }
        }
        self.promised.retain(|share, _| !used_up.contains(share));
        match stored
            .keys()
            .find(|share| !self.promised.contains_key(*share))
        {
            Some(share) => Err(format!("a list of {share} is there that nobody stored")),
            None => Ok(()),
        }
    }
}

impl Simulation {
    /// An operator stores a list or takes one away; the admin socket shows what is stored.
    pub(crate) fn operator_names_files(&mut self) -> Result<(), String> {
        let (share, _) = *self.random.one_of(&SHARES);
        let share = ShareName::new(share);
        let fate = match self.random.below(1000) < self.plan.store_fails {
            true => Fate::Fails(0),
            false => Fate::Done,
        };
        self.lists.number += 1;
        let list = Stored {
            file: format!("file{}", self.lists.number),
            standing: self.random.percent(25),
        };
        let is_removed = self.random.percent(20);
        let Phase::Up(life) = &mut self.phase else {
            return Ok(());
        };
        let editor = FileListEditor::of(&life.store);
        let was_there = editor.list(&share).is_some();
        life.store.inner().ends(fate);
        let done = match is_removed {
            true => editor.delete(&share).map(drop),
            false => editor.put(FileList {
                share: share.clone(),
                files: vec![list.file.clone()],
                standing: list.standing,
            }),
        };
        // Nothing was stored where there was nothing to remove.
        life.store.inner().ends_as_always();
        let is_done = done.is_ok();
        if is_removed {
            self.note(format_args!(
                "an operator takes the list of {share} away: {is_done}"
            ));
        } else {
            self.note(format_args!(
                "an operator gives {share} {list:?}: {is_done}"
            ));
        }
        if is_done && is_removed {
            self.lists.promised.remove(&share.folded());
        } else if is_done {
            self.lists.promised.insert(share.folded(), list);
        }
        match is_done || fate != Fate::Done || (is_removed && !was_there) {
            true => Ok(()),
            false => Err(format!("a list of {share} is refused: {done:?}")),
        }
    }

    /// What operators are shown is what is stored.
    pub(crate) fn lists_are_those_stored(
        &self,
        stored: &BTreeMap<String, Stored>,
    ) -> Result<(), String> {
        let Phase::Up(life) = &self.phase else {
            return Ok(());
        };
        let shown: BTreeMap<_, _> = life
            .store
            .lists()
            .all()
            .into_iter()
            .map(|list| {
                let file = list.files.first().cloned().unwrap_or_default();
                let standing = list.standing;
                (list.share.folded(), Stored { file, standing })
            })
            .collect();
        match shown == *stored {
            true => Ok(()),
            false => Err(format!(
                "lists are shown as {shown:?} and stored as {stored:?}"
            )),
        }
    }
}
