//! \[3.1.4.11\] GetShareMapping (Opnum 10)

use crate::action::{Caller, Now};
use crate::agent::Agent;
use crate::calls::{Ticket, parse};
use crate::profile::Profile;
use crate::set::SetStatus;
use fsrvp_idl::{Request, Response, ShadowCopyId, ShadowCopySetId, ShareMapping, Status};

impl Agent {
    pub(super) fn share_mapping(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        request: &Request,
    ) {
        let Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            level,
        } = request
        else {
            return;
        };
        let (set, copy) = (*shadow_copy_set_id, *shadow_copy_id);
        // ≠ a failure leaves the timer's old deadline as it was, where the text has stopped the
        // timer by then: a wrong argument must not keep a set for ever.
        match self.find_mapping(caller, set, copy, share_name, *level) {
            Ok(mapping) => {
                // "start the Message Sequence Timer with a timeout value of 1800 seconds": but a
                // Recovered set (ws2012) has nothing to time.
                let exposed = self.table.set(set).map(|set| set.status);
                if exposed == Some(SetStatus::Exposed) {
                    let long = self.config.long_timer;
                    self.timer_of(set).start(now.at, long);
                }
                let response = Response::GetShareMapping {
                    level: *level,
                    mapping: Some(mapping),
                    status: Status::ZERO,
                };
                self.reply(ticket, response);
            }
            Err(status) => self.reply(ticket, request.failed(status)),
        }
    }

    fn find_mapping(
        &self,
        caller: &Caller,
        set_id: ShadowCopySetId,
        copy_id: ShadowCopyId,
        share_name: &str,
        level: u32,
    ) -> Result<ShareMapping, Status> {
        // [3.1.4] "if any of the parameters is NULL, the server MUST fail the call with
        // E_INVALIDARG". "If the value of Level is invalid, the server MUST fail the call with
        // E_INVALIDARG."
        let path = parse(share_name)?;
        if set_id.is_null() || copy_id.is_null() || level != 1 {
            return Err(Status::E_INVALIDARG);
        }
        let profile = self.config.profile;
        let set = self.table.set(set_id).ok_or(profile.unknown_set())?;
        // "If ShadowCopySet.Status is not "Exposed", the server SHOULD<10> fail the call with
        // FSRVP_E_BAD_STATE."
        match (self.status_of(set), profile) {
            (SetStatus::Exposed, _) | (SetStatus::Recovered, Profile::Ws2012) => {}
            (SetStatus::Recovered, Profile::Spec) => return Err(Status::FSRVP_E_BAD_STATE),
            (
                SetStatus::Started
                | SetStatus::Added
                | SetStatus::CreationInProgress
                | SetStatus::Committed,
                _,
            ) => return Err(profile.mapping_before_exposed()),
        }
        // "If no entry is found, the server MUST fail the call with E_INVALIDARG."
        let copy = set.copy(copy_id).ok_or(Status::E_INVALIDARG)?;
        let mapping = copy
            .mapping(&path.share)
            .filter(|_| self.own_names.owns(&path.host, caller))
            .ok_or(Status::E_INVALIDARG)?;
        Ok(ShareMapping {
            shadow_copy_set_id: set_id,
            shadow_copy_id: copy_id,
            share_name_unc: mapping.share_name_unc.clone(),
            shadow_copy_share_name: Some(mapping.shadow_copy_share_name.clone()),
            creation_timestamp: copy.created,
        })
    }
}
