//! A server with RPC security on loopback TCP, to try real clients against: it answers
//! GetSupportedVersion of the File Server Remote VSS protocol and says who called.
//!
//! `cargo run -p dcerpc-security --example loopback -- --users users.toml [options]`
//!
//! Options: `--port N` (9135), `--epm` (also an endpoint mapper on port 135, which rpcclient
//! asks), `--users FILE`, `--winbind`, `--samba-passwords`, `--smb-conf FILE`, `--standalone`,
//! `--name NETBIOS`, `--domain NETBIOS`, `--keytab FILE`, `--require-mic`, `--min-level N` (5),
//! `--no-header-signing` (takes the offer out of the client's binds).

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use dcerpc_proto::assoc::{
    AssociationGroups, IncomingCall, Interface, ServerAction, ServerAssociation, ServerConfig,
};
use dcerpc_proto::limits::MAX_FRAG_TCP;
use dcerpc_proto::security::{AuthLevel, SecurityProvider};
use dcerpc_proto::{FaultStatus, SyntaxId};
use dcerpc_security::verifier::VerifierConfig;
use dcerpc_security::{Provider, ProviderConfig, ServerNames};
use uuid::uuid;

/// MS-FSRVP 2.1.
const FSRVP: SyntaxId = SyntaxId::new(uuid!("a8e0653c-2744-4389-a61d-7373df8b2292"), 1, 0);
/// C706 appendix O.
const ENDPOINT_MAPPER: SyntaxId =
    SyntaxId::new(uuid!("e1af8308-5d1f-11c9-91a4-08002b14a0fa"), 3, 0);
/// ept_map.
const EPT_MAP: u16 = 3;
/// PFC_SUPPORT_HEADER_SIGN.
const SUPPORT_HEADER_SIGN: u8 = 0x04;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let (verifier, limitations) = options.verifiers.build()?;
    let mut config = ProviderConfig::new(Arc::new(verifier), options.names.clone());
    config.keytab = options.keytab.clone();
    config.require_mic = options.require_mic;
    config.allow_unsigned = options.min_level < AuthLevel::Packet;
    let provider = Provider::new(config);
    for limitation in limitations.iter().chain(provider.limitations()) {
        println!("limitation: {limitation}");
    }
    let server = Arc::new(Server::new(Arc::new(provider), &options)?);
    let mut listeners = vec![options.port];
    if options.endpoint_mapper {
        listeners.push(135);
    }
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|port| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            let server = Arc::clone(&server);
            Ok(std::thread::spawn(move || server.listen(&listener)))
        })
        .collect::<std::io::Result<_>>()?;
    println!("listening on {}", options.port);
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

struct Options {
    port: u16,
    endpoint_mapper: bool,
    verifiers: VerifierConfig,
    names: ServerNames,
    keytab: Option<PathBuf>,
    require_mic: bool,
    min_level: AuthLevel,
    header_signing: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            port: 9135,
            endpoint_mapper: false,
            verifiers: VerifierConfig::default(),
            names: ServerNames {
                netbios_name: "LOOPBACK".to_owned(),
                netbios_domain: "WORKGROUP".to_owned(),
                ..ServerNames::default()
            },
            keytab: None,
            require_mic: false,
            min_level: AuthLevel::Integrity,
            header_signing: true,
        };
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--port" => options.port = value()?.parse()?,
                "--epm" => options.endpoint_mapper = true,
                "--users" => options.verifiers.users_file = Some(value()?.into()),
                "--winbind" => options.verifiers.winbind = true,
                "--samba-passwords" => options.verifiers.samba_passwords = true,
                "--smb-conf" => options.verifiers.smb_conf = Some(value()?.into()),
                "--standalone" => options.verifiers.standalone = true,
                "--name" => options.names.netbios_name = value()?,
                "--domain" => options.names.netbios_domain = value()?,
                "--keytab" => options.keytab = Some(value()?.into()),
                "--require-mic" => options.require_mic = true,
                "--min-level" => {
                    options.min_level = AuthLevel::try_from(value()?.parse::<u8>()?)
                        .map_err(|level| format!("no such level: {level}"))?;
                }
                "--no-header-signing" => options.header_signing = false,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        options.verifiers.netbios_name = options.names.netbios_name.clone();
        options.names.dns_name = options.names.netbios_name.to_lowercase();
        Ok(options)
    }
}

struct Server {
    provider: Arc<dyn SecurityProvider>,
    config: Arc<ServerConfig>,
    port: u16,
    header_signing: bool,
    start: Instant,
}

impl Server {
    fn new(
        provider: Arc<dyn SecurityProvider>,
        options: &Options,
    ) -> Result<Self, getrandom::Error> {
        let interface = |id, opnum_count, min_auth_level| Interface {
            id,
            opnum_count,
            min_auth_level,
        };
        Ok(Self {
            provider,
            config: Arc::new(ServerConfig {
                interfaces: vec![
                    interface(FSRVP, 13, None),
                    interface(ENDPOINT_MAPPER, 8, Some(AuthLevel::None)),
                ],
                secondary_address: options.port.to_string(),
                max_frag: MAX_FRAG_TCP,
                min_auth_level: options.min_level,
                header_signing: true,
                groups: AssociationGroups::new(getrandom::u64()?),
            }),
            port: options.port,
            header_signing: options.header_signing,
            start: Instant::now(),
        })
    }

    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&self);
            std::thread::spawn(move || {
                if let Err(error) = server.serve(stream) {
                    println!("connection lost: {error}");
                }
            });
        }
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let config = Arc::clone(&self.config);
        let now = || self.start.elapsed();
        let mut association = ServerAssociation::new(now(), config, Arc::clone(&self.provider));
        let mut buffer = vec![0; 65_536];
        loop {
            while let Some(action) = association.poll_action() {
                match action {
                    ServerAction::Transmit(pdu) => stream.write_all(&pdu)?,
                    ServerAction::Step(mut ticket) => {
                        let outcome = ticket.run();
                        match &outcome {
                            Ok(leg) => {
                                println!("leg: {} bytes, done {}", leg.token.len(), leg.done)
                            }
                            Err(error) => println!("refused: {error}"),
                        }
                        association.handle_stepped(now(), ticket, outcome);
                    }
                    ServerAction::Call(call) => {
                        let outcome = self.call(&call);
                        association.handle_reply(now(), call.call_id, outcome);
                    }
                    ServerAction::CancelCall { .. }
                    | ServerAction::LevelTooLow { .. }
                    | ServerAction::Faulted(_) => {}
                    ServerAction::Close(reason) => {
                        println!("closed: {reason}");
                        return Ok(());
                    }
                }
            }
            let timeout = association
                .poll_timeout()
                .map(|at| at.saturating_sub(now()));
            stream.set_read_timeout(
                timeout.map(|rest| rest.max(std::time::Duration::from_millis(1))),
            )?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => {
                    let Some(bytes) = buffer.get_mut(..len) else {
                        return Ok(());
                    };
                    if !self.header_signing {
                        withdraw_header_signing(bytes);
                    }
                    association.handle_data(now(), bytes);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    association.handle_timeout(now());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn call(&self, call: &IncomingCall) -> Result<Bytes, FaultStatus> {
        if call.interface.uuid == ENDPOINT_MAPPER.uuid {
            return if call.opnum == EPT_MAP {
                self.map(&call.stub)
            } else {
                Err(FaultStatus::OP_RANGE)
            };
        }
        match &call.security {
            Some(security) => println!(
                "call: opnum {} auth_type {} level {:?} header signing {} as {:?}",
                call.opnum,
                security.auth_type.0,
                security.level,
                call.verification.client_header_signing,
                security.identity,
            ),
            None => println!("call: opnum {} without security", call.opnum),
        }
        if call.opnum != 0 {
            return Err(FaultStatus::OP_RANGE);
        }
        // What clients say about header signing in a trailer is only true if nobody took it away.
        if self.header_signing
            && let Err(error) = call.verification.check(&call.stub)
        {
            println!("refused: {error}");
            return Err(FaultStatus::ACCESS_DENIED);
        }
        let mut reply = BytesMut::new();
        for value in [1, 1, 0] {
            reply.put_u32_le(value);
        }
        Ok(reply.freeze())
    }

    /// ept_map for any interface: the tower comes back with our port and address in it.
    fn map(&self, stub: &[u8]) -> Result<Bytes, FaultStatus> {
        const TOWER_LEN_AT: usize = 12;
        let bad = FaultStatus::BAD_STUB_DATA;
        let (head, tail) = stub.split_at_checked(TOWER_LEN_AT + 4).ok_or(bad)?;
        let length = head
            .last_chunk::<4>()
            .map(|len| u32::from_le_bytes(*len))
            .ok_or(bad)?;
        let mut tower = tail.get(..length as usize).ok_or(bad)?.to_vec();
        replace_behind(&mut tower, &[1, 0, 7, 2, 0], &self.port.to_be_bytes());
        replace_behind(&mut tower, &[1, 0, 9, 4, 0], &Ipv4Addr::LOCALHOST.octets());
        let mut reply = BytesMut::new();
        reply.put_bytes(0, 20);
        for value in [1, 1, 0, 1, 0x0002_0000, length, length] {
            reply.put_u32_le(value);
        }
        reply.put_slice(&tower);
        reply.put_bytes(0, reply.len().next_multiple_of(4) - reply.len());
        reply.put_u32_le(0);
        Ok(reply.freeze())
    }
}

fn replace_behind(bytes: &mut [u8], pattern: &[u8], value: &[u8]) {
    if let Some(at) = bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
        && let Some(target) = bytes.get_mut(at + pattern.len()..at + pattern.len() + value.len())
    {
        target.copy_from_slice(value);
    }
}

/// Takes PFC_SUPPORT_HEADER_SIGN out of a bind or alter_context that begins `bytes`.
fn withdraw_header_signing(bytes: &mut [u8]) {
    if let [5, 0, 11 | 14, flags, ..] = bytes {
        *flags &= !SUPPORT_HEADER_SIGN;
    }
}
