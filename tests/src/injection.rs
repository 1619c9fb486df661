//! System calls of a running process are made to fail, by `strace`.

use crate::fail;
use fsrvp_testkit::{comes_true, process};
use libtest_mimic::Failed;
use rustix::process::Signal;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest time until all threads are traced.
const ATTACHED: Duration = Duration::from_secs(10);

/// Some system calls of a process fail as long as this lives.
pub struct Injection {
    strace: Child,
}

impl Injection {
    /// From now on, all threads of `pid` get `fault` (as `error=EIO`) from these system calls
    /// (as `fdatasync,pwrite64`) on `path`.
    ///
    /// # Errors
    /// When `strace` does not attach.
    pub fn on(pid: u32, calls: &str, fault: &str, path: &Path) -> Result<Self, Failed> {
        let mut arguments: Vec<OsString> = vec!["-f".into(), "-qq".into(), "-o".into()];
        arguments.extend([
            "/dev/null".into(),
            "-e".into(),
            format!("trace={calls}").into(),
        ]);
        arguments.extend(["-e".into(), format!("inject={calls}:{fault}").into()]);
        arguments.extend([
            "-P".into(),
            path.into(),
            "-p".into(),
            pid.to_string().into(),
        ]);
        Self::start(arguments, pid)
    }

    fn start(arguments: Vec<OsString>, pid: u32) -> Result<Self, Failed> {
        let strace = Command::new("strace")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let injection = Self { strace };
        if !comes_true(ATTACHED, || process::is_traced(pid)) {
            return fail(format!("strace does not attach to process {pid}"));
        }
        Ok(injection)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        process::signal(self.strace.id(), Signal::TERM);
        let _ = self.strace.wait();
    }
}
