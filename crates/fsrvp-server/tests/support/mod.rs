//! A daemon in a temporary directory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "each of the tests uses a part")]

use fsrvp_client::{ClientError, FsrvpClient, Options, PipeIdentity};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Request, ShadowCopyId, ShadowCopySetId,
};
use fsrvp_samba::npa::AuthRequest;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

/// Longest time that a daemon may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directory of one daemon.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// A directory with a configuration; `server` goes into `[[server]]`.
    pub(crate) fn new(server: &str) -> Self {
        let lab = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let ncalrpc = lab.path("ncalrpc");
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&ncalrpc)
            .unwrap();
        std::fs::create_dir(lab.path("docs")).unwrap();
        let shares = serde_json::json!({
            "names": ["LAB"],
            "shares": [{ "name": "docs", "path": lab.path("docs") }]
        });
        std::fs::write(lab.shares(), shares.to_string()).unwrap();
        lab.configure(server);
        lab
    }

    pub(crate) fn configure(&self, server: &str) {
        self.write_config("", server);
    }

    /// Adds lines to `[listen.tcp]`.
    pub(crate) fn configure_listener(&self, tcp: &str) {
        self.write_config(tcp, "");
    }

    /// Logs all there is to say.
    pub(crate) fn log_everything(&self) {
        self.prepend("[log]\nlevel = \"trace\"\n");
    }

    /// Puts lines before the others.
    pub(crate) fn prepend(&self, lines: &str) {
        let config = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), format!("{lines}{config}")).unwrap();
    }

    fn write_config(&self, tcp: &str, server: &str) {
        let text = format!(
            "[admin]\nsocket = {:?}\n[listen.tcp]\naddress = \"127.0.0.1:0\"\n{tcp}\n\
             [[server]]\nname = \"LAB\"\nstatic_shares = {:?}\npipe_directory = {:?}\n\
             state_dir = {:?}\nrun_dir = {:?}\n{server}\n",
            self.admin_socket(),
            self.shares(),
            self.path("ncalrpc/np"),
            self.path("state"),
            self.path("run"),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("fsrvpd.toml")
    }

    pub(crate) fn shares(&self) -> PathBuf {
        self.path("shares.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("ncalrpc/np/fssagentrpc")
    }

    /// A place for a users file.
    pub(crate) fn users_file(&self) -> PathBuf {
        self.path("users.toml")
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("state/table.redb")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fsrvpd"));
        command
            .arg("--config")
            .arg(self.config())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn start(&self) -> Daemon {
        self.start_as(self.command())
    }

    /// The same with these limits of open files.
    pub(crate) fn start_with_descriptors(&self, soft: u32, hard: u32) -> Daemon {
        let plain = self.command();
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--nofile={soft}:{hard}"))
            .arg(plain.get_program())
            .args(plain.get_args())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        self.start_as(command)
    }

    /// Another program in place of the daemon.
    pub(crate) fn start_program(&self, program: &std::path::Path) -> Daemon {
        let plain = self.command();
        let mut command = Command::new(program);
        command.args(plain.get_args()).stdin(Stdio::null());
        self.start_as(command)
    }

    fn start_as(&self, command: Command) -> Daemon {
        let daemon = self.begin_as(command);
        let begun = Instant::now();
        while daemon.try_admin("/v1/health").is_none() {
            assert!(
                begun.elapsed() < PATIENCE,
                "no answer; log:\n{}",
                daemon.log()
            );
            std::thread::yield_now();
        }
        daemon
    }

    /// Starts the daemon and does not wait for it.
    pub(crate) fn begin(&self) -> Daemon {
        self.begin_as(self.command())
    }

    fn begin_as(&self, mut command: Command) -> Daemon {
        let log = self.path("log");
        let file = std::fs::File::create(&log).unwrap();
        Daemon {
            child: command.stderr(file).spawn().unwrap(),
            socket: self.socket(),
            admin: self.admin_socket(),
            log,
        }
    }

    /// Starts a daemon that must refuse, and gives what it says.
    pub(crate) fn refused(&self) -> String {
        let output = self.command().output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// Whether `--check-config` succeeds, and what it says.
    pub(crate) fn check_config(&self) -> (bool, String) {
        let output = self.command().arg("--check-config").output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    admin: PathBuf,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) async fn client(&self, identity: PipeIdentity) -> FsrvpClient {
        match self.try_client(identity).await {
            Ok(client) => client,
            Err(error) => panic!("{error}; log:\n{}", self.log()),
        }
    }

    pub(crate) async fn try_client(
        &self,
        identity: PipeIdentity,
    ) -> Result<FsrvpClient, ClientError> {
        let session = AuthRequest::from(identity);
        FsrvpClient::connect_pipe(&self.socket, &session, Options::default()).await
    }

    /// The daemon notices the end of a connection a moment after it.
    pub(crate) async fn client_when_there_is_a_place(&self, identity: PipeIdentity) -> FsrvpClient {
        let begun = Instant::now();
        loop {
            match self.try_client(identity.clone()).await {
                Ok(client) => return client,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pipe's socket.
    pub(crate) fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// Waits until a client is taken again.
    pub(crate) fn wait_for_places(&self, taken: impl Fn() -> bool) {
        let begun = Instant::now();
        while !taken() {
            assert!(begun.elapsed() < PATIENCE, "no place");
        }
    }

    /// The port of the TCP listener.
    pub(crate) fn port(&self) -> u16 {
        let log = self.log();
        let port = log
            .lines()
            .filter(|line| line.contains("TCP listener is open"))
            .find_map(|line| line.split("port=").nth(1))
            .unwrap_or_else(|| panic!("no port in the log:\n{log}"));
        port.trim().parse().unwrap()
    }

    pub(crate) async fn tcp_client(&self) -> FsrvpClient {
        FsrvpClient::connect_tcp(("127.0.0.1", self.port()), Options::default())
            .await
            .unwrap()
    }

    /// Hands a pipe over, sends a message, and reads until the daemon closes or is silent.
    pub(crate) async fn send_raw(&self, payload: &[u8]) {
        let mut stream = tokio::net::UnixStream::connect(&self.socket).await.unwrap();
        stream
            .write_all(&AuthRequest::from(administrator()).encode())
            .await
            .unwrap();
        let mut reply = [0; 36];
        stream.read_exact(&mut reply).await.unwrap();
        let length = u16::try_from(payload.len()).unwrap().to_le_bytes();
        stream
            .write_all(&[&length, payload].concat())
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        self.try_admin(path)
            .unwrap_or_else(|| panic!("no answer; log:\n{}", self.log()))
    }

    /// Status and body of the answer to a request of the admin socket.
    pub(crate) fn request(&self, verb: &str, path: &str, body: &str) -> (u16, String) {
        self.try_request(verb, path, body)
            .unwrap_or_else(|| panic!("no answer; log:\n{}", self.log()))
    }

    fn try_admin(&self, path: &str) -> Option<String> {
        let (status, body) = self.try_request("GET", path, "")?;
        assert_eq!(status, 200, "{body}");
        Some(body)
    }

    fn try_request(&self, verb: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = std::os::unix::net::UnixStream::connect(&self.admin).ok()?;
        let mut request = format!("{verb} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n");
        if !body.is_empty() {
            let length = body.len();
            request += &format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        }
        request += &format!("\r\n{body}");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        // Long answers come in pieces.
        let body = match head.to_lowercase().contains("transfer-encoding: chunked") {
            true => unchunked(body)?,
            false => body.to_owned(),
        };
        Some((status, body))
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "goes on; log:\n{}", self.log());
            std::thread::yield_now();
        }
    }
}

fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, after) = rest.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.push_str(after.get(..length)?);
        rest = after.get(length..)?.strip_prefix("\r\n")?;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn identity(account: &str, sids: &[&str]) -> PipeIdentity {
    PipeIdentity {
        account: account.to_owned(),
        domain: "LAB".to_owned(),
        sids: sids.iter().map(|sid| sid.parse().unwrap()).collect(),
        ..PipeIdentity::default()
    }
}

pub(crate) fn administrator() -> PipeIdentity {
    identity(
        "admin",
        &["S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-513", "S-1-5-32-544"],
    )
}

pub(crate) fn nobody() -> PipeIdentity {
    identity("plain", &["S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-513"])
}

/// One of many ordinary users.
pub(crate) fn one_of_many(number: usize) -> PipeIdentity {
    let user = format!("S-1-5-21-1-2-3-{}", 2_000 + number);
    identity(&format!("user{number}"), &[&user, "S-1-5-21-1-2-3-513"])
}

pub(crate) fn client_set() -> ClientShadowCopySetId {
    ClientShadowCopySetId(Uuid::from_u128(1))
}

pub(crate) fn client_copy() -> ClientShadowCopyId {
    ClientShadowCopyId(Uuid::from_u128(2))
}

/// All thirteen requests.
pub(crate) fn one_of_each() -> Vec<Request> {
    one_of_each_about(r"\\LAB\docs")
}

/// The same about this share.
pub(crate) fn one_of_each_about(unc: &str) -> Vec<Request> {
    let shadow_copy_set_id = ShadowCopySetId(Uuid::from_u128(3));
    let shadow_copy_id = ShadowCopyId(Uuid::from_u128(4));
    let share_name = unc.to_owned();
    let timeout_ms = 1_000;
    vec![
        Request::GetSupportedVersion,
        Request::SetContext { context: 0 },
        Request::StartShadowCopySet {
            client_shadow_copy_set_id: client_set(),
        },
        Request::AddToShadowCopySet {
            client_shadow_copy_id: client_copy(),
            shadow_copy_set_id,
            share_name: share_name.clone(),
        },
        Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        },
        Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        },
        Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id },
        Request::AbortShadowCopySet { shadow_copy_set_id },
        Request::IsPathSupported {
            share_name: share_name.clone(),
        },
        Request::IsPathShadowCopied {
            share_name: share_name.clone(),
        },
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name: share_name.clone(),
            level: 1,
        },
        Request::DeleteShareMapping {
            shadow_copy_set_id,
            shadow_copy_id,
            share_name,
        },
        Request::PrepareShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        },
    ]
}

/// Messages that are no PDUs, or bad ones.
pub(crate) fn garbage() -> Vec<Vec<u8>> {
    let bind = [5, 0, 11, 3, 0x10, 0, 0, 0, 72, 0, 0, 0, 1, 0, 0, 0];
    let mut long_fragment = bind.to_vec();
    long_fragment[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
    let mut short_fragment = bind.to_vec();
    short_fragment[8..10].copy_from_slice(&3_u16.to_le_bytes());
    let mut auth_beyond_end = bind.to_vec();
    auth_beyond_end[10..12].copy_from_slice(&u16::MAX.to_le_bytes());
    let mut request_first = bind.to_vec();
    request_first[2] = 0;
    request_first[8] = 16;
    vec![
        vec![0; 1],
        vec![0xff; 65_535],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        bind.to_vec(),
        long_fragment,
        short_fragment,
        auth_beyond_end,
        request_first,
    ]
}
