//! What must hold. Each function states one rule; the simulation calls those of the first group
//! after every step, [`reply_implies_durable`] at every reply, and [`at_rest`] when all faults have
//! ended and nothing is left to do.

use crate::client::Known;
use crate::life::{Life, OpenCall};
use crate::witness::Witness;
use crate::world::{STAMP, World};
use fsrvp_idl::{Request, Response, ShadowCopyId, ShadowCopySetId, ShareName, UncPath};
use fsrvp_proto::Now;
use fsrvp_proto::durable::Table;
use fsrvp_proto::job::Artefact;
use fsrvp_proto::profile::Profile;
use fsrvp_proto::set::{SetStatus, ShadowCopySet};
use fsrvp_proto::view::{AgentView, SetView};
use fsrvp_snapshot::memory::Form;
use std::collections::BTreeSet;
use std::time::Duration;

/// Rule 18: the client's RPC timer is 180 s.
const REPLY_LIMIT: Duration = Duration::from_secs(170);
/// What a call that was held up gets to be stored, with late timers: until the client's RPC timer.
const STORE_GRACE: Duration = Duration::from_secs(10);
/// How long anybody waits for the store.
const STORE_LIMIT: Duration = Duration::from_secs(60);
/// `max_wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);

type Verdict = Result<(), String>;

/// What the invariants look at.
pub(crate) struct Facts<'a> {
    pub(crate) world: &'a World,
    /// What a start would read.
    pub(crate) durable: &'a Table,
    /// What the process takes for durable: the same, unless a commit is in doubt.
    pub(crate) believed: &'a Table,
    pub(crate) witness: &'a Witness,
    pub(crate) profile: Profile,
}

/// Holds at every moment, even while no process runs.
pub(crate) fn always(facts: &Facts<'_>) -> Verdict {
    recovered_is_kept(facts)?;
    sealed_stays_sealed(facts)?;
    one_set_in_creation(facts)?;
    a_cut_is_of_its_commit(facts)
}

/// Holds at every moment while a process serves.
pub(crate) fn while_serving(
    facts: &Facts<'_>,
    life: &Life,
    now: Now,
    has_changed: bool,
) -> Verdict {
    if has_changed {
        nothing_is_unrecorded(facts)?;
    }
    let view = life.agent.view(now);
    memory_is_what_is_durable(facts, &view)?;
    all_or_none(facts, life, &view)?;
    every_set_has_a_deadline(life, &view)?;
    replies_come_in_time(life, now)
}

/// DESIGN rule 2: the store knows the name of every artefact before it exists, and until it is gone.
fn nothing_is_unrecorded(facts: &Facts<'_>) -> Verdict {
    let (mut copies, mut shares) = (BTreeSet::new(), BTreeSet::new());
    for table in [facts.durable, facts.believed] {
        for set in table.sets() {
            copies.extend(set.copies.iter().map(|copy| copy.id));
            let names = set.mappings().map(|(_, mapping)| mapping);
            shares.extend(names.map(|mapping| mapping.shadow_copy_share_name.clone()));
        }
        for (_, debt) in table.debts() {
            match &debt.artefact {
                Artefact::Copy(copy) => drop(copies.insert(copy.copy)),
                Artefact::Share(name) => drop(shares.insert(name.clone())),
            }
        }
    }
    for copy in facts.world.copies().keys() {
        if !copies.contains(copy) {
            return Err(format!("no orphan: no record names the copy {copy}"));
        }
    }
    for share in facts.world.exposed().keys() {
        if !shares.contains(share) {
            return Err(format!("no orphan: no record names the share {share}"));
        }
    }
    Ok(())
}

/// A Recovered copy is never lost: its record, its snapshot and its shares stay until a client
/// deletes them, an administrator does, or a reboot ends what is not persistent (rule 17). Its
/// content is never altered.
fn recovered_is_kept(facts: &Facts<'_>) -> Verdict {
    let (world, witness) = (facts.world, facts.witness);
    let (copies, exposed) = (world.copies(), world.exposed());
    for (copy, sealed) in &witness.sealed {
        if witness.deleted_copies.contains(copy) {
            continue;
        }
        let mut all_asked = true;
        for (share, name) in &sealed.shares {
            let key = (sealed.set, *copy, share.folded());
            if witness.is_asked(&key) {
                continue;
            }
            all_asked = false;
            for table in [facts.durable, facts.believed] {
                if !is_recorded(table, sealed.set, *copy, share) {
                    return Err(format!("Recovered never lost: {name} is in no record"));
                }
            }
            let may_be_away = witness.was_ever_asked(&key) || witness.deleted_shares.contains(name);
            if !may_be_away && !exposed.contains_key(name) {
                return Err(format!("Recovered never lost: the share {name} has gone"));
            }
        }
        if all_asked {
            continue;
        }
        if !copies.contains_key(copy) {
            return Err(format!(
                "Recovered never lost: the snapshot {copy} has gone"
            ));
        }
        if world.content(*copy) != sealed.content {
            return Err(format!("Recovered never altered: {copy} holds other data"));
        }
    }
    Ok(())
}

fn is_recorded(table: &Table, set: ShadowCopySetId, copy: ShadowCopyId, share: &ShareName) -> bool {
    table
        .set(set)
        .filter(|set| set.status == SetStatus::Recovered)
        .and_then(|set| set.copy(copy))
        .is_some_and(|copy| copy.mapping(share).is_some())
}

/// Rule 12: once RecoveryComplete has succeeded, snapshot and share are read-only for ever.
fn sealed_stays_sealed(facts: &Facts<'_>) -> Verdict {
    let (copies, exposed) = (facts.world.copies(), facts.world.exposed());
    for (copy, sealed) in &facts.witness.sealed {
        if copies.get(copy).is_some_and(|form| *form != Form::ReadOnly) {
            return Err(format!("sealed stays sealed: {copy} can be written"));
        }
        for (_, name) in &sealed.shares {
            if exposed.get(name).is_some_and(|share| !share.read_only) {
                return Err(format!("sealed stays sealed: the share {name} is writable"));
            }
        }
    }
    Ok(())
}

/// Rule 2: one set in creation per server. Under ws2012 an Exposed set counts as finished.
fn one_set_in_creation(facts: &Facts<'_>) -> Verdict {
    let finished = match facts.profile {
        Profile::Spec => SetStatus::Recovered,
        Profile::Ws2012 => SetStatus::Exposed,
    };
    let unfinished = |set: &&ShadowCopySet| set.status < finished;
    match facts.durable.sets().filter(unfinished).count() {
        0 | 1 => Ok(()),
        count => Err(format!("one set in creation: there are {count}")),
    }
}

/// Rule 7: the cut is Commit: no copy is of an earlier moment than the Commit that made it.
fn a_cut_is_of_its_commit(facts: &Facts<'_>) -> Verdict {
    for set in facts.believed.sets().filter(|set| set.is_committed()) {
        let Some(began) = facts.witness.cut.get(&set.id) else {
            continue;
        };
        for copy in &set.copies {
            let Some(Some(stamp)) = facts.world.content(copy.id).into_iter().next() else {
                continue;
            };
            let stamp = u64::from_be_bytes(stamp.try_into().unwrap());
            if stamp < *began {
                return Err(format!(
                    "the cut is Commit: {} holds {STAMP} {stamp} and Commit began at {began}",
                    copy.id
                ));
            }
        }
    }
    Ok(())
}

/// Rule 17: persist, then reply. The agent's table is the store's.
fn memory_is_what_is_durable(facts: &Facts<'_>, view: &AgentView) -> Verdict {
    let status = |set: &SetView| match set.status {
        SetStatus::CreationInProgress => SetStatus::Added,
        other => other,
    };
    let seen: Vec<_> = view.sets.iter().map(|set| (set.id, status(set))).collect();
    let stored = facts.believed.sets().map(|set| (set.id, set.status));
    if seen == stored.collect::<Vec<_>>() {
        Ok(())
    } else {
        Err("persist, then reply: the agent's table is not the stored one".to_owned())
    }
}

/// Rule 6: all or none. A set in Added on which nothing works has no snapshot and nothing to undo,
/// and a Committed one no share.
fn all_or_none(facts: &Facts<'_>, life: &Life, view: &AgentView) -> Verdict {
    if !life.commits.is_empty() {
        return Ok(());
    }
    let (copies, exposed) = (facts.world.copies(), facts.world.exposed());
    for set in &view.sets {
        let is_idle = set.undo.is_empty() && !view.jobs.iter().any(|job| job.set == Some(set.id));
        let Some(stored) = facts.believed.set(set.id).filter(|_| is_idle) else {
            continue;
        };
        if set.status == SetStatus::Added
            && let Some(copy) = set.copies.iter().find(|copy| copies.contains_key(&copy.id))
        {
            return Err(format!("all or none: {} exists, its set is Added", copy.id));
        }
        let shares = stored.mappings().map(|(_, mapping)| mapping);
        if set.status == SetStatus::Committed
            && !life.shares_made.contains(&set.id)
            && let Some(share) = shares
                .map(|mapping| &mapping.shadow_copy_share_name)
                .find(|name| exposed.contains_key(*name))
        {
            return Err(format!("all or none: {share} exists, its set is Committed"));
        }
    }
    Ok(())
}

/// Rule 8: every set ends. While nobody waits and nothing is being stored, a set short of Recovered
/// has a deadline, and so has a context.
fn every_set_has_a_deadline(life: &Life, view: &AgentView) -> Verdict {
    if !life.calls.is_empty() || !life.commits.is_empty() {
        return Ok(());
    }
    let runs = view.timer_remaining_ms.is_some();
    for set in &view.sets {
        if set.status < SetStatus::Recovered && !runs && set.deadline_ms.is_none() {
            return Err(format!("every set ends: {} has no deadline", set.id));
        }
    }
    if view.context.is_set && !runs {
        return Err("every set ends: the context has no deadline".to_owned());
    }
    Ok(())
}

/// Rules 6 and 18: a wait ends with its time-out, everything else within 170 s, but for the store.
fn replies_come_in_time(life: &Life, now: Now) -> Verdict {
    for call in life.calls.values() {
        let limit = match &call.request {
            Request::PrepareShadowCopySet { timeout_ms, .. }
            | Request::CommitShadowCopySet { timeout_ms, .. }
            | Request::ExposeShadowCopySet { timeout_ms, .. } => {
                Duration::from_millis((*timeout_ms).into()).min(LONGEST_WAIT)
            }
            _ => REPLY_LIMIT,
        };
        // A call whose change is being stored may wait a little for that.
        let stored = match life.commits.is_empty() {
            true => Duration::ZERO,
            false if limit == REPLY_LIMIT => STORE_GRACE,
            false => REPLY_LIMIT + STORE_LIMIT,
        };
        if call.arrived + limit + stored < now.at {
            return Err(format!("replies come in time: none to {:?}", call.request));
        }
    }
    Ok(())
}

/// Rule 17: no success leaves before what makes it true is durable, and true. `is_last` says that
/// nobody has called since, who might have replaced a context.
pub(crate) fn reply_implies_durable(
    facts: &Facts<'_>,
    call: &OpenCall,
    response: &Response,
    (now, is_last): (Now, bool),
) -> Verdict {
    if !response.status().is_ok() {
        return Ok(());
    }
    let lie = |what: &str| {
        Err(format!(
            "reply implies durable: {what}: {:?} was answered {response:?}",
            call.request
        ))
    };
    let table = facts.durable;
    match (&call.request, response) {
        (Request::SetContext { context }, _) => {
            let current = table.context().current.map(|context| context.bits());
            if is_last && call.arrived == now.at && current != Some(*context) {
                return lie("the context is not stored");
            }
        }
        (
            _,
            Response::StartShadowCopySet {
                shadow_copy_set_id, ..
            },
        ) if table.set(*shadow_copy_set_id).is_none() => {
            return lie("the set is not stored");
        }
        (
            Request::AddToShadowCopySet {
                shadow_copy_set_id, ..
            },
            Response::AddToShadowCopySet { shadow_copy_id, .. },
        ) => {
            let set = table.set(*shadow_copy_set_id);
            if set.is_none_or(|set| set.copy(*shadow_copy_id).is_none()) {
                return lie("the copy is not stored");
            }
        }
        (
            Request::CommitShadowCopySet {
                shadow_copy_set_id: id,
                ..
            }
            | Request::ExposeShadowCopySet {
                shadow_copy_set_id: id,
                ..
            }
            | Request::RecoveryCompleteShadowCopySet {
                shadow_copy_set_id: id,
            },
            _,
        ) => {
            if let Err(what) = status_is_true(facts, *id, &call.request) {
                return lie(&what);
            }
        }
        (Request::AbortShadowCopySet { shadow_copy_set_id }, _)
            if table.set(*shadow_copy_set_id).is_some() =>
        {
            return lie("the set is still stored");
        }
        (Request::DeleteShareMapping { .. }, _) => {
            if let Err(what) = mapping_is_gone(facts, call, now) {
                return lie(&what);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The set has the status that the call gives it, and what belongs to it exists.
fn status_is_true(facts: &Facts<'_>, id: ShadowCopySetId, request: &Request) -> Verdict {
    let wanted = match request {
        Request::CommitShadowCopySet { .. } => SetStatus::Committed,
        Request::ExposeShadowCopySet { .. } => SetStatus::Exposed,
        _ => SetStatus::Recovered,
    };
    let set = facts.durable.set(id).ok_or("the set is not stored")?;
    if set.status != wanted {
        return Err(format!("the set is stored as {:?}", set.status));
    }
    let (copies, exposed) = (facts.world.copies(), facts.world.exposed());
    for (copy, mapping) in set.mappings() {
        let by_hand = &facts.witness.deleted_copies;
        let form = copies.get(&copy.id);
        let is_sealed = wanted < SetStatus::Recovered || form == Some(&Form::ReadOnly);
        if !by_hand.contains(&copy.id) && (form.is_none() || !is_sealed) {
            return Err(format!("the snapshot {} is {form:?}", copy.id));
        }
        let name = &mapping.shadow_copy_share_name;
        let is_away = facts.witness.deleted_shares.contains(name)
            || facts
                .witness
                .was_ever_asked(&(id, copy.id, mapping.share.folded()));
        let share = exposed.get(name);
        let is_right = share.is_some_and(|share| share.read_only || wanted < SetStatus::Recovered);
        if wanted >= SetStatus::Exposed && !is_away && !is_right {
            return Err(format!("the share {name} is {share:?}"));
        }
    }
    Ok(())
}

/// Rule 14: share and snapshot are out of sight, or after 170 s a debt.
fn mapping_is_gone(facts: &Facts<'_>, call: &OpenCall, now: Now) -> Verdict {
    let Some((set, copy, _)) = crate::witness::deletion(&call.request) else {
        return Ok(());
    };
    let Request::DeleteShareMapping { share_name, .. } = &call.request else {
        return Ok(());
    };
    let share = UncPath::parse(share_name)
        .map_err(|error| error.to_string())?
        .share;
    if is_recorded(facts.durable, set, copy, &share) {
        return Err("the mapping is still stored".to_owned());
    }
    let name = share.exposed(copy);
    if facts.world.exposed().contains_key(&name) && call.arrived + REPLY_LIMIT > now.at {
        return Err(format!("the share {name} is still there"));
    }
    Ok(())
}

/// When all faults have ended and nothing is left to do: no orphan, no ghost, every set has ended,
/// debts are paid, every call was answered, and Recovered copies can be reached.
pub(crate) fn at_rest(facts: &Facts<'_>, life: &Life, now: Now) -> Verdict {
    let view = life.agent.view(now);
    if !life.calls.is_empty() || view.calls_in_progress > 0 {
        return Err(format!("exactly one reply: none to {:?}", life.calls));
    }
    if let Some(set) = view
        .sets
        .iter()
        .find(|set| set.status != SetStatus::Recovered)
    {
        return Err(format!("every set ends: {} is {:?}", set.id, set.status));
    }
    if let Some(set) = facts.believed.sets().find(|set| crate::keeping::wants(set)) {
        return Err(format!(
            "what is to be kept is kept: of {} it is not",
            set.id
        ));
    }
    if view.context.is_set {
        return Err("every set ends: the context is still set".to_owned());
    }
    if !view.debts.is_empty() {
        return Err(format!("debts end with the fault: {:?}", view.debts));
    }
    let (mut copies, mut exposed) = (facts.world.copies(), facts.world.exposed());
    for set in facts.durable.sets() {
        for (copy, mapping) in set.mappings() {
            let by_hand = facts.witness.deleted_copies.contains(&copy.id);
            copies.remove(&copy.id);
            if !by_hand && !facts.world.is_mounted(copy.id) {
                return Err(format!("no ghost: {} cannot be reached", copy.id));
            }
            let name = &mapping.shadow_copy_share_name;
            let is_offered = exposed.remove(name).is_some();
            if !by_hand && !is_offered && !facts.witness.deleted_shares.contains(name) {
                return Err(format!("no ghost: the share {name} is not there"));
            }
        }
    }
    if !copies.is_empty() || !exposed.is_empty() {
        return Err(format!("no orphan: {copies:?} {exposed:?}"));
    }
    let dangling = facts.world.dangling_links();
    if !dangling.is_empty() {
        return Err(format!(
            "no orphan: previous versions lead nowhere: {dangling:?}"
        ));
    }
    Ok(())
}

/// What a start must have put right: nothing in the table that does not exist.
pub(crate) fn after_a_start(facts: &Facts<'_>) -> Verdict {
    let copies = facts.world.copies();
    for set in facts.durable.sets().filter(|set| set.is_committed()) {
        for copy in &set.copies {
            if !copies.contains_key(&copy.id) && facts.world.is_there(&copy.volume) {
                return Err(format!(
                    "no ghost: {} is recorded and does not exist",
                    copy.id
                ));
            }
        }
    }
    Ok(())
}

/// The mappings that clients may still know of Recovered sets.
pub(crate) fn mappings(table: &Table) -> Vec<Known> {
    let mappings = table.sets().flat_map(|set| {
        set.mappings().map(|(copy, mapping)| Known {
            set: set.id,
            copy: copy.id,
            unc: mapping.share_name_unc.clone(),
        })
    });
    mappings.collect()
}
