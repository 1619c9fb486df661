//! Throw-away roots: a Debian release with Samba below an overlay, entered in namespaces of its own, with or
//! without systemd as the first process. Whatever a test starts, mounts or diverts there ends with the
//! namespaces.

use fsrvp_testkit::{Error, Run, comes_true, laboratory_required, machine_fits, until};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Enters the overlay: `$BASE`, `$SCRATCH`. Devices are its own, so that nothing reaches the machine's.
const ENTER: &str = r#"
set -e
root=$SCRATCH/root
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$root/dev/"
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/inbox"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount --bind "$SCRATCH/inbox" "$root/inbox"
ip link set lo up
hostname filer
"#;

/// systemd as the first process, with a btrfs file system at /srv.
const BOOT: &str = r#"
mount -o loop "$SCRATCH/srv.img" "$root/srv"
cp -a /dev/loop[0-9]* "$root/dev/"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/outside"
cd "$root"
pivot_root . outside
umount --lazy /outside
exec env -i container=fsrvp PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --log-target=null --show-status=no
"#;

/// What would ask for a terminal, a network card, modules of the kernel or the machine's name service.
const MASKED: &[&str] = &[
    "getty.target",
    "console-getty.service",
    "nmbd.service",
    "samba-ad-dc.service",
    "systemd-modules-load.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
];

/// A root above which nothing of a test survives.
pub struct Root {
    base: PathBuf,
    scratch: TempDir,
}

impl Root {
    /// A fresh overlay above a [release](crate::debian_to_install).
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn new(base: &Path) -> Result<Self, Error> {
        let scratch = TempDir::with_prefix("fsrvp-root.").map_err(Error::file("a directory"))?;
        for name in ["root", "upper", "work", "inbox"] {
            let path = scratch.path().join(name);
            fs::create_dir(&path).map_err(Error::file(&path))?;
        }
        Ok(Self {
            base: base.to_owned(),
            scratch,
        })
    }

    /// A directory that is `/inbox` inside.
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        self.scratch.path().join("inbox")
    }

    /// Root, loop devices and the programs of a laboratory: the same as for those.
    ///
    /// # Panics
    /// When they are missing where nothing may be skipped.
    #[must_use]
    #[expect(clippy::panic, reason = "tests that may not be skipped fail here")]
    pub fn is_possible() -> bool {
        match machine_fits() {
            Ok(()) => true,
            Err(why) if laboratory_required() => panic!("{why}"),
            Err(why) => {
                println!("skipped: {why}");
                false
            }
        }
    }

    /// Runs a shell script as root inside, in `/inbox`, without a first process of its own. What it
    /// changes below `/run` and `/dev` is gone afterwards, the rest stays.
    ///
    /// # Errors
    /// As [`Run::output`].
    pub fn shell(&self, script: &str) -> Result<fsrvp_testkit::Output, Error> {
        let enter = format!(
            "{ENTER}\nexec chroot \"$root\" sh -c 'cd /inbox; exec sh -e' </proc/self/fd/0"
        );
        self.unshare()
            .args(["--kill-child", "--", "sh", "-c"])
            .arg(enter)
            .input(script)
            .limit(Duration::from_secs(600))
            .output()
    }

    /// Runs a shell script that goes on, as [`shell`](Self::shell) does but in the network of a process. Ending
    /// what is returned ends everything that the script has started.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn serve(&self, network: u32, script: &str) -> Result<Service, Error> {
        let log = self.inbox().join("log");
        let written = fs::File::create(&log).map_err(Error::file(&log))?;
        let also = written.try_clone().map_err(Error::file(&log))?;
        let child = Command::new("nsenter")
            .arg(format!("--target={network}"))
            .args(["--net", "--no-fork", "--"])
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork"])
            .args(["--propagation", "private", "--kill-child", "--", "sh", "-c"])
            .arg(format!("{ENTER}\nexec chroot \"$root\" sh -ec \"$SCRIPT\""))
            .env("BASE", &self.base)
            .env("SCRATCH", self.scratch.path())
            .env("SCRIPT", script)
            .stdin(Stdio::null())
            .stdout(written)
            .stderr(also)
            .spawn()
            .map_err(Error::file("nsenter"))?;
        Ok(Service { child, log })
    }

    fn unshare(&self) -> Run {
        Run::new("unshare")
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork"])
            .args(["--propagation", "private"])
            .env("BASE", &self.base)
            .env("SCRATCH", self.scratch.path())
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    /// Starts systemd inside and waits until it has started what is enabled.
    ///
    /// # Errors
    /// What is missing on this machine, or what systemd says of its units.
    pub fn boot(self) -> Result<Booted, Error> {
        let image = self.scratch.path().join("srv.img");
        let file = fs::File::create(&image).map_err(Error::file(&image))?;
        file.set_len(1 << 30).map_err(Error::file(&image))?;
        Run::new("mkfs.btrfs").arg("-q").arg(&image).check()?;
        let masks = MASKED
            .iter()
            .map(|unit| format!("ln -sf /dev/null /etc/systemd/system/{unit}\n"));
        // systemd would give the machine the name that the release's root has.
        let name = "echo filer >/etc/hostname\n".to_owned();
        let prepared = self.shell(&masks.chain([name]).collect::<String>())?;
        if !prepared.status.success() {
            return Err(Error::Unfit(prepared.text()));
        }
        let group = Group::new()?;
        // The shell enters its group before the namespace makes that group the root of all.
        let script = "echo $$ >\"$GROUP/cgroup.procs\" && exec unshare --mount --pid --net --uts \
             --ipc --cgroup --fork --kill-child --propagation private -- sh -c \"$INSIDE\"";
        let child = Command::new("sh")
            .args(["-c", script])
            .env("GROUP", &group.0)
            .env("INSIDE", format!("{ENTER}{BOOT}"))
            .env("BASE", &self.base)
            .env("SCRATCH", self.scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(Error::file("unshare"))?;
        let booted = Booted {
            child,
            group: Some(group),
            root: self,
        };
        booted.wait()?;
        Ok(booted)
    }
}

/// A script that goes on in a [`Root`]; dropping it ends it.
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A control group below which systemd makes its own.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self, Error> {
        let table = "/proc/self/mounts";
        let mounts = fs::read_to_string(table).map_err(Error::file(table))?;
        let place = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let point = fields.nth(1)?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
        });
        let place = place
            .ok_or_else(|| Error::Unfit("this machine has no unified control groups".to_owned()))?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("fsrvp-root.{}.{number}", std::process::id()));
        fs::create_dir(&path).map_err(Error::file(&path))?;
        Ok(Self(path))
    }

    /// Removes the groups that systemd made; they are empty once its namespace has ended.
    fn remove(&self) -> io::Result<()> {
        fn below(directory: &Path) -> io::Result<()> {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    below(&entry.path())?;
                }
            }
            fs::remove_dir(directory)
        }
        let mut outcome = Ok(());
        comes_true(Duration::from_secs(10), || {
            outcome = below(&self.0);
            outcome.is_ok()
        });
        outcome
    }
}

/// A root in which systemd runs. Dropping it ends everything inside.
pub struct Booted {
    child: Child,
    group: Option<Group>,
    root: Root,
}

impl Booted {
    /// As [`Root::inbox`].
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        self.root.inbox()
    }

    /// Runs a shell script as root beside the running services, in `/inbox`.
    ///
    /// # Errors
    /// As [`Run::output`].
    pub fn shell(&self, script: &str) -> Result<fsrvp_testkit::Output, Error> {
        let first = self
            .first_process()
            .ok_or_else(|| Error::Unfit("systemd does not run".to_owned()))?;
        Run::new("nsenter")
            .arg(format!("--target={first}"))
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"])
            .args(["--root", "--wd"])
            .args(["--", "sh", "-c", "cd /inbox; exec sh -e"])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .input(script)
            .limit(Duration::from_secs(600))
            .output()
    }

    /// systemd's process id as this machine counts.
    #[must_use]
    pub fn first_process(&self) -> Option<u32> {
        let shell = self.child.id();
        let list = format!("/proc/{shell}/task/{shell}/children");
        let children = fs::read_to_string(list).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    fn wait(&self) -> Result<(), Error> {
        let mut said = String::new();
        let running = until(Duration::from_secs(90), || {
            if let Ok(output) = self.shell("systemctl is-system-running || true") {
                said = output.stdout;
            }
            match said.trim() {
                "running" => Ok(Some(())),
                "degraded" => {
                    let failed = self.shell("systemctl --no-pager --failed")?;
                    Err(Error::Unfit(failed.text()))
                }
                _ => Ok(None),
            }
        })?;
        running.ok_or_else(|| Error::Unfit(format!("systemd does not come up: {said}")))
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // With the first process of a namespace everything in it ends, and its mounts with it.
        if let Some(first) = self.first_process() {
            let _ = Run::new("kill")
                .args(["-KILL", &first.to_string()])
                .output();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(group) = self.group.take()
            && let Err(error) = group.remove()
        {
            eprintln!("control group {}: {error}", group.0.display());
        }
    }
}

/// Builds a package of the programs that the running test was built with.
///
/// # Errors
/// What `cargo xtask package` said.
pub fn package(programs: &Path, output: &Path, version: &str) -> Result<PathBuf, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Run::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--", "package"])
        .arg("--programs")
        .arg(programs)
        .arg("--output")
        .arg(output)
        .args(["--debian-version", version])
        .directory(fsrvp_testkit::programs::workspace())
        // Packing tight is most of the time otherwise.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .limit(Duration::from_secs(1800))
        .check()?;
    let path = run.stdout.lines().last().unwrap_or_default();
    Ok(PathBuf::from(path))
}
