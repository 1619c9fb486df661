//! A private Samba in a temporary directory, on an address of 127.0.0.0/8 of its own.

#![allow(clippy::unwrap_used, dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longest wait for something that other processes do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a private Samba can be booted here; says why not.
pub(crate) fn can_run() -> bool {
    let missing: Vec<&str> = [
        "smbd",
        "smbpasswd",
        "smbclient",
        "net",
        "sharesec",
        "testparm",
    ]
    .into_iter()
    .filter(|tool| !in_path(tool))
    .collect();
    let reason = if !rustix::process::geteuid().is_root() {
        "needs root".to_owned()
    } else if !missing.is_empty() {
        format!("needs {missing:?}")
    } else {
        return true;
    };
    assert!(
        std::env::var_os("FSRVP_REQUIRE_LAB").is_none(),
        "FSRVP_REQUIRE_LAB is set, but this test {reason}"
    );
    eprintln!("skipped: {reason}");
    false
}

fn in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/bin".into()])
        .any(|directory| directory.join(tool).exists())
}

/// The lab; everything that it started ends when it is dropped.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
    pub(crate) host: String,
    pub(crate) port: u16,
    smbd: Option<Child>,
    dcerpcd: Option<Child>,
}

impl Lab {
    /// Boots smbd with `shares` as the text after `[global]`, which `global` is added to.
    pub(crate) fn boot(global: &str, shares: &str) -> Self {
        Self::prepare(global, shares).start()
    }

    /// All but the processes.
    pub(crate) fn prepare(global: &str, shares: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("smb").tempdir().unwrap();
        let base = directory.path().display().to_string();
        for name in ["private", "lock", "state", "cache", "pid", "log", "data"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let (host, port) = free_address();
        let text = format!(
            "[global]\n\
             server role = standalone server\n\
             workgroup = FSLABGRP\n\
             netbios name = FSLAB\n\
             netbios aliases = FSALIAS FSOTHER\n\
             additional dns hostnames = files.example.test\n\
             passdb backend = tdbsam:{base}/private/passdb.tdb\n\
             private dir = {base}/private\n\
             lock directory = {base}/lock\n\
             state directory = {base}/state\n\
             cache directory = {base}/cache\n\
             pid directory = {base}/pid\n\
             ncalrpc dir = {base}/ncalrpc\n\
             log file = {base}/log/log.%m\n\
             log level = 1\n\
             max log size = 0\n\
             usershare path =\n\
             smb ports = {port}\n\
             interfaces = {host}/8\n\
             bind interfaces only = yes\n\
             disable netbios = yes\n\
             load printers = no\n\
             printing = bsd\n\
             printcap name = /dev/null\n\
             disable spoolss = yes\n\
             registry shares = yes\n\
             rpc start on demand helpers = no\n\
             server min protocol = SMB2_02\n\
             map to guest = never\n\
             {global}\n\n{shares}\n"
        )
        .replace("{base}", &base);
        std::fs::write(directory.path().join("smb.conf"), text).unwrap();
        Self {
            directory,
            host,
            port,
            smbd: None,
            dcerpcd: None,
        }
    }

    fn add_user(&self) {
        let mut password = Command::new("smbpasswd")
            .arg("-c")
            .arg(self.smb_conf())
            .args(["-s", "-a", "root"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = password.stdin.take().unwrap();
        std::io::Write::write_all(&mut &stdin, b"Pass1\nPass1\n").unwrap();
        drop(stdin);
        assert!(password.wait().unwrap().success());
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn smb_conf(&self) -> PathBuf {
        self.path().join("smb.conf")
    }

    pub(crate) fn np_directory(&self) -> PathBuf {
        self.path().join("ncalrpc/np")
    }

    /// Boots what [`Lab::prepare`] has laid out.
    pub(crate) fn start(mut self) -> Self {
        self.add_user();
        self.start_smbd();
        self
    }

    fn start_smbd(&mut self) {
        let child = Command::new("smbd")
            .args(["-F", "--no-process-group", "-s"])
            .arg(self.smb_conf())
            .arg("-l")
            .arg(self.path().join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.smbd = Some(child);
        let address = format!("{}:{}", self.host, self.port);
        wait_for("smbd", || std::net::TcpStream::connect(&address).is_ok());
        wait_for("smbd's pid file", || {
            self.path().join("pid/smbd.pid").exists()
        });
    }

    /// Starts a samba-dcerpcd of its own that serves these `rpcd_*` programs.
    pub(crate) fn start_dcerpcd(&mut self, programs: &[&str]) {
        let folder = Path::new("/usr/libexec/samba");
        let child = Command::new(folder.join("samba-dcerpcd"))
            .args(["-F", "--no-process-group", "-s"])
            .arg(self.smb_conf())
            .arg("-l")
            .arg(self.path().join("log"))
            .args(programs.iter().map(|name| folder.join(name)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.dcerpcd = Some(child);
    }

    pub(crate) fn stop_dcerpcd(&mut self) {
        if let Some(child) = self.dcerpcd.take() {
            end(child);
        }
    }

    /// A client of the lab's smbd.
    pub(crate) fn client(&self, share: &str) -> Command {
        // Line by line, so that answers can be read while it runs.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "smbclient"])
            .arg("-s")
            .arg(self.smb_conf())
            .args([
                "-p",
                &self.port.to_string(),
                "-m",
                "SMB3",
                "-U",
                "root%Pass1",
            ])
            .arg(format!("//{}/{share}", self.host))
            .current_dir(self.path());
        command
    }

    /// What `smbclient -c COMMAND` prints.
    pub(crate) fn smb(&self, share: &str, command: &str) -> String {
        let output = self.client(share).args(["-c", command]).output().unwrap();
        text(&output)
    }

    /// What a Samba tool prints; it has to succeed.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .arg("-s")
            .arg(self.smb_conf())
            .args(arguments)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in [self.dcerpcd.take(), self.smbd.take()] {
            child.into_iter().for_each(end);
        }
    }
}

/// Ends a server and its children, which are told apart by their parent.
fn end(mut child: Child) {
    let parent = child.id();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .unwrap_or_default();
    let pids = children
        .split_whitespace()
        .filter_map(|pid| pid.parse::<i32>().ok())
        .chain(i32::try_from(parent));
    for pid in pids.filter_map(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    let holds = fsrvp_testkit::comes_true(PATIENCE, condition);
    assert!(holds, "waited in vain for {what}");
}

pub(crate) fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}

/// An address of this process, with a port that nobody uses.
fn free_address() -> (String, u16) {
    let pid = std::process::id();
    let host = format!("127.{}.{}.1", 64 + (pid >> 8) % 64, pid % 256);
    let port = std::net::TcpListener::bind((host.as_str(), 0))
        .and_then(|socket| socket.local_addr())
        .unwrap()
        .port();
    (host, port)
}
