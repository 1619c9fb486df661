//! A private Samba: configuration, accounts, smbd and a standalone samba-dcerpcd.

use crate::agent::{AgentFiles, AgentKind, SERVER_NAME};
use crate::packages::expand;
use crate::process::{self, MARK};
use crate::volume::{Share, ShareKey, Storage, directory, mounts_directory};
use crate::{Error, Run, SequenceTimeout, comes_true};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time for a server to come up on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An account of the laboratory's Samba.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// User name. The Unix users are ones that every Debian has, so that none is created.
    pub user: String,
    /// Password, random for each laboratory.
    pub password: String,
}

impl Account {
    /// `user%password`, as Samba's tools take it.
    #[must_use]
    pub fn credentials(&self) -> String {
        format!("{}%{}", self.user, self.password)
    }
}

/// The three callers that matter to the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accounts {
    /// Member of Backup Operators.
    pub backup: Account,
    /// Member of Administrators. The Unix user is root, because Samba's server service opens the
    /// table of share security descriptors as the first caller who asks for one.
    pub admin: Account,
    /// Member of neither.
    pub plain: Account,
}

impl Accounts {
    pub(crate) fn generate() -> Result<Self, Error> {
        let account = |user: &str| {
            Ok::<_, Error>(Account {
                user: user.to_owned(),
                password: random_password()?,
            })
        };
        Ok(Self {
            backup: account("backup")?,
            admin: account("root")?,
            plain: account("games")?,
        })
    }
}

/// Where Samba's programs come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SambaPrograms {
    /// Root of another system, entered by `chroot`; this system's Samba without.
    pub(crate) root: Option<PathBuf>,
}

impl SambaPrograms {
    pub(crate) fn run(&self, program: &str) -> Run {
        match &self.root {
            Some(root) => Run::new("chroot").arg(root).arg(program),
            None => Run::new(program),
        }
    }

    /// Directory of samba-dcerpcd and its helpers, as the programs themselves see it.
    fn helpers(&self) -> Result<PathBuf, Error> {
        let root = self.root.clone().unwrap_or_else(|| PathBuf::from("/"));
        for pattern in ["usr/libexec/samba", "usr/lib/*/samba", "usr/lib/samba"] {
            let pattern = root.join(pattern);
            for found in expand(&pattern.to_string_lossy()) {
                if found.join("samba-dcerpcd").exists() {
                    let inside = found.strip_prefix(&root).unwrap_or(&found);
                    return Ok(Path::new("/").join(inside));
                }
            }
        }
        Err(Error::Unfit(
            "samba-dcerpcd is not installed (Samba 4.16 or newer)".to_owned(),
        ))
    }
}

/// Files of Samba in the laboratory.
#[derive(Debug, Clone)]
pub(crate) struct SambaFiles {
    root: PathBuf,
    pub(crate) conf: PathBuf,
}

impl SambaFiles {
    pub(crate) fn of(dir: &Path) -> Self {
        let root = dir.join("samba");
        Self {
            conf: root.join("smb.conf"),
            root,
        }
    }

    pub(crate) fn pipe_directory(&self) -> PathBuf {
        self.root.join("ncalrpc/np")
    }

    pub(crate) fn pipe(&self) -> PathBuf {
        self.pipe_directory().join("fssagentrpc")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    fn pid_file(&self, daemon: &str) -> PathBuf {
        self.root.join("pid").join(format!("{daemon}.pid"))
    }

    /// Process id of a daemon, when its file is there.
    pub(crate) fn pid(&self, daemon: &str) -> Option<u32> {
        process::pid_in(&self.pid_file(daemon))
    }
}

/// What smb.conf has to say.
pub(crate) struct Conf<'a> {
    pub(crate) agent: &'a AgentKind,
    pub(crate) port: u16,
    pub(crate) shares: &'a [Share],
    pub(crate) timeout: Option<SequenceTimeout>,
    pub(crate) storage: Storage,
}

impl Conf<'_> {
    /// Writes it.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let files = SambaFiles::of(dir);
        for name in ["private", "lock", "state", "cache", "pid", "ncalrpc", "log"] {
            directory(&files.root.join(name))?;
        }
        let mut text = global_section(&files.root, self.port);
        if let AgentKind::Samba { workers } = self.agent {
            text.push_str(&format!("    rpcd_fsrvp:num_workers = {workers}\n"));
        }
        if let Some(timeout) = self.timeout {
            // smbtorture reads the same file, and whole seconds.
            let seconds = timeout.short.as_secs().max(1);
            text.push_str(&format!("    fss:sequence timeout = {seconds}\n"));
        }
        for share in self.shares {
            text.push_str(&self.share_section(dir, share));
        }
        fs::write(&files.conf, text).map_err(Error::file(&files.conf))
    }

    fn share_section(&self, dir: &Path, share: &Share) -> String {
        let path = share.path.display();
        let mut section = format!(
            "\n[{}]\n    path = {path}\n    read only = no\n",
            share.name
        );
        let (modules, snapdir) = match self.agent {
            // Samba's own agent needs the module that makes its snapshots, and puts them into the share.
            AgentKind::Samba { .. } => ("btrfs", share.path.clone()),
            AgentKind::Fsrvpd(_) => {
                let modules = match self.storage {
                    Storage::Btrfs => "",
                    // Copies take Windows' security descriptors along as they are stored.
                    Storage::Zfs | Storage::Xfs | Storage::Ext4 => "acl_xattr",
                };
                (modules, self.previous_versions(dir, share))
            }
        };
        let torture = share.key == ShareKey::Torture;
        let modules = match (torture, share.key.is_subvolume()) {
            (true, _) => format!("shadow_copy2 {modules}"),
            (false, true) => modules.to_owned(),
            (false, false) => String::new(),
        };
        if !modules.is_empty() {
            section.push_str(&format!("    vfs objects = {}\n", modules.trim_end()));
        }
        if modules.contains("btrfs") {
            section.push_str("    btrfs: manipulate snapshots = yes\n");
        }
        if torture {
            section.push_str(&format!("    shadow:snapdir = {}\n", snapdir.display()));
        }
        if torture && matches!(self.storage, Storage::Xfs | Storage::Ext4) {
            // A copy begins where the share does, not where its file system is mounted. (Of btrfs,
            // the module takes the subvolume for what is mounted.)
            section.push_str(&format!("    shadow:mountpoint = {path}\n"));
        }
        section
    }

    /// Where fsrvpd shows a share's copies by the time at which they were made.
    fn previous_versions(&self, dir: &Path, share: &Share) -> PathBuf {
        let area = match self.storage {
            Storage::Btrfs => mounts_directory(dir)
                .join("btrfs1/.fsrvpd")
                .join(SERVER_NAME),
            Storage::Zfs => AgentFiles::of(dir).run.join("zfs"),
            Storage::Xfs => AgentFiles::of(dir).run.join("clone"),
            Storage::Ext4 => AgentFiles::of(dir).run.join("copy"),
        };
        area.join("previous").join(share.name)
    }
}

fn global_section(root: &Path, port: u16) -> String {
    let root = root.display();
    format!(
        "[global]
    server role = standalone server
    workgroup = FSRVPLAB
    netbios name = {SERVER_NAME}
    security = user
    passdb backend = tdbsam:{root}/private/passdb.tdb
    private dir = {root}/private
    lock directory = {root}/lock
    state directory = {root}/state
    cache directory = {root}/cache
    pid directory = {root}/pid
    ncalrpc dir = {root}/ncalrpc
    log file = {root}/log/log.%m
    log level = 1
    max log size = 0
    usershare path =
    smb ports = {port}
    interfaces = 127.0.0.1/8
    bind interfaces only = yes
    disable netbios = yes
    load printers = no
    printing = bsd
    printcap name = /dev/null
    disable spoolss = yes
    registry shares = yes
    rpc start on demand helpers = no
    server min protocol = SMB2_02
    client min protocol = SMB2_02
    map to guest = never
    unix extensions = no
    force create mode = 0666
    force directory mode = 0777
"
    )
}

/// Creates the accounts and the groups that make their tokens.
pub(crate) fn create_accounts(
    files: &SambaFiles,
    programs: &SambaPrograms,
    accounts: &Accounts,
) -> Result<(), Error> {
    for account in [&accounts.backup, &accounts.admin, &accounts.plain] {
        let twice = format!("{0}\n{0}\n", account.password);
        let add = programs
            .run("smbpasswd")
            .arg("-c")
            .arg(&files.conf)
            .args(["-s", "-a"]);
        add.arg(&account.user).input(twice).check()?;
    }
    // Without winbind a built-in group enters a token by way of the Unix group that it maps to.
    for (sid, name, group) in [
        ("S-1-5-32-551", "Backup Operators", "backup"),
        ("S-1-5-32-544", "Administrators", "root"),
    ] {
        let net = programs
            .run("net")
            .arg("-s")
            .arg(&files.conf)
            .args(["groupmap", "add"]);
        net.arg(format!("sid={sid}"))
            .arg(format!("ntgroup={name}"))
            .arg(format!("unixgroup={group}"))
            .arg("type=builtin")
            .check()?;
    }
    Ok(())
}

/// Adds the accounts to the built-in groups one by one: winbindd tells the members of a group, and
/// not who is in the Unix group that it maps to.
pub(crate) fn add_members(
    files: &SambaFiles,
    programs: &SambaPrograms,
    accounts: &Accounts,
) -> Result<(), Error> {
    for (group, account) in [
        ("Backup Operators", &accounts.backup),
        ("Administrators", &accounts.admin),
    ] {
        let net = programs.run("net").arg("-s").arg(&files.conf);
        net.args(["sam", "addmem"])
            .arg(format!("BUILTIN\\{group}"))
            .arg(format!("{SERVER_NAME}\\{}", account.user))
            .check()?;
    }
    Ok(())
}

/// Starts winbindd, which insists on its place below `/run/samba`.
pub(crate) fn start_winbindd(dir: &Path, programs: &SambaPrograms) -> Result<(), Error> {
    let files = SambaFiles::of(dir);
    let run = programs
        .run("winbindd")
        .args(["-D", "-s"])
        .arg(&files.conf)
        .arg("-l")
        .arg(files.log());
    run.env(MARK, dir).check()?;
    wait_for("winbindd", &files, || {
        crate::isolation::winbind_pipe().exists()
            && Run::new("wbinfo")
                .arg("-p")
                .output()
                .is_ok_and(|output| output.status.success())
    })
}

/// Starts samba-dcerpcd, with or without Samba's own agent.
pub(crate) fn start_dcerpcd(
    dir: &Path,
    programs: &SambaPrograms,
    own_agent: bool,
) -> Result<u32, Error> {
    const DAEMON: &str = "samba-dcerpcd";
    let files = SambaFiles::of(dir);
    let helpers = programs.helpers()?;
    let mut names = vec!["rpcd_classic", "rpcd_lsad", "rpcd_winreg", "rpcd_epmapper"];
    if own_agent {
        names.push("rpcd_fsrvp");
    }
    let last = if own_agent { "fssagentrpc" } else { "srvsvc" };
    let socket = files.pipe_directory().join(last);
    // One that an earlier samba-dcerpcd left would look like the new one's.
    let _ = fs::remove_file(&socket);
    let program = helpers.join(DAEMON);
    programs
        .run(&program.to_string_lossy())
        .args(["-D", "-s"])
        .arg(&files.conf)
        .arg("-l")
        .arg(files.log())
        .args(names.iter().map(|name| helpers.join(name)))
        .env(MARK, dir)
        .check()?;
    wait_for(DAEMON, &files, || {
        socket.exists() && files.pid(DAEMON).is_some_and(process::alive)
    })?;
    files
        .pid(DAEMON)
        .ok_or_else(|| Error::Unfit(format!("{DAEMON} has no process id")))
}

/// Starts smbd.
pub(crate) fn start_smbd(dir: &Path, programs: &SambaPrograms, port: u16) -> Result<(), Error> {
    let files = SambaFiles::of(dir);
    let run = programs
        .run("smbd")
        .args(["-D", "-s"])
        .arg(&files.conf)
        .arg("-l")
        .arg(files.log());
    run.env(MARK, dir).check()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for("smbd", &files, || {
        files.pid("smbd").is_some_and(process::alive)
            && TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    })
}

/// Ends a daemon with all processes of the laboratory that run the same program or its helpers.
pub(crate) fn stop(dir: &Path, daemon: &str) -> Result<(), Error> {
    let files = SambaFiles::of(dir);
    let parent = files.pid(daemon);
    let ours = process::of_laboratory(dir);
    let helpers = daemon == "samba-dcerpcd";
    let family = ours.iter().copied().filter(|pid| {
        process::program_name(*pid)
            .is_some_and(|name| name == daemon || (helpers && name.starts_with("rpcd_")))
    });
    let left = process::stop(
        family.chain(parent.filter(|pid| ours.contains(pid))),
        PATIENCE,
    );
    if !left.is_empty() {
        return Err(Error::LeftOver(format!("{daemon}, processes {left:?}")));
    }
    let _ = fs::remove_file(files.pid_file(daemon));
    Ok(())
}

fn wait_for(
    server: &'static str,
    files: &SambaFiles,
    ready: impl Fn() -> bool,
) -> Result<(), Error> {
    if comes_true(PATIENCE, ready) {
        return Ok(());
    }
    let log = files.log().join(format!("log.{server}"));
    let last = fs::read_to_string(log).unwrap_or_default();
    Err(Error::NotReady {
        server,
        limit: PATIENCE,
        last,
    })
}

pub(crate) fn random_password() -> Result<String, Error> {
    const SOURCE: &str = "/dev/urandom";
    let mut bytes = [0_u8; 12];
    fs::File::open(SOURCE)
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(Error::file(SOURCE))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
