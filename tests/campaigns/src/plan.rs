//! What a client does with a set.

use crate::invariants::AUTO_RECOVERY;
use fsrvp_testkit::Random;

/// ATTR_PERSISTENT contexts and others: backup, file share backup, NAS rollback, app rollback.
const CONTEXTS: [u32; 4] = [0x00, 0x09, 0x10, 0x19];
/// Alone, NO_AUTO_RECOVERY, AUTO_RECOVERY twice: it has most to do.
const RECOVERY: [u32; 4] = [0, NO_AUTO_RECOVERY, AUTO_RECOVERY, AUTO_RECOVERY];
const NO_AUTO_RECOVERY: u32 = 0x02;

/// How a walk ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a Recovered set.
    Recovered,
    /// With a set that was Recovered and is deleted.
    Delete,
    /// With an Abort before Commit.
    AbortEarly,
}

/// A walk.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) context: u32,
    pub(crate) bases: Vec<usize>,
    pub(crate) prepares: bool,
    pub(crate) reconnects: bool,
    pub(crate) ending: Ending,
}

impl Plan {
    /// A walk to a Recovered set.
    pub(crate) fn full(bases: usize, random: &mut Random) -> Self {
        let context = random.pick(&CONTEXTS).copied().unwrap_or_default();
        let recovery = random.pick(&RECOVERY).copied().unwrap_or_default();
        let mut chosen: Vec<_> = (0..bases).filter(|_| random.chance(2, 5)).collect();
        if chosen.is_empty() {
            chosen.push(0);
        }
        Self {
            context: context | recovery,
            bases: chosen,
            prepares: random.chance(3, 4),
            reconnects: random.chance(1, 4),
            ending: Ending::Recovered,
        }
    }

    /// A walk of any kind.
    pub(crate) fn any(bases: usize, random: &mut Random) -> Self {
        let ending = match random.below(8) {
            0 => Ending::AbortEarly,
            1..=3 => Ending::Delete,
            _ => Ending::Recovered,
        };
        Self {
            ending,
            ..Self::full(bases, random)
        }
    }

    /// The same with copies that are written to until they are sealed.
    pub(crate) fn writable(mut self) -> Self {
        self.context = (self.context & !NO_AUTO_RECOVERY) | AUTO_RECOVERY;
        self
    }

    /// Calls that it makes.
    pub(crate) fn length(&self) -> u64 {
        u64::try_from(self.bases.len()).unwrap_or(0)
    }
}
