//! A client that logs on as it should, and then has the bytes of its PDUs in its hands.

use crate::support::{Daemon, administrator};
use bytes::Bytes;
use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::{
    ClientAction, ClientAssociation, ClientConfig, ClientError, ClientSecurity, FeatureNegotiation,
    HeaderSigning,
};
use dcerpc_proto::pdu::{Body, Packet};
use dcerpc_proto::security::{AuthLevel, AuthType};
use dcerpc_security::{InitiatorConfig, NtlmCredentials, Secret, initiator};
use fsrvp_idl::{INTERFACE_UUID, INTERFACE_VERSION, Request, Response};
use fsrvp_samba::npa::{AuthRequest, REPLY_LEN};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest time that an answer, or the end, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which way into the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The laboratory's listener.
    Tcp,
    /// The socket on which smbd hands pipes over; the SMB session is an administrator's, because
    /// that alone must not help anybody.
    Pipe,
}

pub(crate) const DOORS: [Door; 2] = [Door::Tcp, Door::Pipe];

/// What comes back from the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Response,
    Fault(u32),
    BindNak(u16),
    /// An answer to a bind or alter_context.
    Acknowledged,
    /// The daemon has closed.
    End,
}

/// A stream of PDUs.
pub(crate) enum Wire {
    Tcp(TcpStream),
    Pipe(UnixStream),
}

impl Wire {
    pub(crate) fn connect(daemon: &Daemon, door: Door) -> Self {
        match door {
            Door::Tcp => {
                let stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                Self::Tcp(stream)
            }
            Door::Pipe => Self::hand_over(daemon, &AuthRequest::from(administrator()).encode()),
        }
    }

    /// Hands a pipe over as smbd does.
    pub(crate) fn hand_over(daemon: &Daemon, frame: &[u8]) -> Self {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(frame).unwrap();
        let mut reply = [0; REPLY_LEN];
        stream.read_exact(&mut reply).unwrap();
        Self::Pipe(stream)
    }

    /// Sends bytes, on a pipe as one message. `false` if the daemon has closed.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Pipe(stream) => {
                let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
                stream.write_all(&[&length, bytes].concat())
            }
        };
        sent.is_ok()
    }

    /// Says that nothing more will come.
    pub(crate) fn finish(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Pipe(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// The next PDU; `None` at the end.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Tcp(stream) => {
                let mut header = [0; 16];
                exactly(stream.read_exact(&mut header))?;
                let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
                let mut rest = vec![0; length - header.len()];
                exactly(stream.read_exact(&mut rest))?;
                Some([&header, &*rest].concat())
            }
            Self::Pipe(stream) => {
                let mut length = [0; 2];
                exactly(stream.read_exact(&mut length))?;
                let mut message = vec![0; usize::from(u16::from_le_bytes(length))];
                exactly(stream.read_exact(&mut message))?;
                Some(message)
            }
        }
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let Some(pdu) = self.receive() else {
            return Answer::End;
        };
        match Packet::decode(&pdu).unwrap().body {
            Body::Response(_) => Answer::Response,
            Body::Fault(fault) => Answer::Fault(fault.status.0),
            Body::BindNak(nak) => Answer::BindNak(nak.reason.0),
            Body::BindAck(_) | Body::AlterContextResp(_) => Answer::Acknowledged,
            other => panic!("{other:?}"),
        }
    }
}

/// The end of the stream, however it came, is `None`; silence is a failure.
fn exactly(read: std::io::Result<()>) -> Option<()> {
    match read {
        Ok(()) => Some(()),
        Err(error) => {
            let silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!silent, "the daemon neither answers nor closes");
            None
        }
    }
}

/// How to log on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logon {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    pub(crate) auth_type: AuthType,
    pub(crate) level: AuthLevel,
    pub(crate) header_signing: HeaderSigning,
}

impl Logon {
    /// A backup operator with everything right, by NTLM, sealing.
    pub(crate) const RIGHT: Self = Self {
        user: "backup",
        password: super::BACKUP_PASSWORD,
        auth_type: AuthType::WINNT,
        level: AuthLevel::Privacy,
        header_signing: HeaderSigning::Offer,
    };

    fn config(&self) -> ClientConfig {
        let credentials = NtlmCredentials::with_password(
            self.user.to_owned(),
            "LAB".to_owned(),
            &Secret::new(self.password.to_owned()),
        );
        let context = initiator(&InitiatorConfig {
            auth_type: self.auth_type,
            level: self.level,
            target_host: "lab".to_owned(),
            ntlm: Some(credentials),
            kerberos: None,
        });
        ClientConfig {
            interfaces: vec![INTERFACE],
            max_frag: 4280,
            association_group: 0,
            feature_negotiation: FeatureNegotiation::Omit,
            security: Some(ClientSecurity {
                auth_type: self.auth_type,
                level: self.level,
                context: context.unwrap(),
                context_id: 7,
                header_signing: self.header_signing,
            }),
        }
    }
}

pub(crate) const INTERFACE: SyntaxId =
    SyntaxId::new(INTERFACE_UUID, INTERFACE_VERSION.0, INTERFACE_VERSION.1);

/// A client with its association.
pub(crate) struct Peer {
    pub(crate) wire: Wire,
    association: ClientAssociation,
}

impl Peer {
    /// Logs on, and is served.
    pub(crate) fn new(daemon: &Daemon, door: Door, logon: Logon) -> Self {
        Self::try_new(daemon, door, logon, |_, _| {}).unwrap()
    }

    /// Logs on; `change` is given each PDU of the logon with its number before it leaves.
    pub(crate) fn try_new(
        daemon: &Daemon,
        door: Door,
        logon: Logon,
        change: impl Fn(usize, &mut Vec<u8>),
    ) -> Result<Self, ClientError> {
        let mut peer = Self {
            wire: Wire::connect(daemon, door),
            association: ClientAssociation::new(logon.config()),
        };
        let mut sent = 0;
        loop {
            while let Some(action) = peer.association.poll_action() {
                match action {
                    ClientAction::Transmit(pdu) => {
                        let mut pdu = pdu.to_vec();
                        change(sent, &mut pdu);
                        sent += 1;
                        peer.wire.send(&pdu);
                    }
                    ClientAction::Step(mut ticket) => {
                        let leg = ticket.run();
                        peer.association.handle_stepped(ticket, leg);
                    }
                    ClientAction::Bound(_) => return Ok(peer),
                    ClientAction::Failed(error) => return Err(error),
                    ClientAction::Completed { .. } => unreachable!(),
                }
            }
            let pdu = peer.wire.receive();
            let pdu = pdu.ok_or_else(|| ClientError::Protocol("closed".to_owned()))?;
            peer.association.handle_data(&pdu);
        }
    }

    /// The protected PDUs of a call, which are not sent. The association thinks that they were, and
    /// that nobody waits for the answer.
    pub(crate) fn pdus(&mut self, opnum: u16, stub: Bytes) -> Vec<Vec<u8>> {
        let call = self.association.call(INTERFACE, opnum, stub).unwrap();
        let pdus = self.transmitted();
        self.association.orphan(call);
        self.transmitted();
        pdus
    }

    /// The one PDU of a request.
    pub(crate) fn pdu(&mut self, request: &Request) -> Vec<u8> {
        let mut pdus = self.pdus(request.opnum() as u16, request.encode());
        assert_eq!(pdus.len(), 1);
        pdus.remove(0)
    }

    fn transmitted(&mut self) -> Vec<Vec<u8>> {
        let mut pdus = Vec::new();
        while let Some(action) = self.association.poll_action() {
            match action {
                ClientAction::Transmit(pdu) => pdus.push(pdu.to_vec()),
                other => panic!("{other:?}"),
            }
        }
        pdus
    }

    /// Makes a call as it should.
    pub(crate) fn call(&mut self, request: &Request) -> Response {
        let opnum = request.opnum();
        let stub = request.encode();
        let call = self.association.call(INTERFACE, opnum as u16, stub);
        let call = call.unwrap();
        loop {
            while let Some(action) = self.association.poll_action() {
                match action {
                    ClientAction::Transmit(pdu) => assert!(self.wire.send(&pdu)),
                    ClientAction::Completed { call_id, outcome } => {
                        assert_eq!(call_id, call);
                        let order = dcerpc_proto::ByteOrder::Little;
                        return Response::decode(opnum, &outcome.unwrap(), order).unwrap().0;
                    }
                    other => panic!("{other:?}"),
                }
            }
            let pdu = self.wire.receive().expect("an answer");
            self.association.handle_data(&pdu);
        }
    }
}
