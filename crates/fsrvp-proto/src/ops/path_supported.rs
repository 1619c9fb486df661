//! \[3.1.4.9\] IsPathSupported (Opnum 8)

use super::LookupMethod;
use crate::action::{Caller, Now};
use crate::agent::Agent;
use crate::calls::Ticket;
use crate::job::{Artefact, Failure, Located};
use fsrvp_idl::{Response, ShareName, Status};

impl Agent {
    pub(super) fn path_supported(
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
        if self.is_exposed_by_us(&share) {
            return self.finish(ticket, Status::FSRVP_E_NOT_SUPPORTED);
        }
        let method = LookupMethod::IsPathSupported(share.clone());
        self.locate(now, ticket, share, method);
    }

    pub(super) fn path_supported_located(
        &mut self,
        ticket: Ticket,
        share: &ShareName,
        located: Result<Located, Failure>,
    ) {
        // "If the share does not exist, the server MUST fail the call with
        // FSRVP_E_OBJECT_NOT_FOUND"; "If the object store has mount points underneath or if the
        // file store is not supported [...] FSRVP_E_NOT_SUPPORTED."
        if let Err(failure) = located {
            return self.finish(ticket, failure.status());
        }
        if share.check_exposable().is_err() {
            return self.finish(ticket, Status::FSRVP_E_NOT_SUPPORTED);
        }
        // "The server MUST set OwnerMachineName to the name of the server which it requires the
        // client to connect to [...] MUST set SupportedByThisProvider to TRUE and return ZERO".
        let response = Response::IsPathSupported {
            supported_by_this_provider: true,
            owner_machine_name: Some(self.config.server_name.clone()),
            status: Status::ZERO,
        };
        self.reply(ticket, response);
    }

    /// Whether the share is one of our exposed shares: by our records, not by its name's pattern.
    pub(super) fn is_exposed_by_us(&self, share: &ShareName) -> bool {
        if self.table.is_exposed_name(share) {
            return true;
        }
        // Shares that are about to appear, or have not gone yet.
        let named = |name: &str| ShareName::new(name) == *share;
        let owed = self
            .debts
            .iter()
            .filter_map(|(number, _)| self.table.debt(number))
            .any(|debt| matches!(&debt.artefact, Artefact::Share(name) if named(name)));
        let tried = self.live.iter().filter(|(_, live)| live.may_have_shares);
        owed || tried
            .filter_map(|(id, _)| self.table.set(*id))
            .flat_map(|set| set.mappings())
            .any(|(_, mapping)| named(&mapping.shadow_copy_share_name))
    }
}
