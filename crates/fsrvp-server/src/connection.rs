//! Drives one association over one stream.

use crate::clock::Clock;
use crate::dispatch::{Dispatcher, Peer};
use crate::eager::{Eager, Eagerness};
use crate::log_gate::LogGate;
use crate::metrics;
use crate::server::fsrvp_interface;
use bytes::Bytes;
use dcerpc_proto::assoc::{CloseReason, ServerAction, ServerAssociation, StepTicket};
use dcerpc_proto::security::{AuthLevel, Leg, SecurityError};
use dcerpc_proto::{FaultStatus, SyntaxId};
use fsrvp_idl::Opnum;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Longest time that a peer may take to read an answer. What a client reads at once goes into the
/// socket's buffer without any wait.
const SEND_LIMIT: Duration = Duration::from_secs(60);

/// A byte stream that carries PDUs.
pub trait PduStream: Send {
    /// What has arrived, in any portions; `None` at the end of the stream. Cancel safe.
    fn read(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;

    /// What has arrived or arrives before `until`, without going to sleep. Where a stream cannot
    /// tell, nothing has.
    fn look(&mut self, _until: Instant) -> io::Result<Option<Bytes>> {
        Ok(None)
    }

    /// Sends PDUs, on a pipe one a message.
    fn send(&mut self, pdus: &[Bytes]) -> impl Future<Output = io::Result<()>> + Send;

    /// Ends the stream so that what was sent arrives, whatever the peer still sends.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What all connections of a server share.
#[derive(Debug)]
pub struct Service {
    /// Executes the calls.
    pub dispatcher: Dispatcher,
    /// Time.
    pub clock: Clock,
    /// Bounds the logons that are verified at a time: they may block in winbind or GSSAPI.
    pub logons: Arc<Semaphore>,
    /// Longest time that the verification of one token may take.
    pub logon_limit: Duration,
    /// Bounds the log lines about refused callers.
    pub refusals: Arc<LogGate>,
    /// Bounds the log lines about connections that we close: refused logons among them.
    pub closures: LogGate,
    /// Whether one may look for the next call without going to sleep.
    pub eagerness: Eagerness,
}

impl Service {
    /// A logon failed; the error names the account that the client claimed.
    fn log_refused_logon(&self, peer: &Peer, error: &SecurityError) {
        let server = self.dispatcher.server();
        metrics::refused_logon(server);
        let Some(suppressed) = self.refusals.admit(self.clock.monotonic()) else {
            return;
        };
        tracing::warn!(
            server,
            client = ?peer.caller.address,
            pipe_account = peer.pipe.as_ref().map(|pipe| pipe.account.as_str()),
            pipe_sids = ?peer.pipe.as_ref().map(|pipe| &pipe.sids),
            reason = %error,
            suppressed,
            "a logon was refused"
        );
    }

    /// A call was answered with a fault because its level is too low.
    fn log_low_level(&self, peer: &Peer, interface: SyntaxId, opnum: u16, level: AuthLevel) {
        metrics::refused_level(self.dispatcher.server());
        let Some(suppressed) = self.refusals.admit(self.clock.monotonic()) else {
            return;
        };
        tracing::warn!(
            server = self.dispatcher.server(),
            %interface,
            method = method(interface, opnum).map(tracing::field::debug),
            opnum,
            client = ?peer.caller.address,
            pipe_account = peer.pipe.as_ref().map(|pipe| pipe.account.as_str()),
            pipe_sids = ?peer.pipe.as_ref().map(|pipe| &pipe.sids),
            level = ?level,
            reason = "authentication level too low",
            suppressed,
            "a call was refused"
        );
    }
}

/// The method, where the interface is FileServerVssAgent: others have opnums of the same numbers.
fn method(interface: SyntaxId, opnum: u16) -> Option<Opnum> {
    let is_ours = interface == fsrvp_interface().id;
    is_ours.then(|| Opnum::try_from(opnum).ok()).flatten()
}

type Reply<'a> = Pin<Box<dyn Future<Output = (u32, Result<Bytes, FaultStatus>)> + Send + 'a>>;
type Stepped =
    Pin<Box<dyn Future<Output = Option<(StepTicket, Result<Leg, SecurityError>)>> + Send>>;

/// Serves a connection until either side closes it.
pub async fn serve<S: PduStream>(
    mut stream: S,
    mut association: ServerAssociation,
    peer: &Peer,
    service: &Service,
) {
    match drive(&mut stream, &mut association, peer, service).await {
        Ok(None) => {}
        Ok(Some(reason)) => {
            metrics::closed(&reason);
            if let Some(suppressed) = service.closures.admit(service.clock.monotonic()) {
                tracing::info!(
                    client = ?peer.caller.address,
                    pipe_account = peer.pipe.as_ref().map(|pipe| pipe.account.as_str()),
                    reason = %reason,
                    suppressed,
                    "connection closed"
                );
            }
            stream.close().await;
        }
        Err(error) => {
            tracing::debug!(client = ?peer.caller.address, error = %error, "connection lost");
        }
    }
}

async fn drive<S: PduStream>(
    stream: &mut S,
    association: &mut ServerAssociation,
    peer: &Peer,
    service: &Service,
) -> io::Result<Option<CloseReason>> {
    let mut output = Vec::new();
    let mut eager = Eager::new(&service.eagerness);
    let mut reply: Option<Reply<'_>> = None;
    let mut stepped: Option<Stepped> = None;
    let sleep = tokio::time::sleep_until(service.clock.instant(Duration::MAX));
    tokio::pin!(sleep);
    loop {
        let mut close = None;
        while let Some(action) = association.poll_action() {
            match action {
                ServerAction::Transmit(pdu) => {
                    tracing::trace!(client = ?peer.caller.address, length = pdu.len(), "sent");
                    output.push(pdu);
                }
                ServerAction::Call(call) => {
                    let id = call.call_id;
                    let handling = service.dispatcher.handle(peer, call);
                    reply = Some(Box::pin(async move { (id, handling.await) }));
                }
                ServerAction::Step(ticket) => stepped = Some(step(ticket, service)),
                // The agent's calls cannot be taken back; their effects go on without a reader.
                ServerAction::CancelCall { .. } => {}
                ServerAction::LevelTooLow {
                    interface,
                    opnum,
                    level,
                } => service.log_low_level(peer, interface, opnum, level),
                ServerAction::Faulted(status) => metrics::faulted(status),
                ServerAction::Close(reason) => close = Some(reason),
            }
        }
        if !output.is_empty() {
            send(stream, &output).await?;
            output.clear();
            if close.is_none()
                && reply.is_none()
                && stepped.is_none()
                && association.wants_data()
                && let Some(until) = eager.answered(Instant::now())
                && let Some(bytes) = stream.look(until)?
            {
                eager.arrived(Instant::now());
                association.handle_data(service.clock.monotonic(), &bytes);
                continue;
            }
        }
        if close.is_some() {
            return Ok(close);
        }
        // The timer is put forward only when it fires: most deadlines are pushed back by every
        // PDU and never come.
        let deadline = association
            .poll_timeout()
            .map(|at| service.clock.instant(at));
        if deadline.is_some_and(|deadline| deadline < sleep.deadline()) {
            sleep
                .as_mut()
                .reset(deadline.unwrap_or_else(tokio::time::Instant::now));
        }
        tokio::select! {
            biased;
            (call_id, outcome) = poll_some(&mut reply), if reply.is_some() => {
                reply = None;
                association.handle_reply(service.clock.monotonic(), call_id, outcome);
            }
            outcome = poll_some(&mut stepped), if stepped.is_some() => {
                stepped = None;
                let now = service.clock.monotonic();
                match outcome {
                    Some((ticket, leg)) => {
                        if let Err(error) = &leg {
                            service.log_refused_logon(peer, error);
                        }
                        association.handle_stepped(now, ticket, leg);
                    }
                    None => {
                        let text = "the verification took too long".to_owned();
                        let error = SecurityError::Unavailable(text);
                        service.log_refused_logon(peer, &error);
                        association.handle_step_abandoned(now, error);
                    }
                }
            }
            read = stream.read(), if association.wants_data() => match read? {
                Some(bytes) => {
                    tracing::trace!(
                        client = ?peer.caller.address,
                        length = bytes.len(),
                        "received"
                    );
                    eager.arrived(Instant::now());
                    association.handle_data(service.clock.monotonic(), &bytes);
                }
                None => return Ok(None),
            },
            () = &mut sleep => {
                association.handle_timeout(service.clock.monotonic());
                let next = association.poll_timeout().unwrap_or(Duration::MAX);
                sleep.as_mut().reset(service.clock.instant(next));
            }
        }
    }
}

/// Sends to a peer that reads: one that does not has no claim on its place, and the association's
/// own deadlines are not looked at meanwhile.
async fn send<S: PduStream>(stream: &mut S, pdus: &[Bytes]) -> io::Result<()> {
    tokio::time::timeout(SEND_LIMIT, stream.send(pdus))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Polls the future in a slot that the caller knows to be full.
async fn poll_some<F: Future + Unpin>(slot: &mut Option<F>) -> F::Output {
    match slot {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Runs one leg of a logon where blocking is allowed, bounded in number and time.
fn step(mut ticket: StepTicket, service: &Service) -> Stepped {
    let logons = Arc::clone(&service.logons);
    let limit = service.logon_limit;
    Box::pin(async move {
        let run = async move {
            let permit = logons.acquire_owned().await.ok()?;
            let ran = tokio::task::spawn_blocking(move || {
                let leg = ticket.run();
                drop(permit);
                (ticket, leg)
            });
            ran.await.ok()
        };
        tokio::time::timeout(limit, run).await.ok().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl PduStream for Deaf {
        async fn read(&mut self) -> io::Result<Option<Bytes>> {
            std::future::pending().await
        }

        async fn send(&mut self, _: &[Bytes]) -> io::Result<()> {
            std::future::pending().await
        }

        async fn close(self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_not_waited_for() {
        let error = send(&mut Deaf, &[Bytes::new()]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_refusal_names_no_method_of_another_interface() {
        let ours = fsrvp_interface().id;
        assert_eq!(method(ours, 4), Some(Opnum::CommitShadowCopySet));
        assert_eq!(method(ours, 13), None);
        assert_eq!(method(SyntaxId::MGMT, 4), None);
    }
}
