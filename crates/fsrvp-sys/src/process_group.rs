//! Processes that lead a group of their own: their end, without waiting for ever.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How long a killed process may take to go; one that hangs in a system call takes longer.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// The process group that a child leads. Nothing else may collect the child, so that its number
/// stays its own.
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Pid,
    pidfd: OwnedFd,
}

impl ProcessGroup {
    /// The group of a child that was started with `process_group(0)`.
    ///
    /// # Errors
    /// As pidfd_open(2); the group has been killed then, and its leader is collected.
    pub fn of(child: &Child) -> io::Result<Self> {
        let leader = Pid::from_child(child);
        match pidfd_open(leader, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { leader, pidfd }),
            Err(error) => {
                give_up(leader);
                Err(error.into())
            }
        }
    }

    /// Whether the leader ends within `patience`.
    #[must_use]
    pub fn ends_within(&self, patience: Duration) -> bool {
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            // What is too long for the kernel is for ever.
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut fds, timeout.as_ref()) {
                Err(Errno::INTR) => {}
                ready => return matches!(ready, Ok(1..)),
            }
        }
    }

    /// The leader's process id.
    #[must_use]
    pub fn leader(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Kills what is left of the group.
    pub fn kill(&self) {
        // The leader is not collected yet, so that its number is not another's.
        let _ = kill_process_group(self.leader, Signal::KILL);
    }

    /// Collects the leader, which has ended or been killed. One that hangs in a system call is
    /// waited for on a thread of its own, and its status stays unknown.
    #[must_use]
    pub fn collect(&self) -> Option<ExitStatus> {
        let leader = self.leader;
        let wait = move || match waitpid(Some(leader), WaitOptions::empty()) {
            Ok(Some((_, status))) => Some(ExitStatus::from_raw(status.as_raw())),
            Ok(None) | Err(_) => None,
        };
        if self.ends_within(LAST_BREATH) {
            return wait();
        }
        let waiter = std::thread::Builder::new().name("collect".to_owned());
        let _ = waiter.spawn(wait);
        None
    }
}

/// Kills a group of which nobody can hear the end, and collects its leader, which would stay a zombie.
fn give_up(leader: Pid) {
    let _ = kill_process_group(leader, Signal::KILL);
    let waiter = std::thread::Builder::new().name("collect".to_owned());
    let _ = waiter.spawn(move || waitpid(Some(leader), WaitOptions::empty()));
}

impl AsFd for ProcessGroup {
    /// Readable when the leader has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    fn shell(script: &str) -> ProcessGroup {
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).process_group(0).spawn();
        ProcessGroup::of(&child.unwrap()).unwrap()
    }

    #[test]
    fn the_status_of_one_that_ends_by_itself() {
        let group = shell("exit 7");
        assert!(group.ends_within(Duration::from_secs(60)));
        assert_eq!(group.collect().unwrap().code(), Some(7));
    }

    #[test]
    fn one_that_goes_on_is_killed() {
        let group = shell("sleep 86400");
        assert!(!group.ends_within(Duration::ZERO));
        group.kill();
        let status = group.collect().unwrap();
        assert_eq!(status.signal(), Some(9));
    }

    #[test]
    fn one_that_is_given_up_does_not_stay_a_zombie() {
        let leader = shell("sleep 86400").leader;
        give_up(leader);
        let entry = format!("/proc/{}", leader.as_raw_nonzero());
        let begun = Instant::now();
        while std::path::Path::new(&entry).exists() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{entry} is there"
            );
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_does_not_go_is_not_waited_for() {
        // Not killed: as one in an uninterruptible call, it goes on.
        let group = shell("sleep 86400");
        let leader = group.leader;
        assert_eq!(group.collect(), None);
        kill_process_group(leader, Signal::KILL).unwrap();
    }
}
