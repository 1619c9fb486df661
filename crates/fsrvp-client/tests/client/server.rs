//! A server whose answers a test writes.

use bytes::Bytes;
use dcerpc_proto::assoc::{
    AssociationGroups, IncomingCall, Interface, ServerAction, ServerAssociation, ServerConfig,
};
use dcerpc_proto::limits::MAX_FRAG_PIPE;
use dcerpc_proto::security::{AuthLevel, NoSecurity, SecurityProvider};
use dcerpc_proto::{FaultStatus, SyntaxId};
use fsrvp_client::{ClientError, FsrvpClient, Options};
use fsrvp_idl::{INTERFACE_UUID, INTERFACE_VERSION, Request, Response};
use fsrvp_samba::pipe::{MessageReader, MessageWriter};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

pub(crate) const INTERFACE: SyntaxId =
    SyntaxId::new(INTERFACE_UUID, INTERFACE_VERSION.0, INTERFACE_VERSION.1);

/// What becomes of a call.
pub(crate) enum Answer {
    Reply(Bytes),
    Fault(FaultStatus),
    /// No answer, ever.
    Silence,
    /// The connection is closed instead.
    Close,
}

type Answering = Box<dyn FnMut(&IncomingCall) -> Answer + Send>;

/// How PDUs travel.
#[derive(Clone, Copy)]
pub(crate) enum Framing {
    Messages,
    Stream,
}

pub(crate) struct Server {
    pub(crate) interface: SyntaxId,
    pub(crate) provider: Arc<dyn SecurityProvider>,
    pub(crate) min_auth_level: AuthLevel,
    pub(crate) answering: Answering,
}

impl Server {
    /// Offers FileServerVssAgent and answers as `answering` says.
    pub(crate) fn new(answering: impl FnMut(&IncomingCall) -> Answer + Send + 'static) -> Self {
        Self {
            interface: INTERFACE,
            provider: Arc::new(NoSecurity),
            min_auth_level: AuthLevel::None,
            answering: Box::new(answering),
        }
    }

    /// Decodes each call and replies what `answering` makes of it.
    pub(crate) fn replying(
        mut answering: impl FnMut(&Request) -> Response + Send + 'static,
    ) -> Self {
        Self::new(move |call| {
            let decoded = Request::decode(call.opnum, &call.stub, call.byte_order);
            Answer::Reply(answering(&decoded.unwrap().0).encode())
        })
    }

    fn association(&self) -> ServerAssociation {
        let config = ServerConfig {
            interfaces: vec![Interface {
                id: self.interface,
                opnum_count: 13,
                min_auth_level: None,
            }],
            secondary_address: r"\PIPE\FssagentRpc".to_owned(),
            max_frag: MAX_FRAG_PIPE,
            min_auth_level: self.min_auth_level,
            header_signing: true,
            groups: AssociationGroups::new(1),
        };
        ServerAssociation::new(Duration::ZERO, Arc::new(config), Arc::clone(&self.provider))
    }

    /// Serves one connection until either side closes it.
    pub(crate) async fn serve(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        framing: Framing,
    ) {
        let (reader, writer) = tokio::io::split(stream);
        match framing {
            Framing::Messages => {
                let mut reader = MessageReader::new(reader);
                let mut writer = MessageWriter::new(writer);
                let mut association = self.association();
                while let Ok(Some(bytes)) = reader.read().await {
                    association.handle_data(Duration::ZERO, &bytes);
                    let outgoing = self.act(&mut association);
                    writer.write(&outgoing.pdus).await.unwrap();
                    if outgoing.is_last {
                        return;
                    }
                }
            }
            Framing::Stream => {
                let (mut reader, mut writer) = (reader, writer);
                let mut association = self.association();
                let mut buffer = [0; 1_000];
                while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                    association.handle_data(Duration::ZERO, &buffer[..count]);
                    let outgoing = self.act(&mut association);
                    writer.write_all(&outgoing.pdus.concat()).await.unwrap();
                    if outgoing.is_last {
                        return;
                    }
                }
            }
        }
    }

    /// Does what the association asks for.
    fn act(&mut self, association: &mut ServerAssociation) -> Outgoing {
        let now = Duration::ZERO;
        let mut outgoing = Outgoing::default();
        while let Some(action) = association.poll_action() {
            match action {
                ServerAction::Transmit(pdu) => outgoing.pdus.push(pdu),
                ServerAction::Step(mut ticket) => {
                    let outcome = ticket.run();
                    association.handle_stepped(now, ticket, outcome);
                }
                ServerAction::Call(call) => match (self.answering)(&call) {
                    Answer::Reply(stub) => association.handle_reply(now, call.call_id, Ok(stub)),
                    Answer::Fault(fault) => {
                        association.handle_reply(now, call.call_id, Err(fault));
                    }
                    Answer::Silence => {}
                    Answer::Close => outgoing.is_last = true,
                },
                ServerAction::CancelCall { .. }
                | ServerAction::LevelTooLow { .. }
                | ServerAction::Faulted(_) => {}
                ServerAction::Close(_) => outgoing.is_last = true,
            }
        }
        outgoing
    }
}

/// What to send, and whether to close then.
#[derive(Default)]
struct Outgoing {
    pdus: Vec<Bytes>,
    is_last: bool,
}

/// A client of `server`, over an in-memory pipe.
pub(crate) async fn connect(server: Server, options: Options) -> Result<FsrvpClient, ClientError> {
    let (ours, theirs) = pipe();
    tokio::spawn(server.serve(theirs, Framing::Messages));
    FsrvpClient::over_messages(ours, options).await
}

pub(crate) fn pipe() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(1 << 16)
}
