//! The listener and the message stream, against peers of our own making.

#![allow(clippy::unwrap_used)]

use fsrvp_samba::npa::{DecodeError, Level, auth_reply};
use fsrvp_samba::pipe::{
    HandOverError, MAX_MESSAGE, MessageError, MessageReader, MessageWriter, PipeConfig, PipeError,
    PipeListener, PlaceError, RawConnection,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const LIMIT: Duration = Duration::from_secs(10);

fn frame() -> Vec<u8> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/npa");
    std::fs::read(fixtures.join("req_l8_samba4.22_1.bin")).unwrap()
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(
            std::env::var_os("FSRVP_REQUIRE_LAB").is_none(),
            "FSRVP_REQUIRE_LAB is set, but this is not root"
        );
        eprintln!("skipped: needs root");
    }
    root
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

/// A listener below a fresh directory, in which `ncalrpc` does not exist yet.
fn listener(base: &Path) -> PipeListener {
    PipeListener::bind(PipeConfig::new(base.join("ncalrpc/np"))).unwrap()
}

async fn hand_over(stream: &mut UnixStream) {
    stream.write_all(&frame()).await.unwrap();
    let mut reply = [0; 36];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, auth_reply(Level::Eight));
}

#[tokio::test]
async fn directories_are_made_as_samba_makes_them() {
    let base = tempfile::tempdir().unwrap();
    let listener = listener(base.path());
    assert_eq!(mode(&base.path().join("ncalrpc")), 0o755);
    assert_eq!(mode(&base.path().join("ncalrpc/np")), 0o700);
    let names: Vec<_> = std::fs::read_dir(base.path().join("ncalrpc/np"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["fssagentrpc"]);
    let path = listener.path().to_owned();
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_of_somebody_else_is_not_removed() {
    let base = tempfile::tempdir().unwrap();
    let listener = listener(base.path());
    let path = listener.path().to_owned();
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
}

#[tokio::test]
async fn a_wrong_mode_is_refused_with_the_cure() {
    let base = tempfile::tempdir().unwrap();
    let np = base.path().join("ncalrpc/np");
    drop(listener(base.path()));
    std::fs::set_permissions(&np, PermissionsExt::from_mode(0o755)).unwrap();
    let error = PipeListener::bind(PipeConfig::new(&np)).unwrap_err();
    assert!(
        matches!(
            error,
            PipeError::Place(PlaceError::Mode {
                mode: 0o755,
                fix: 0o700,
                ..
            })
        ),
        "{error}"
    );
    let text = error.to_string();
    let cure = format!("run: chmod 0700 {}", np.display());
    assert!(text.contains(&cure), "{text}");

    std::fs::set_permissions(&np, PermissionsExt::from_mode(0o700)).unwrap();
    let above = base.path().join("ncalrpc");
    std::fs::set_permissions(&above, PermissionsExt::from_mode(0o777)).unwrap();
    let error = PipeListener::bind(PipeConfig::new(&np)).unwrap_err();
    assert!(
        matches!(
            error,
            PipeError::Place(PlaceError::Mode { mode: 0o777, .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_owner_is_refused_with_the_cure() {
    if !is_root() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let np = base.path().join("ncalrpc/np");
    drop(listener(base.path()));
    std::os::unix::fs::chown(&np, Some(1), None).unwrap();
    let error = PipeListener::bind(PipeConfig::new(&np)).unwrap_err();
    assert!(
        matches!(error, PipeError::Place(PlaceError::Owner { uid: 1, .. })),
        "{error}"
    );
    assert!(error.to_string().contains("run: chown 0 "), "{error}");
}

#[tokio::test]
async fn a_path_that_no_socket_can_have_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let long = base.path().join("x".repeat(100));
    let error = PipeListener::bind(PipeConfig::new(long)).unwrap_err();
    assert!(
        matches!(error, PipeError::Place(PlaceError::TooLong { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_is_handed_over_and_talks() {
    if !is_root() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let mut listener = listener(base.path());
    let mut client = UnixStream::connect(listener.path()).await.unwrap();
    let raw = listener.accept().await.unwrap();
    // The first message may come together with the hand-over.
    client.write_all(&frame()).await.unwrap();
    client.write_all(&[3, 0, 1, 2, 3]).await.unwrap();
    let mut pipe = raw.hand_over(LIMIT).await.unwrap();
    assert_eq!(pipe.peer.token.as_ref().unwrap().account, "backup");
    let payload = pipe.reader.read().await.unwrap().unwrap();
    assert_eq!(payload[..], [1, 2, 3]);

    pipe.writer.write([&[7_u8, 8][..], &[9]]).await.unwrap();
    drop(pipe);
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received[..36], auth_reply(Level::Eight));
    assert_eq!(received[36..], [2, 0, 7, 8, 1, 0, 9]);
    assert_eq!(listener.counters().accepted(), 1);
}

#[tokio::test]
async fn a_silent_peer_delays_nobody() {
    if !is_root() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let mut listener = listener(base.path());
    let _silent = UnixStream::connect(listener.path()).await.unwrap();
    let silent = listener.accept().await.unwrap();
    let waiting = tokio::spawn(silent.hand_over(Duration::from_secs(3600)));
    let mut client = UnixStream::connect(listener.path()).await.unwrap();
    let raw = listener.accept().await.unwrap();
    let (handed, ()) = tokio::join!(raw.hand_over(LIMIT), hand_over(&mut client));
    handed.unwrap();
    assert!(!waiting.is_finished());
    waiting.abort();
}

/// What comes of a peer that sends `bytes` and then closes, or stays silent.
async fn outcome(bytes: &[u8], close: bool) -> HandOverError {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).await.unwrap();
    if close {
        theirs.shutdown().await.unwrap();
    }
    let limit = Duration::from_millis(20);
    RawConnection::new(ours).hand_over(limit).await.unwrap_err()
}

#[tokio::test]
async fn bad_hand_overs_are_refused() {
    if !is_root() {
        return;
    }
    let good = frame();
    let error = outcome(&good[..100], true).await;
    assert!(matches!(error, HandOverError::Closed), "{error}");
    let error = outcome(&good[..100], false).await;
    assert!(matches!(error, HandOverError::Deadline(_)), "{error}");
    let error = outcome(&[0xff; 4], false).await;
    assert!(
        matches!(
            error,
            HandOverError::Decode(DecodeError::Length {
                announced: u32::MAX,
                found: 0
            })
        ),
        "{error}"
    );
    let mut old = good;
    old[8] = 5;
    let error = outcome(&old, false).await;
    assert!(
        matches!(error, HandOverError::Decode(DecodeError::Level(5))),
        "{error}"
    );
}

#[tokio::test]
async fn only_root_may_hand_over() {
    if !is_root() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    std::fs::set_permissions(base.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = base.path().join("s");
    let socket = tokio::net::UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    let mut other = tokio::process::Command::new("/usr/bin/python3")
        .args([
            "-c",
            "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);s.recv(1)",
        ])
        .arg(&path)
        .uid(1)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (stream, _) = socket.accept().await.unwrap();
    let error = RawConnection::new(stream).hand_over(LIMIT).await;
    assert!(matches!(error, Err(HandOverError::NotRoot(1))));
    other.kill().await.unwrap();
}

/// Polls `listener` until its socket has been taken back `times` times.
async fn until_taken_back(listener: &mut PipeListener, times: u64) -> Duration {
    let counters = listener.counters();
    let start = std::time::Instant::now();
    let polled = async {
        while counters.take_backs() < times {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = listener.accept() => panic!("nobody connected"),
        result = tokio::time::timeout(LIMIT, polled) => result.unwrap(),
    }
    start.elapsed()
}

async fn answers(listener: &mut PipeListener) {
    let _client = UnixStream::connect(listener.path()).await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_lost_socket_is_taken_back() {
    let base = tempfile::tempdir().unwrap();
    let mut listener = listener(base.path());
    let path = listener.path().to_owned();

    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let replaced = until_taken_back(&mut listener, 1).await;
    answers(&mut listener).await;

    std::fs::remove_file(&path).unwrap();
    let removed = until_taken_back(&mut listener, 2).await;
    answers(&mut listener).await;

    std::fs::remove_dir_all(base.path().join("ncalrpc/np")).unwrap();
    let directory = until_taken_back(&mut listener, 3).await;
    answers(&mut listener).await;

    std::fs::remove_dir_all(base.path().join("ncalrpc")).unwrap();
    let above = until_taken_back(&mut listener, 4).await;
    answers(&mut listener).await;

    println!("taken back: {replaced:?} {removed:?} {directory:?} {above:?}");
    for time in [replaced, removed, directory, above] {
        assert!(time < Duration::from_millis(100), "{time:?}");
    }
    assert_eq!(listener.counters().take_back_failures(), 0);
}

#[tokio::test]
async fn who_had_connected_before_the_loss_is_served() {
    const EARLY: usize = 250;
    let base = tempfile::tempdir().unwrap();
    let mut listener = listener(base.path());
    let path = listener.path().to_owned();
    let mut early = Vec::new();
    for _ in 0..EARLY {
        early.push(UnixStream::connect(&path).await.unwrap());
    }
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // The loss is noticed somewhere among these, with clients still waiting on the old socket:
    // tokio lets a busy task yield long before it has accepted all.
    let mut served = Vec::new();
    for _ in 0..EARLY {
        let accepted = tokio::time::timeout(LIMIT, listener.accept()).await;
        served.push(accepted.unwrap().unwrap());
    }
    assert_eq!(listener.counters().take_backs(), 1);
    answers(&mut listener).await;
}

fn reader(bytes: &[u8]) -> MessageReader<std::io::Cursor<Vec<u8>>> {
    MessageReader::new(std::io::Cursor::new(bytes.to_vec()))
}

#[tokio::test]
async fn messages_are_cut_by_their_length() {
    let mut messages = reader(&[1, 0, 5, 2, 0, 6, 7]);
    assert_eq!(messages.read().await.unwrap().unwrap()[..], [5]);
    assert_eq!(messages.buffered().unwrap().unwrap()[..], [6, 7]);
    assert!(messages.buffered().unwrap().is_none());
    assert!(messages.read().await.unwrap().is_none());

    let mut longest = vec![0xff, 0xff];
    longest.resize(2 + MAX_MESSAGE, 4);
    let mut messages = reader(&longest);
    let payload = messages.read().await.unwrap().unwrap();
    assert_eq!(payload.len(), MAX_MESSAGE);
}

#[tokio::test]
async fn broken_streams_are_told_apart() {
    let error = reader(&[0, 0]).read().await.unwrap_err();
    assert!(matches!(error, MessageError::Empty), "{error}");
    let error = reader(&[4, 0, 1]).read().await.unwrap_err();
    assert!(
        matches!(error, MessageError::Truncated { missing: 3 }),
        "{error}"
    );
    let error = reader(&[4]).read().await.unwrap_err();
    assert!(
        matches!(error, MessageError::Truncated { missing: 1 }),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_is_sent_if_one_pdu_cannot_be() {
    let mut sent = Vec::new();
    let mut writer = MessageWriter::new(&mut sent);
    let long = vec![0; MAX_MESSAGE + 1];
    for (bad, length) in [(&long[..], MAX_MESSAGE + 1), (&[][..], 0)] {
        let error = writer.write([&[1][..], bad]).await.unwrap_err();
        assert!(
            matches!(error, MessageError::Unsendable(found) if found == length),
            "{error}"
        );
    }
    drop(writer);
    assert!(sent.is_empty(), "{sent:?}");
}
