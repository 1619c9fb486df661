//! One association on one transport.

use crate::ClientError;
use crate::options::{INTERFACE, Options};
use crate::transport::Transport;
use bytes::Bytes;
use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::{BoundContext, CallError, ClientAction, ClientAssociation, StepTicket};
use std::io;

/// A bound association. Dropping it closes the transport.
#[derive(Debug)]
pub(crate) struct Connection {
    association: ClientAssociation,
    transport: Transport,
    /// PDUs that are sent together.
    outgoing: Vec<Bytes>,
}

/// What the association tells its user.
enum Event {
    Bound(Vec<BoundContext>),
    Completed {
        call_id: u32,
        outcome: Result<Bytes, CallError>,
    },
}

impl Connection {
    /// Binds, with all legs of the authentication.
    pub(crate) async fn bind(transport: Transport, options: Options) -> Result<Self, ClientError> {
        let mut connection = Self {
            association: ClientAssociation::new(options.into_config()),
            transport,
            outgoing: Vec::new(),
        };
        loop {
            if let Event::Bound(contexts) = connection.event().await? {
                check_accepted(&contexts)?;
                return Ok(connection);
            }
        }
    }

    /// Makes one call and waits for its end.
    pub(crate) async fn call(
        &mut self,
        interface: SyntaxId,
        opnum: u16,
        stub: Bytes,
    ) -> Result<Bytes, ClientError> {
        let ours = self.association.call(interface, opnum, stub)?;
        loop {
            match self.event().await? {
                Event::Completed { call_id, outcome } if call_id == ours => return Ok(outcome?),
                Event::Completed { .. } | Event::Bound(_) => {}
            }
        }
    }

    /// Does what the association asks for until it has something to tell.
    async fn event(&mut self) -> Result<Event, ClientError> {
        loop {
            while let Some(action) = self.association.poll_action() {
                if let ClientAction::Transmit(pdu) = action {
                    self.outgoing.push(pdu);
                    continue;
                }
                self.flush().await?;
                match action {
                    ClientAction::Transmit(_) => {}
                    ClientAction::Step(ticket) => self.step(ticket).await?,
                    ClientAction::Bound(contexts) => return Ok(Event::Bound(contexts)),
                    ClientAction::Completed { call_id, outcome } => {
                        return Ok(Event::Completed { call_id, outcome });
                    }
                    ClientAction::Failed(error) => return Err(error.into()),
                }
            }
            self.flush().await?;
            let bytes = self.transport.receive().await?;
            let bytes = bytes.ok_or(ClientError::Closed)?;
            self.association.handle_data(&bytes);
        }
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        if !self.outgoing.is_empty() {
            self.transport.send(&self.outgoing).await?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Runs one leg of the authentication where it may block: Kerberos asks its KDC.
    async fn step(&mut self, mut ticket: StepTicket) -> Result<(), ClientError> {
        let stepped = tokio::task::spawn_blocking(move || {
            let outcome = ticket.run();
            (ticket, outcome)
        });
        let (ticket, outcome) = stepped.await.map_err(io::Error::other)?;
        self.association.handle_stepped(ticket, outcome);
        Ok(())
    }
}

fn check_accepted(contexts: &[BoundContext]) -> Result<(), ClientError> {
    let ours = contexts
        .iter()
        .find(|context| context.interface == INTERFACE);
    match ours.and_then(|context| context.rejected) {
        Some((result, reason)) => Err(ClientError::Rejected { result, reason }),
        None => Ok(()),
    }
}
