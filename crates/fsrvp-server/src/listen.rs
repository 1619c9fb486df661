//! Accepts clients, on Samba's pipe socket and on the laboratory's TCP.

use crate::authz::PipeIdentity;
use crate::connection::{PduStream, Service, serve};
use crate::connections::Connections;
use crate::dispatch::Peer;
use crate::metrics;
use crate::places::{NoPlace, Places};
use crate::streams::TcpPdus;
use bytes::BytesMut;
use dcerpc_proto::assoc::{ServerAssociation, ServerConfig};
use dcerpc_proto::pdu::{BindNak, Body, Header, Packet, PfcFlags, RejectReason};
use dcerpc_proto::security::SecurityProvider;
use fsrvp_proto::Caller;
use fsrvp_samba::npa::HandOver;
use fsrvp_samba::pipe::{HandOverError, PipeListener, RawConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// smbd sends its hand-over at once; one that takes longer is no smbd.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(10);
/// Pause after an accept failed, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time that a client whom we turn away may take for its bind.
const TURN_AWAY_LIMIT: Duration = Duration::from_secs(5);
/// Clients that are told at a time that there is no place; further ones are closed at once.
pub(crate) const TURNED_AWAY: usize = 64;

/// What a listener needs to serve its clients.
#[derive(Clone)]
pub struct Door {
    /// The server's name, for logs and figures.
    pub server: String,
    /// Executes the calls.
    pub service: Arc<Service>,
    /// How associations are negotiated.
    pub association: Arc<ServerConfig>,
    /// The same for clients whose SMB session is encrypted throughout. The encryption may stand in
    /// for sealing, never for the signature: that is what proves who calls.
    pub over_encryption: Arc<ServerConfig>,
    /// The security packages.
    pub provider: Arc<dyn SecurityProvider>,
    /// Connections that may be open at a time.
    pub places: Arc<Places>,
    /// Clients beyond those that are told so at a time.
    pub turned_away: Arc<Semaphore>,
    /// Those that are open.
    pub connections: Arc<Connections>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Door {
    fn associate(&self, config: &Arc<ServerConfig>) -> ServerAssociation {
        ServerAssociation::new(
            self.service.clock.monotonic(),
            Arc::clone(config),
            Arc::clone(&self.provider),
        )
    }

    /// Answers the bind of a client for whom there is no place, and closes.
    async fn turn_away<S: PduStream>(&self, mut stream: S, peer: &Peer, reason: NoPlace) {
        metrics::turned_away(&self.server);
        if let Some(suppressed) = self.service.refusals.admit(self.service.clock.monotonic()) {
            tracing::warn!(
                server = self.server,
                client = ?peer.caller.address,
                pipe_account = peer.pipe.as_ref().map(|pipe| pipe.account.as_str()),
                %reason,
                suppressed,
                "a client was turned away"
            );
        }
        let Ok(_told) = self.turned_away.try_acquire() else {
            return;
        };
        let told = async {
            let mut received = BytesMut::new();
            while received.len() < Header::LEN {
                received.extend_from_slice(&stream.read().await.ok()??);
            }
            let call_id = Header::decode(&received).ok()?.call_id;
            let refusal = BindNak::new(RejectReason::LOCAL_LIMIT_EXCEEDED);
            let flags = PfcFlags::FIRST_FRAG | PfcFlags::LAST_FRAG;
            let mut answer = BytesMut::new();
            Packet::new(flags, call_id, Body::BindNak(refusal))
                .encode(&mut answer)
                .ok()?;
            stream.send(&[answer.freeze()]).await.ok()
        };
        let _ = tokio::time::timeout(TURN_AWAY_LIMIT, told).await;
        stream.close().await;
    }
}

/// Serves the pipe for ever.
pub async fn pipe(mut listener: PipeListener, door: Door) {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let door = door.clone();
                tokio::spawn(serve_pipe(connection, door));
            }
            Err(error) => {
                tracing::error!(server = door.server, error = %error, "the pipe does not accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_pipe(connection: RawConnection, door: Door) {
    let place = door.places.take();
    let pipe = match connection.hand_over(HAND_OVER_LIMIT).await {
        Ok(pipe) => pipe,
        // The doctor does, and finds out whose pipe it is.
        Err(error @ HandOverError::Looked) => {
            tracing::debug!(server = door.server, error = %error, "no client");
            return;
        }
        Err(error) => {
            tracing::warn!(server = door.server, error = %error, "a hand-over failed");
            return;
        }
    };
    if pipe.peer.facts.probe_only() {
        return;
    }
    let peer = peer(&pipe.peer);
    let account = peer.pipe.as_ref().map_or("", PipeIdentity::user);
    let _place = match place.and_then(|place| place.belongs_to(account, &door.places)) {
        Ok(place) => place,
        Err(reason) => return door.turn_away(pipe, &peer, reason).await,
    };
    let account = peer.pipe.as_ref().map(|pipe| pipe.account.clone());
    let client = peer.caller.address;
    let _counted = door
        .connections
        .enter(&door.server, "pipe", client, account);
    let encryption = pipe.peer.facts.encryption;
    let config = match encryption.is_some_and(|encryption| encryption.is_full()) {
        true => &door.over_encryption,
        false => &door.association,
    };
    serve(pipe, door.associate(config), &peer, &door.service).await;
}

fn peer(hand_over: &HandOver) -> Peer {
    let pipe = hand_over.token.as_ref().map(|token| PipeIdentity {
        account: token.qualified_account(),
        sids: token.sids.iter().map(ToString::to_string).collect(),
        has_backup_privilege: token.has_backup_privilege(),
    });
    Peer {
        caller: Caller {
            address: hand_over.client.address,
            server_address: hand_over.server.address,
            server_name: hand_over.server.name.clone(),
            account: pipe
                .as_ref()
                .map(|pipe| pipe.account.clone())
                .unwrap_or_default(),
        },
        pipe,
        tcp_port: None,
    }
}

/// Serves the laboratory's TCP listener for ever.
pub async fn tcp(listener: TcpListener, door: Door) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let door = door.clone();
                tokio::spawn(serve_tcp(stream, door));
            }
            Err(error) => {
                tracing::error!(server = door.server, error = %error, "TCP does not accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_tcp(stream: TcpStream, door: Door) {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok();
    let peer = Peer {
        caller: Caller {
            address: stream
                .peer_addr()
                .ok()
                .map(|address| address.ip().to_canonical()),
            server_address: local.map(|address| address.ip().to_canonical()),
            ..Caller::default()
        },
        pipe: None,
        tcp_port: local.map(|address| address.port()),
    };
    let _place = match door.places.take() {
        Ok(place) => place,
        Err(reason) => return door.turn_away(TcpPdus::new(stream), &peer, reason).await,
    };
    let client = peer.caller.address;
    let _counted = door.connections.enter(&door.server, "tcp", client, None);
    serve(
        TcpPdus::new(stream),
        door.associate(&door.association),
        &peer,
        &door.service,
    )
    .await;
}
