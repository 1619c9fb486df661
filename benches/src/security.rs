//! What RPC security costs: sealed null calls against plain ones, and a logon by NTLM against none.
//! Both take turns on the same agent, which has its users in a file.

use crate::Result;
use crate::pipe::{Pipe, message};
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use bytes::Bytes;
use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::{
    ClientAction, ClientAssociation, ClientConfig, ClientSecurity, FeatureNegotiation,
    HeaderSigning,
};
use dcerpc_proto::security::{AuthLevel, AuthType};
use dcerpc_security::{InitiatorConfig, NtlmCredentials, Secret, initiator};
use fsrvp_client::PipeIdentity;
use fsrvp_idl::{INTERFACE_UUID, INTERFACE_VERSION, Opnum, Request};
use fsrvp_samba::npa::{AuthRequest, REPLY_LEN};
use fsrvp_testkit::{Embedded, EmbeddedOptions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const USER: &str = "backup";
const PASSWORD: &str = "Bench-4e1c";
const INTERFACE: SyntaxId = SyntaxId::new(INTERFACE_UUID, INTERFACE_VERSION.0, INTERFACE_VERSION.1);
/// PDU type of a response.
const RESPONSE: u8 = 2;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Slices of each kind.
    pub(crate) slices: usize,
    /// Calls in a slice.
    pub(crate) calls: usize,
    /// Logons of each kind.
    pub(crate) logons: usize,
}

/// Measures.
pub(crate) fn run(agent: &Path, plan: Plan, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let users = dir.path().join("users.toml");
    let user =
        format!("[[user]]\nname = {USER:?}\npassword = {PASSWORD:?}\nsids = [\"S-1-5-32-551\"]\n");
    std::fs::write(&users, user)?;
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600))?;
    let options = EmbeddedOptions {
        listen: "[log]\nlevel = \"warn\"\n".to_owned(),
        server: format!("[server.security]\nkerberos = false\nusers_file = {users:?}\n"),
    };
    let lab = Embedded::with(agent, &options)?;
    let socket = lab.pipe();
    let call = message(&Request::GetSupportedVersion)?;
    let (mut plain, mut signed, mut sealed) = <(Series, Series, Series)>::default();
    for _ in 0..plan.slices {
        let mut pipe = Pipe::open(&socket)?;
        plain.push(rate(plan.calls, |_| pipe.exchange(&call).map(drop))?);
        for (level, rates) in [
            (AuthLevel::Integrity, &mut signed),
            (AuthLevel::Privacy, &mut sealed),
        ] {
            let mut client = Client::log_on(&socket, level)?;
            let calls = client.calls(plan.calls)?;
            let one = |index: usize| client.exchange(calls.get(index).map_or(&[], |c| &**c));
            rates.push(rate(plan.calls, one)?);
        }
    }
    let (mut open, mut logon) = <(Series, Series)>::default();
    for _ in 0..plan.logons {
        timed(&mut open, || -> Result<()> {
            Ok(Pipe::open(&socket)?.exchange(&call).map(drop)?)
        })?;
        timed(&mut logon, || -> Result<()> {
            let mut client = Client::log_on(&socket, AuthLevel::Privacy)?;
            let calls = client.calls(1)?;
            Ok(client.exchange(calls.first().map_or(&[], |c| &**c))?)
        })?;
    }
    lab.down()?;
    let [plain, signed, sealed] = [plain, signed, sealed].map(|rates| rates.median());
    let (open, logon) = (open.median(), logon.median());
    report.table(
        "RPC security on the pipe socket (NTLM, users file)",
        ["", "plain", "signed", "sealed", "sealed / plain"],
        [
            [
                "null calls per second, 1 connection".to_owned(),
                format!("{plain:.0}"),
                format!("{signed:.0}"),
                format!("{sealed:.0}"),
                format!("{:.2}", sealed / plain),
            ],
            [
                "open, bind and one call, ms".to_owned(),
                format!("{open:.3}"),
                "–".to_owned(),
                format!("{logon:.3}"),
                format!("{:.2}", logon / open),
            ],
        ],
    );
    report.note(format!(
        "Medians of {} slices of {} calls and of {} logons, in turns. The client has protected its \
         requests before the clock starts and does not open the answers: what counts is the server.",
        plan.slices, plan.calls, plan.logons
    ));
    report.goal(Goal::new(
        "sealed null calls against plain ones",
        sealed / plain,
        Limit::AtLeast(0.7),
    ));
    report.goal(Goal::new(
        "NTLM bind against a plain one",
        logon / open,
        Limit::AtMost(3.0),
    ));
    Ok(())
}

/// Calls per second.
fn rate(calls: usize, mut call: impl FnMut(usize) -> std::io::Result<()>) -> Result<f64> {
    let start = Instant::now();
    (0..calls).try_for_each(&mut call)?;
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}

/// A client that logs on and protects what it sends.
struct Client {
    stream: UnixStream,
    association: ClientAssociation,
    buffer: Vec<u8>,
}

impl Client {
    fn log_on(socket: &Path, level: AuthLevel) -> Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(&AuthRequest::from(PipeIdentity::default()).encode())?;
        stream.read_exact(&mut [0; REPLY_LEN])?;
        let password = Secret::new(PASSWORD.to_owned());
        let context = initiator(&InitiatorConfig {
            auth_type: AuthType::WINNT,
            level,
            target_host: "bench".to_owned(),
            ntlm: Some(NtlmCredentials::with_password(
                USER.to_owned(),
                String::new(),
                &password,
            )),
            kerberos: None,
        })?;
        let association = ClientAssociation::new(ClientConfig {
            interfaces: vec![INTERFACE],
            max_frag: 4_280,
            association_group: 0,
            feature_negotiation: FeatureNegotiation::Omit,
            security: Some(ClientSecurity {
                auth_type: AuthType::WINNT,
                level,
                context,
                context_id: 1,
                header_signing: HeaderSigning::Offer,
            }),
        });
        let mut client = Self {
            stream,
            association,
            buffer: vec![0; 8_192],
        };
        loop {
            while let Some(action) = client.association.poll_action() {
                match action {
                    ClientAction::Transmit(pdu) => client.stream.write_all(&framed(&pdu)?)?,
                    ClientAction::Step(mut ticket) => {
                        let leg = ticket.run();
                        client.association.handle_stepped(ticket, leg);
                    }
                    ClientAction::Bound(_) => return Ok(client),
                    ClientAction::Failed(error) => return Err(error.into()),
                    ClientAction::Completed { .. } => {}
                }
            }
            let length = client.receive()?;
            let pdu = client.buffer.get(..length).unwrap_or_default();
            client.association.handle_data(pdu);
        }
    }

    /// Protected null calls, in the order in which they have to be sent.
    fn calls(&mut self, number: usize) -> Result<Vec<Vec<u8>>> {
        let mut calls = Vec::with_capacity(number);
        let opnum = Opnum::GetSupportedVersion as u16;
        while calls.len() < number {
            let call = self.association.call(INTERFACE, opnum, Bytes::new())?;
            while let Some(ClientAction::Transmit(pdu)) = self.association.poll_action() {
                calls.push(framed(&pdu)?);
            }
            // The answer is read past the association.
            self.association.orphan(call);
            while self.association.poll_action().is_some() {}
        }
        Ok(calls)
    }

    fn exchange(&mut self, message: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(message)?;
        self.receive()?;
        match self.buffer.get(2) {
            Some(&RESPONSE) => Ok(()),
            other => Err(std::io::Error::other(format!("PDU type {other:?}"))),
        }
    }

    /// Reads a message into the buffer and gives its length.
    fn receive(&mut self) -> std::io::Result<usize> {
        // One read brings a whole message: the server writes it at once.
        let mut have = self.stream.read(&mut self.buffer)?;
        while have < 2 {
            have += self.more(have)?;
        }
        let length = self
            .buffer
            .first_chunk()
            .map_or(0, |l| u16::from_le_bytes(*l));
        let length = usize::from(length);
        while have < length + 2 {
            have += self.more(have)?;
        }
        self.buffer.copy_within(2..length + 2, 0);
        Ok(length)
    }

    fn more(&mut self, have: usize) -> std::io::Result<usize> {
        match self
            .stream
            .read(self.buffer.get_mut(have..).unwrap_or_default())?
        {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

fn framed(pdu: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(pdu.len())?.to_le_bytes();
    Ok([&length, pdu].concat())
}
