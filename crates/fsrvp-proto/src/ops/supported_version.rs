//! \[3.1.4.1\] GetSupportedVersion (Opnum 0)

use crate::agent::Agent;
use crate::calls::Ticket;
use fsrvp_idl::{Response, Status};

/// \[2.2.2.4\] FSRVP_RPC_VERSION_1
const FSRVP_RPC_VERSION_1: u32 = 1;

impl Agent {
    pub(super) fn supported_version(&mut self, ticket: Ticket) {
        self.reply(
            ticket,
            Response::GetSupportedVersion {
                min_version: FSRVP_RPC_VERSION_1,
                max_version: FSRVP_RPC_VERSION_1,
                status: Status::ZERO,
            },
        );
    }
}
