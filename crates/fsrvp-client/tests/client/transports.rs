//! Pipe hand-over, TCP, and servers that speak something else.

use crate::server::{Framing, Server, pipe};
use fsrvp_client::{AuthRequest, ClientError, FsrvpClient, Level, Options, PipeIdentity};
use fsrvp_idl::{Request, Status};
use fsrvp_samba::npa::{HandOver, auth_reply};
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

fn server() -> Server {
    Server::replying(|request| request.failed(Status::FSRVP_E_BAD_STATE))
}

fn identity(level: Level) -> PipeIdentity {
    PipeIdentity {
        level,
        account: "backup".to_owned(),
        domain: "SERVER".to_owned(),
        sids: ["S-1-5-21-1-2-3-1000", "S-1-5-21-1-2-3-513", "S-1-5-32-551"]
            .map(|sid| sid.parse().unwrap())
            .to_vec(),
        privilege_mask: 0x200,
        uid: 34,
        gid: 35,
        client: "192.0.2.7:50000".parse().unwrap(),
        server: "[2001:db8::1]:445".parse().unwrap(),
    }
}

struct Socket {
    _folder: TempDir,
    path: PathBuf,
    listener: UnixListener,
}

fn socket() -> Socket {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fssagentrpc");
    let listener = UnixListener::bind(&path).unwrap();
    Socket {
        _folder: folder,
        path,
        listener,
    }
}

async fn read_frame(stream: &mut UnixStream) -> AuthRequest {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
    frame.resize(4 + length as usize, 0);
    stream.read_exact(&mut frame[4..]).await.unwrap();
    AuthRequest::decode(&frame).unwrap()
}

#[tokio::test]
async fn a_pipe_is_handed_over_with_the_identity_that_was_given() {
    for level in [Level::Seven, Level::Eight] {
        let socket = socket();
        let accepted = tokio::spawn(async move {
            let (mut stream, _) = socket.listener.accept().await.unwrap();
            let request = read_frame(&mut stream).await;
            stream.write_all(&auth_reply(request.level)).await.unwrap();
            tokio::spawn(server().serve(stream, Framing::Messages));
            request
        });
        let session = identity(level).into();
        let connected = FsrvpClient::connect_pipe(&socket.path, &session, Options::default());
        let mut client = connected.await.unwrap();
        let response = client.call(&Request::GetSupportedVersion).await.unwrap();
        assert_eq!(response.status(), Status::FSRVP_E_BAD_STATE);

        let hand_over = HandOver::from(accepted.await.unwrap());
        let given = identity(level);
        assert_eq!(hand_over.level, level);
        assert_eq!(hand_over.client.address, Some(given.client.ip()));
        assert_eq!(hand_over.client.port, given.client.port());
        assert_eq!(hand_over.server.address, Some(given.server.ip()));
        let token = hand_over.token.unwrap();
        assert_eq!((token.sids, token.privilege_mask), (given.sids, 0x200));
        assert_eq!((token.account, token.domain), (given.account, given.domain));
        let unix = token.unix.unwrap();
        assert_eq!((unix.uid, unix.gid), (34, 35));
    }
}

/// smbd drops a reply of another level, and so do we.
#[tokio::test]
async fn a_reply_of_another_level_is_refused() {
    let socket = socket();
    tokio::spawn(async move {
        let (mut stream, _) = socket.listener.accept().await.unwrap();
        read_frame(&mut stream).await;
        stream.write_all(&auth_reply(Level::Eight)).await.unwrap();
    });
    let session = identity(Level::Seven).into();
    let refused = FsrvpClient::connect_pipe(&socket.path, &session, Options::default()).await;
    assert!(
        matches!(refused, Err(ClientError::HandOver(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_socket_without_owner_is_an_io_error() {
    let socket = socket();
    drop(socket.listener);
    let session = identity(Level::Seven).into();
    let refused = FsrvpClient::connect_pipe(&socket.path, &session, Options::default()).await;
    assert!(matches!(refused, Err(ClientError::Io(_))), "{refused:?}");
}

#[tokio::test]
async fn tcp_carries_pdus_as_they_are() {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = TcpListener::bind(loopback).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        server().serve(stream, Framing::Stream).await;
    });
    let mut client = FsrvpClient::connect_tcp(address, Options::default())
        .await
        .unwrap();
    let refused = client.set_context(0_u32).await;
    let status = Status::FSRVP_E_BAD_STATE;
    assert!(
        matches!(refused, Err(ClientError::Status(is)) if is == status),
        "{refused:?}"
    );
}

/// Reads the bind, answers with `bytes`, and closes.
async fn bind_answered_with(bytes: Vec<u8>) -> ClientError {
    let (ours, mut theirs) = pipe();
    tokio::spawn(async move {
        let mut bind = [0; 16];
        theirs.read_exact(&mut bind).await.unwrap();
        theirs.write_all(&bytes).await.unwrap();
    });
    FsrvpClient::over_stream(ours, Options::default())
        .await
        .unwrap_err()
}

/// \[C706 12.6.4.5\] bind_nak, local_limit_exceeded, no versions.
#[tokio::test]
async fn a_bind_nak_is_told_with_its_reason() {
    let nak = [5, 0, 13, 3, 0x10, 0, 0, 0, 19, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0];
    let refused = bind_answered_with(nak.to_vec()).await;
    assert!(matches!(refused, ClientError::BindNak(2)), "{refused:?}");
}

#[tokio::test]
async fn garbage_is_an_association_error() {
    let refused = bind_answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    assert!(
        matches!(refused, ClientError::Association(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_closes_before_the_bind_is_closed() {
    let refused = bind_answered_with(Vec::new()).await;
    assert!(matches!(refused, ClientError::Closed), "{refused:?}");
}
