//! \[3.1.4.10\] IsPathShadowCopied (Opnum 9)

use super::LookupMethod;
use crate::action::{Caller, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::job::{Failure, FailureKind, Located};
use crate::set::ShadowCopySet;
use fsrvp_idl::{Response, Status};

impl Agent {
    pub(super) fn path_shadow_copied(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        share_name: &str,
    ) {
        let share = match self.own_share(share_name, caller) {
            Ok(share) => share,
            Err(status) => return self.finish(ticket, status),
        };
        // There is no copy of a copy.
        if self.is_exposed_by_us(&share) {
            return self.reply_shadow_copied(ticket, None);
        }
        self.locate(now, ticket, share, LookupMethod::IsPathShadowCopied);
    }

    pub(super) fn path_shadow_copied_located(
        &mut self,
        ticket: Ticket,
        located: Result<Located, Failure>,
    ) {
        match located {
            // "For each ShadowCopySet [...] where ShadowCopySet.Status is "Committed", "Exposed",
            // or "Recovered", the server MUST [...] verify if any ShadowCopy exists where
            // ShadowCopy.VolumeName matches the file store on which ShareName is hosted."
            Ok(located) => {
                let present = self
                    .table
                    .sets()
                    .filter(|set| set.is_committed())
                    .any(|set| holds(set, &located));
                let compatibility = present.then_some(located.compatibility);
                self.reply_shadow_copied(ticket, compatibility);
            }
            // A store that cannot be copied has no copy: the text knows no other failure than the
            // missing share.
            Err(failure) if failure.kind == FailureKind::Unsupported => {
                self.reply_shadow_copied(ticket, None);
            }
            Err(failure) => self.finish(ticket, failure.status()),
        }
    }

    fn reply_shadow_copied(&mut self, ticket: Ticket, compatibility: Option<i32>) {
        let response = Response::IsPathShadowCopied {
            shadow_copy_present: compatibility.is_some(),
            shadow_copy_compatibility: compatibility.unwrap_or(0),
            status: Status::ZERO,
        };
        self.reply(ticket, response);
    }
}

fn holds(set: &ShadowCopySet, located: &Located) -> bool {
    set.copies
        .iter()
        .any(|copy| copy.backend == located.backend && copy.volume == located.volume)
}
