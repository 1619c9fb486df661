//! A client that costs as little as can be: blocking, one thread, no allocation in the loop. What
//! is measured through it is the server's and the kernel's time.

use crate::Result;
use bytes::BytesMut;
use dcerpc_proto::pdu::{Bind, Body, ContextElement, Packet, PfcFlags};
use dcerpc_proto::{ByteOrder, SyntaxId};
use fsrvp_client::PipeIdentity;
use fsrvp_idl::{INTERFACE_UUID, INTERFACE_VERSION, Request, Response, Status};
use fsrvp_samba::npa::AuthRequest;
use std::io::{Error, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Largest fragment that is offered.
const MAX_FRAG: u16 = 4_280;
/// Length of a message, in front of it.
const LENGTH_FIELD: usize = 2;
/// Where a PDU says what it is, and what a response says there.
const PDU_TYPE: usize = 2;
const RESPONSE: u8 = 2;
/// Bytes of a response PDU before its stub.
const RESPONSE_HEADER: usize = 24;
/// The answer to a hand-over.
const HAND_OVER_ANSWER: usize = 36;
/// No call takes longer: a lost answer must not hang the run.
const PATIENCE: Duration = Duration::from_secs(60);
/// An administrator's groups as smbd lists them. Samba's agent checks access to the share on the
/// well-known ones (Everyone, Network, Authenticated Users).
const SIDS: [&str; 6] = [
    "S-1-5-21-1-2-3-500",
    "S-1-5-21-1-2-3-513",
    "S-1-1-0",
    "S-1-5-2",
    "S-1-5-11",
    "S-1-5-32-544",
];

/// One open pipe, bound to the FileServerVssAgent interface.
#[derive(Debug)]
pub(crate) struct Pipe {
    stream: UnixStream,
    buffer: Vec<u8>,
    bind_ack: Vec<u8>,
}

impl Pipe {
    /// Opens a pipe as smbd would for a member of Administrators.
    pub(crate) fn open(socket: &Path) -> Result<Self> {
        let sids = SIDS
            .into_iter()
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        let identity = PipeIdentity {
            account: "root".to_owned(),
            sids,
            uid: 0,
            gid: 0,
            ..PipeIdentity::default()
        };
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&AuthRequest::from(identity).encode())?;
        let mut answer = [0; HAND_OVER_ANSWER];
        stream.read_exact(&mut answer)?;
        let mut pipe = Self {
            stream,
            buffer: vec![0; 8_192],
            bind_ack: Vec::new(),
        };
        pipe.bind_ack = pipe.exchange(&bind_message()?)?.to_vec();
        match Packet::decode(payload(&pipe.bind_ack))?.body {
            Body::BindAck(_) => Ok(pipe),
            other => Err(format!("no bind_ack but {other:?}").into()),
        }
    }

    /// The answer to the bind, length included.
    pub(crate) fn bind_ack(&self) -> &[u8] {
        &self.bind_ack
    }

    /// Sends a message, length included, and gives the answer, length included.
    pub(crate) fn exchange(&mut self, message: &[u8]) -> std::io::Result<&[u8]> {
        self.send(message)?;
        self.receive()
    }

    /// Sends a message, length included.
    pub(crate) fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(message)
    }

    /// Waits for a message and gives it, length included.
    pub(crate) fn receive(&mut self) -> std::io::Result<&[u8]> {
        let mut have = 0_usize;
        loop {
            let room = self.buffer.get_mut(have..).unwrap_or_default();
            let read = self.stream.read(room)?;
            if read == 0 {
                return Err(Error::from(ErrorKind::UnexpectedEof));
            }
            have += read;
            if let Some(length) = self
                .buffer
                .first_chunk::<LENGTH_FIELD>()
                .filter(|_| have >= 2)
            {
                let total = LENGTH_FIELD + usize::from(u16::from_le_bytes(*length));
                if have >= total {
                    return self
                        .buffer
                        .get(..total)
                        .ok_or_else(|| ErrorKind::InvalidData.into());
                }
            }
        }
    }

    /// Makes a call and gives its response, which must be a success.
    pub(crate) fn call(&mut self, request: &Request) -> Result<Response> {
        let opnum = request.opnum();
        let answer = payload(self.exchange(&message(request)?)?);
        let stub = answer.get(RESPONSE_HEADER..).unwrap_or_default();
        if answer.get(PDU_TYPE) != Some(&RESPONSE) {
            return Err(format!("{opnum:?}: no response but {answer:02x?}").into());
        }
        let (response, _) = Response::decode(opnum, stub, ByteOrder::Little)?;
        match response.status() {
            Status::ZERO => Ok(response),
            status => Err(format!("{opnum:?}: {status}").into()),
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The bytes of a call, with their length in front.
pub(crate) fn message(request: &Request) -> Result<Vec<u8>> {
    let stub = request.encode();
    framed(Body::Request(dcerpc_proto::pdu::Request {
        alloc_hint: u32::try_from(stub.len())?,
        context_id: 0,
        opnum: request.opnum() as u16,
        object: None,
        body: &stub,
    }))
}

/// The bytes of a bind, with their length in front.
fn bind_message() -> Result<Vec<u8>> {
    let (major, minor) = INTERFACE_VERSION;
    framed(Body::Bind(Bind {
        max_xmit_frag: MAX_FRAG,
        max_recv_frag: MAX_FRAG,
        assoc_group_id: 0,
        contexts: vec![ContextElement {
            context_id: 0,
            abstract_syntax: SyntaxId::new(INTERFACE_UUID, major, minor),
            transfer_syntaxes: vec![SyntaxId::NDR20],
        }],
    }))
}

fn framed(body: Body<'_>) -> Result<Vec<u8>> {
    let mut pdu = BytesMut::new();
    let flags = PfcFlags::FIRST_FRAG | PfcFlags::LAST_FRAG;
    Packet::new(flags, 7, body).encode(&mut pdu)?;
    let mut message = u16::try_from(pdu.len())?.to_le_bytes().to_vec();
    message.extend_from_slice(&pdu);
    Ok(message)
}

fn payload(message: &[u8]) -> &[u8] {
    message.get(LENGTH_FIELD..).unwrap_or_default()
}
