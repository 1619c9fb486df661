//! Namespaces of their own for suites whose servers insist on places of the whole machine.

use crate::Run;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// What a suite has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// `/run/samba`, where winbindd's socket is by the decision of Samba's build.
    Winbind,
    /// The places of the whole machine that zfs-fuse insists on: its socket, lock and list of pools.
    Zfs,
    /// Winbindd's places, a network of its own (only `lo`, all ports free), the host name `dc` and `/etc/hosts`.
    Domain,
    /// A network of its own (only `lo`, all ports free), its own mounts, and processes that end with the first.
    Containers,
}

/// Set in the environment of a process that runs in its namespaces.
const INSIDE: &str = "FSRVP_ISOLATED";

/// Kerberos' configuration inside [`Isolation::Domain`].
pub(crate) const KRB5_CONF: &str = "/run/samba/krb5.conf";

/// Symbolic links from `/var` to `/run` stay as they are.
const RUN_ZFS: &str = "for place in /run/zfs /run/lock/zfs /var/lib/zfs; do \
                       mkdir -p $place && mount -t tmpfs none $place || exit; done";

const RUN_SAMBA: &str = "mkdir -p /run/samba && mount -t tmpfs none /run/samba";

impl Isolation {
    /// True in a program that [`enter`](Self::enter) has started again.
    #[must_use]
    pub fn entered() -> bool {
        std::env::var_os(INSIDE).is_some()
    }

    /// Enters the namespaces by starting this program again, with the same arguments; returns only
    /// in the process that is inside. Mounts vanish with the last process inside.
    ///
    /// # Errors
    /// The program could not be started again.
    pub fn enter(self) -> io::Result<()> {
        if Self::entered() {
            return Ok(());
        }
        let (spaces, prepare): (&[&str], String) = match self {
            Self::Winbind => (&["--mount"], RUN_SAMBA.to_owned()),
            Self::Zfs => (&["--mount"], RUN_ZFS.to_owned()),
            Self::Domain => (
                &["--mount", "--net", "--uts"],
                format!(
                    "{RUN_SAMBA} && ip link set lo up && hostname dc && \
                     echo 127.0.0.1 dc.fsrvp.test dc localhost >/run/samba/hosts && \
                     mount --bind /run/samba/hosts /etc/hosts && \
                     export KRB5_CONFIG={KRB5_CONF}"
                ),
            ),
            Self::Containers => (
                &[
                    "--mount",
                    "--net",
                    "--uts",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount-proc",
                ],
                "ip link set lo up".to_owned(),
            ),
        };
        let script = format!(r#"{prepare} && exec "$0" "$@""#);
        let run = Run::new("unshare")
            .args(spaces)
            // What is mounted inside stays inside.
            .args(["--propagation", "slave", "--", "sh", "-c"])
            .arg(script)
            .arg(std::env::current_exe()?)
            .args(std::env::args_os().skip(1));
        Err(run.command().env(INSIDE, "1").exec())
    }
}

/// Where winbindd listens inside.
#[must_use]
pub(crate) fn winbind_pipe() -> &'static Path {
    Path::new("/run/samba/winbindd/pipe")
}
