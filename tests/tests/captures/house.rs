//! A machine with fsrvpd at its usual places: in namespaces of the test's own everything is where an administrator has
//! it, so that what is captured is what an administrator reads.

use fsrvp_testkit::{Error, Run, comes_true, programs, unix_http, unix_http_get};
use fsrvp_tests::fail;
use fsrvp_tests::operator::{Backup, Step};
use libtest_mimic::Failed;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

pub(crate) const ADMIN_SOCKET: &str = "/run/fsrvpd/admin.sock";
const PIPE: &str = "/run/samba/ncalrpc/np/fssagentrpc";
/// What belongs to the test and not to the machine.
pub(crate) const ROOM: &str = "/run/room";
/// btrfs removes what was deleted when it commits.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything that is mounted here ends with the namespaces.
const FURNISH: &str = r"
set -e
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /var/lib
mkdir -p /run/fsrvpd /run/samba /run/files /var/lib/fsrvpd /var/lib/samba/private
for place in etc usr; do
    mkdir -p /run/room/$place/upper /run/room/$place/work
    mount -t overlay -o lowerdir=/$place,upperdir=/run/room/$place/upper,workdir=/run/room/$place/work \
        none /$place
done
rm -f /usr/libexec/samba/rpcd_fsrvp /usr/lib/samba/rpcd_fsrvp /usr/lib/*/samba/rpcd_fsrvp
truncate -s 1G /var/lib/disk
mkfs.btrfs -q /var/lib/disk
mount -o loop /var/lib/disk /srv
btrfs -q subvolume create /srv/vm
btrfs -q subvolume create /srv/sql
mkdir -p /srv/vms/vm1 /srv/off /srv/vm/win11 /var/lib/other
chmod 755 /srv
echo old > /srv/vm/win11/disk.vhdx
echo old > /srv/vm/notes.txt
ln -s notes.txt /srv/vm/link
ln -s /etc /srv/vm/etc
sed -i 's/^backup:.*/&daemon/' /etc/group
mkdir -p /etc/samba
cat > /etc/samba/smb.conf
";

/// Samba on a machine that has not had one.
const SAMBA: &str = r"
set -e
mkdir -p /run/samba /var/lib/samba/private
net groupmap add sid=S-1-5-32-551 'ntgroup=Backup Operators' unixgroup=backup type=builtin
smbd --daemon
";

/// As docs/operations.md has it: smbd and fsrvpd are stopped, what is left below `run_dir` is unmounted, and the volume.
const PACK: &str = r"
set -e
kill $(cat /run/samba/smbd.pid)
for place in $(findmnt -rno TARGET | grep ^/run/fsrvpd/ | sort -r); do umount $place; done
for attempt in $(seq 100); do umount /srv && exit; sleep 0.1; done
exit 1
";

/// A machine with nothing but the volume.
const UNPACK: &str = r"
set -e
for place in /run/fsrvpd /run/samba /var/lib/fsrvpd /var/lib/samba; do mount -t tmpfs -o mode=755 none $place; done
mount -o loop /var/lib/disk /srv
";

const SMB_CONF: &str = "[global]
    netbios name = FS
    workgroup = LAB
    server role = standalone server
    registry shares = yes
    interfaces = 127.0.0.1/8
    bind interfaces only = yes
    disable netbios = yes
    disable spoolss = yes
    load printers = no
    log file = /run/room/log.smbd
[vm]
    path = /srv/vm
[sql]
    path = /srv/sql
[vms]
    path = /srv/vms
[off]
    path = /srv/off
";

pub(crate) const CONFIG: &str = r#"[admin]
group = "daemon"
measure_interval = "0s"

[[server]]
profile = "ws2012"
min_auth_level = "none"

[[server.share]]
name = "vm"
keep = { name = "nightly-{copy}" }

[[server.share]]
name = "vms"
backend = "clone"

[[server.share]]
name = "off"
backend = "none"
"#;

/// The machine.
pub(crate) struct House {
    daemon: Option<Child>,
}

impl House {
    /// Furnishes the namespaces that this process is in, and starts fsrvpd.
    pub(crate) fn open() -> Result<Self, Failed> {
        // Where it was built others may not look.
        let built = ["fsrvpctl", "fsrvpd"].map(programs::program);
        Run::new("sh")
            .args(["-c", FURNISH])
            .input(SMB_CONF)
            .check()?;
        Run::new("sh").args(["-c", SAMBA]).check()?;
        for (name, built) in ["fsrvpctl", "fsrvpd"].into_iter().zip(built) {
            fs::copy(built?, Path::new(ROOM).join(name))?;
        }
        fs::write("/etc/fsrvpd.toml", CONFIG)?;
        let mut house = Self { daemon: None };
        house.start()?;
        Ok(house)
    }

    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        let log = fs::File::create(Path::new(ROOM).join("log"))?;
        let daemon = Command::new(Path::new(ROOM).join("fsrvpd"))
            .args(["--config", "/etc/fsrvpd.toml"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.daemon = Some(daemon);
        let mut serves = false;
        let ended = || {
            let answer = unix_http_get(Path::new(ADMIN_SOCKET), "/v1/health");
            serves = answer.is_ok_and(|answer| answer.status == 200);
            let daemon = self.daemon.as_mut().map(Child::try_wait);
            serves || !matches!(daemon, Some(Ok(None)))
        };
        match comes_true(PATIENCE, ended) && serves {
            true => Ok(()),
            false => fail(fs::read_to_string(Path::new(ROOM).join("log"))?),
        }
    }

    /// Ends fsrvpd in good order.
    pub(crate) fn stop(&mut self) -> Result<(), Failed> {
        if let Some(mut daemon) = self.daemon.take() {
            Run::new("kill").arg(daemon.id().to_string()).output()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// Stops everything and takes the volume out of the machine.
    pub(crate) fn pack(&mut self) -> Result<(), Failed> {
        self.stop()?;
        Run::new("sh").args(["-c", PACK]).check()?;
        Ok(())
    }

    /// Puts the volume into another machine, with a table if there is one.
    pub(crate) fn unpack(&mut self, table: Option<&Path>) -> Result<(), Failed> {
        Run::new("sh").args(["-c", UNPACK]).check()?;
        if let Some(table) = table {
            fs::copy(table, "/var/lib/fsrvpd/table.redb")?;
        }
        Run::new("sh").args(["-c", SAMBA]).check()?;
        self.start()
    }

    /// Ends fsrvpd as a crash does; its socket stays.
    pub(crate) fn kill(&mut self) -> Result<(), Failed> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// A backup of these shares that has got as far as this.
    pub(crate) fn backup(&self, shares: &[&str], last: Step) -> Result<Backup, Failed> {
        let mut backup = Backup::at(PathBuf::from(PIPE), shares)?;
        backup.walks(last)?;
        Ok(backup)
    }

    /// Waits until a snapshot of `backup` is kept.
    pub(crate) fn kept(&self, backup: &Backup) -> Result<String, Failed> {
        let copy = backup.copies.first().ok_or("no copy")?;
        let name = format!("nightly-{copy}");
        let is_kept = || ask("/v1/snapshots").is_ok_and(|kept| kept.to_string().contains(&name));
        match comes_true(PATIENCE, is_kept) {
            true => Ok(name),
            false => fail(format!("{name} is not kept")),
        }
    }

    /// Removes every set and every kept snapshot, and what is owed.
    pub(crate) fn clear(&self) -> Result<(), Failed> {
        for set in sets()? {
            order("DELETE", &format!("/v1/sets/{set}"))?;
        }
        let is_clear = || {
            let kept = ask("/v1/snapshots").unwrap_or_default();
            let kept = kept.get("snapshots").and_then(Value::as_array).cloned();
            for name in kept
                .iter()
                .flatten()
                .filter_map(|kept| kept.get("name")?.as_str())
            {
                let _ = order("DELETE", &format!("/v1/snapshots/FS/vm/{name}"));
            }
            let _ = order("POST", "/v1/prune");
            let debts = ask("/v1/debts").is_ok_and(|debts| debts.to_string().contains("[]"));
            let alone = ask("/v1/connections").is_ok_and(|open| open.to_string().contains("[]"));
            kept.is_some_and(|kept| kept.is_empty()) && debts && alone
        };
        match comes_true(PATIENCE, is_clear) {
            true => Ok(()),
            false => fail(format!(
                "{} {} {}",
                ask("/v1/snapshots")?,
                ask("/v1/debts")?,
                ask("/v1/connections")?
            )),
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.kill();
        // The loop device goes with its last mount.
        let _ = Run::new("umount").args(["-l", "/srv"]).output();
    }
}

/// Sets are shown by their age, in seconds; of two of one second either may be the first.
pub(crate) fn next_second() {
    let begun = SystemTime::now();
    comes_true(Duration::from_secs(5), || {
        begun
            .elapsed()
            .is_ok_and(|passed| passed > Duration::from_secs(1))
    });
}

fn sets() -> Result<Vec<String>, Failed> {
    let sets = ask("/v1/sets")?;
    let servers = sets.get("servers").and_then(Value::as_object);
    let of = |server: &Value| server.get("sets").and_then(Value::as_array).cloned();
    let all = servers.into_iter().flat_map(|servers| servers.values());
    let all = all.filter_map(of).flatten();
    Ok(all
        .filter_map(|set| Some(set.get("id")?.as_str()?.to_owned()))
        .collect())
}

pub(crate) fn ask(path: &str) -> Result<Value, Failed> {
    let answer = unix_http_get(Path::new(ADMIN_SOCKET), path)?;
    Ok(serde_json::from_str(&answer.body)?)
}

fn order(verb: &str, path: &str) -> Result<(), Error> {
    unix_http(Path::new(ADMIN_SOCKET), verb, path, "").map(drop)
}
