//! What a seed is about: configuration of the server, and how often what goes wrong.

use crate::random::{Draw, Random};
use crate::world::SHARES;
use fsrvp_idl::ShareName;
use fsrvp_proto::Retention;
use fsrvp_proto::profile::Profile;
use fsrvp_server::executor::KeepPolicy;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a history is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    pub(crate) steps: u64,
}

/// Chances are in a thousand for each opportunity.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) profile: Profile,
    pub(crate) allow_shared_volume: bool,
    pub(crate) clients: u64,
    /// A client does something else than the next step of its walk (in a hundred).
    pub(crate) nonsense: u64,
    pub(crate) step_fails: u64,
    pub(crate) step_hangs: u64,
    pub(crate) store_fails: u64,
    pub(crate) store_hangs: u64,
    pub(crate) crash: u64,
    pub(crate) shutdown: u64,
    pub(crate) administrator: u64,
    pub(crate) surroundings: u64,
    pub(crate) wall_jumps: u64,
    pub(crate) operator: u64,
    /// How long Recovered sets are kept.
    pub(crate) retention: Retention,
    /// Shares of which snapshots are kept.
    pub(crate) keep: BTreeMap<ShareName, KeepPolicy>,
}

impl Plan {
    pub(crate) fn of(random: &mut Random) -> Self {
        // Each kind of trouble is absent from half of the histories, so that others go far.
        let mut some = |most: u64| match random.below(4) {
            0 | 1 => 0,
            2 => most / 5,
            _ => most,
        };
        let [step_fails, step_hangs, store_fails, store_hangs] =
            [some(120), some(40), some(120), some(60)];
        let [crash, shutdown, administrator, surroundings, wall_jumps] =
            [some(40), some(8), some(25), some(40), some(20)];
        let operator = some(40);
        Self {
            operator,
            retention: retention(random),
            keep: keep(random),
            profile: if random.percent(25) {
                Profile::Ws2012
            } else {
                Profile::Spec
            },
            allow_shared_volume: random.percent(30),
            clients: 1 + random.below(3),
            nonsense: *random.one_of(&[0, 5, 5, 25]),
            step_fails,
            step_hangs,
            store_fails,
            store_hangs,
            crash,
            shutdown,
            administrator,
            surroundings,
            wall_jumps,
        }
    }
}

/// Absent from half of the histories.
fn retention(random: &mut Random) -> Retention {
    if random.percent(50) {
        return Retention::default();
    }
    Retention {
        age: age(random),
        count: count(random),
    }
}

/// No share in half of the histories.
fn keep(random: &mut Random) -> BTreeMap<ShareName, KeepPolicy> {
    let few = random.percent(50);
    let mut policies = BTreeMap::new();
    for (share, _) in SHARES {
        if few && random.percent(60) {
            let policy = KeepPolicy {
                name: (*random.one_of(&["kept-{time}", "{share}-{copy}"])).to_owned(),
                count: count(random),
                age: age(random),
            };
            policies.insert(ShareName::new(share), policy);
        }
    }
    policies
}

fn age(random: &mut Random) -> Option<Duration> {
    let minutes = *random.one_of(&[10, 90, 600]);
    random
        .percent(60)
        .then_some(Duration::from_secs(60 * minutes))
}

fn count(random: &mut Random) -> Option<usize> {
    let count = *random.one_of(&[1, 2, 3]);
    random.percent(60).then_some(count)
}
