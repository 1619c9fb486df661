//! From a verified request PDU to the agent and back: decode, check, authorise, call, encode.

use crate::agent_cell::AgentCell;
use crate::audit;
use crate::authz::{Authorizer, PipeIdentity, Refusal};
use crate::clock::Clock;
use crate::laboratory;
use crate::log_gate::LogGate;
use crate::metrics;
use bytes::Bytes;
use dcerpc_proto::FaultStatus;
use dcerpc_proto::assoc::IncomingCall;
use dcerpc_proto::security::Identity;
use fsrvp_idl::{DecodeError, Opnum, Request, Status};
use fsrvp_proto::Caller;
use std::sync::{Arc, PoisonError, RwLock};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// What the agent knows of the caller.
    pub caller: Caller,
    /// The SMB session's user; `None` on the laboratory's TCP listener.
    pub pipe: Option<PipeIdentity>,
    /// Port of the laboratory's TCP listener; `None` on the pipe.
    pub tcp_port: Option<u16>,
}

/// Sees each request that decodes, before it is judged. The program has none; a test's control uses
/// it to do what the program must not do.
pub type Inspect = fn(&Request);

/// Serves the FileServerVssAgent interface for one server.
#[derive(Debug)]
pub struct Dispatcher {
    agent: Arc<AgentCell>,
    authorizer: RwLock<Authorizer>,
    server: String,
    calls: metrics::Calls,
    refusals: Arc<LogGate>,
    malformed: LogGate,
    clock: Clock,
    inspect: Option<Inspect>,
}

impl Dispatcher {
    /// Serves `agent`, admitting whom `authorizer` admits. `server` is for logs and metrics,
    /// `refusals` bounds the log lines about those who are not admitted.
    #[must_use]
    pub fn new(
        agent: Arc<AgentCell>,
        authorizer: Authorizer,
        server: String,
        refusals: Arc<LogGate>,
        clock: Clock,
        inspect: Option<Inspect>,
    ) -> Self {
        let calls = metrics::Calls::new(&server);
        Self {
            agent,
            authorizer: RwLock::new(authorizer),
            server,
            calls,
            refusals,
            malformed: LogGate::default(),
            clock,
            inspect,
        }
    }

    /// Admits from the next call on whom `authorizer` admits.
    pub fn set_authorizer(&self, authorizer: Authorizer) {
        *self
            .authorizer
            .write()
            .unwrap_or_else(PoisonError::into_inner) = authorizer;
    }

    /// The server's name, for logs and figures.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Executes one call. The order of checks: the stub decodes, then the caller, then the
    /// method's own; the security level has been checked by the association.
    ///
    /// # Errors
    /// The fault that answers a stub that does not decode, or whose verification trailer
    /// contradicts the request.
    pub async fn handle(&self, peer: &Peer, call: IncomingCall) -> Result<Bytes, FaultStatus> {
        if let Some(answer) = peer
            .tcp_port
            .and_then(|port| laboratory::answer(&call, port))
        {
            return answer;
        }
        let (request, rest) = match Request::decode(call.opnum, &call.stub, call.byte_order) {
            Ok(decoded) => decoded,
            Err(DecodeError::UnknownOpnum(_)) => return Err(FaultStatus::OP_RANGE),
            Err(error) => {
                if let Some(suppressed) = self.malformed.admit(self.clock.monotonic()) {
                    tracing::info!(
                        server = self.server,
                        opnum = call.opnum,
                        client = ?peer.caller.address,
                        error = %error,
                        suppressed,
                        "a request does not decode"
                    );
                }
                return Err(FaultStatus::BAD_STUB_DATA);
            }
        };
        if let Err(error) = call.verification.check(rest) {
            if let Some(suppressed) = self.malformed.admit(self.clock.monotonic()) {
                tracing::warn!(
                    server = self.server,
                    client = ?peer.caller.address,
                    error = %error,
                    suppressed,
                    "a request was tampered with"
                );
            }
            return Err(FaultStatus::ACCESS_DENIED);
        }
        if let Some(inspect) = self.inspect {
            inspect(&request);
        }
        let method = request.opnum();
        let context = call.security.as_ref().map(|security| &*security.identity);
        let admitted = self
            .authorizer
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .check(peer.pipe.as_ref(), context);
        if let Err(refusal) = admitted {
            metrics::refused(&self.server, &refusal);
            self.log_refusal(peer, method, context, &refusal);
            return Ok(request.failed(Status::E_ACCESSDENIED).encode());
        }
        let mut caller = peer.caller.clone();
        if let Some(identity) = context {
            caller.account.clone_from(&identity.account);
        }
        let lost = request.failed(Status::FSRVP_E_WAIT_FAILED);
        let told = (caller.clone(), request.clone());
        let begun = self.clock.monotonic();
        let response = self.agent.call(caller, request).await.unwrap_or(lost);
        // Writers are frozen from before this call until after its answer.
        if method == Opnum::CommitShadowCopySet && response.status().is_ok() {
            let took = self.clock.monotonic().saturating_sub(begun);
            metrics::freeze(&self.server, took);
        }
        audit::call(&self.server, &told.0, &told.1, &response);
        self.calls.answered(method, response.status());
        Ok(response.encode())
    }

    fn log_refusal(
        &self,
        peer: &Peer,
        method: Opnum,
        context: Option<&Identity>,
        refusal: &Refusal,
    ) {
        let Some(suppressed) = self.refusals.admit(self.clock.monotonic()) else {
            return;
        };
        tracing::warn!(
            server = self.server,
            method = ?method,
            client = ?peer.caller.address,
            pipe_account = peer.pipe.as_ref().map(|pipe| pipe.account.as_str()),
            pipe_sids = ?peer.pipe.as_ref().map(|pipe| &pipe.sids),
            rpc_account = context.map(|identity| identity.account.as_str()),
            rpc_sids = ?context.map(|identity| &identity.sids),
            reason = %refusal,
            suppressed,
            "a call was refused"
        );
    }
}
