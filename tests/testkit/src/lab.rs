//! The laboratory as a whole: up, restarts, down.

mod options;
mod removal;

pub use options::{LabOptions, SequenceTimeout};
pub use removal::{down, sweep};
pub(crate) use removal::{mark, test_directory};

use crate::agent::{self, AgentFiles, AgentKind, MinAuthLevel, SERVER_NAME};
use crate::samba::{self, Account, Accounts, SambaFiles};
use crate::volume::{self, Share, ShareKey};
use crate::{Environment, Error, Run, disk, place, process, system};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;

/// The file that marks a directory as a laboratory and says how it was made.
const RECORD: &str = place::RECORD;
const ENVIRONMENT: &str = "env";

/// A unix socket's path has 108 bytes; this leaves room for the longest one below the directory.
const LONGEST_DIRECTORY: usize = 70;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    options: LabOptions,
    accounts: Accounts,
    port: u16,
    /// Whether the directory was there before, and so has to be there afterwards.
    existed: bool,
}

/// A laboratory that is up. Dropping it takes it down, unless it was [kept](Lab::keep).
#[derive(Debug)]
pub struct Lab {
    record: Record,
    shares: Vec<Share>,
    keep: bool,
}

impl Lab {
    /// Makes a laboratory. When that fails half-way, what was made is removed again.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a directory that cannot be used, else what failed.
    pub fn up(mut options: LabOptions) -> Result<Self, Error> {
        let existed = options.dir.exists();
        volume::directory(&options.dir)?;
        options.dir = fs::canonicalize(&options.dir).map_err(Error::file(&options.dir))?;
        let dir = options.dir.clone();
        options.programs.root = options.system.as_ref().map(|_| system::root(&dir));
        let shown = dir.display();
        if dir.join(RECORD).exists() {
            return Err(Error::Unfit(format!(
                "{shown} is a laboratory already; take it down first"
            )));
        }
        if let Some(taken) = place::OWN_NAMES.iter().find(|name| dir.join(name).exists()) {
            return Err(Error::Unfit(format!(
                "{shown} has a {taken:?} that is not a laboratory's"
            )));
        }
        if dir.as_os_str().len() > LONGEST_DIRECTORY {
            let limit = LONGEST_DIRECTORY;
            return Err(Error::Unfit(format!(
                "{shown}: sockets need a path of {limit} bytes or less"
            )));
        }
        place::open(&dir)?;
        let record = Record {
            options,
            accounts: Accounts::generate()?,
            port: free_port()?,
            existed,
        };
        let lab = Self {
            record,
            shares: volume::shares(&dir),
            keep: false,
        };
        // From here on, dropping the value removes whatever is there.
        lab.write_record()?;
        lab.build()?;
        Ok(lab)
    }

    /// Takes up a laboratory that another process left running.
    ///
    /// # Errors
    /// [`Error::File`] when there is none.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(RECORD);
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        let record: Record =
            serde_json::from_str(&text).map_err(|error| Error::file(&path)(error.into()))?;
        let shares = volume::shares(&record.options.dir);
        Ok(Self {
            record,
            shares,
            keep: true,
        })
    }

    /// Leaves it running when this value goes.
    pub fn keep(mut self) {
        self.keep = true;
    }

    /// Removes every trace.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn down(mut self) -> Result<(), Error> {
        self.keep = true;
        down(self.dir())
    }

    fn build(&self) -> Result<(), Error> {
        let Record {
            options,
            accounts,
            port,
            existed: _,
        } = &self.record;
        let (dir, files) = (self.dir(), SambaFiles::of(self.dir()));
        if let Some(other) = &options.system {
            system::enter(dir, other)?;
        }
        if options.single_disk {
            disk::create(dir)?;
        }
        volume::create(
            dir,
            options.volume_bytes,
            options.single_disk,
            options.storage,
        )?;
        let timeout = options.settings.sequence_timeout;
        let conf = samba::Conf {
            agent: &options.agent,
            port: *port,
            shares: &self.shares,
            timeout,
            storage: options.storage,
        };
        conf.write(dir)?;
        samba::create_accounts(&files, &options.programs, accounts)?;
        let agent_files = AgentFiles::of(dir);
        let pipes = files.pipe_directory();
        agent::write_config(&agent_files, &options.settings, &files.conf, &pipes)?;
        let own = matches!(options.agent, AgentKind::Samba { .. });
        if options.winbind {
            samba::start_winbindd(dir, &options.programs)?;
            samba::add_members(&files, &options.programs, accounts)?;
        }
        // In the order in which a machine starts them: the agent before the file server.
        self.start_agent()?;
        samba::start_dcerpcd(dir, &options.programs, own)?;
        samba::start_smbd(dir, &options.programs, *port)?;
        self.write_environment()
    }

    /// Starts our agent; Samba's is started with samba-dcerpcd.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the end of its log.
    pub fn start_agent(&self) -> Result<(), Error> {
        match self.agent_program()? {
            Some(program) => agent::start(self.dir(), program).map(drop),
            None => Ok(()),
        }
    }

    /// Starts our agent in another way than usual and does not wait until it serves: it may end
    /// before. The caller collects it.
    ///
    /// # Errors
    /// [`Error::Start`]; [`Error::Unfit`] where the agent is Samba's.
    pub fn spawn_agent(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Child, Error> {
        let mut program = self
            .agent_program()?
            .ok_or_else(|| Error::Unfit("the agent is Samba's".to_owned()))?
            .args(arguments);
        for (name, value) in environment {
            program = program.env(name, value);
        }
        agent::spawn(self.dir(), program)
    }

    /// Our agent's program.
    fn agent_program(&self) -> Result<Option<Run>, Error> {
        let options = &self.record.options;
        let program = match &options.agent {
            AgentKind::Fsrvpd(program) => match options.system {
                Some(_) => agent::copy_program(self.dir(), program)?,
                None => program.clone(),
            },
            AgentKind::Samba { .. } => return Ok(None),
        };
        Ok(Some(options.programs.run(&program.to_string_lossy())))
    }

    /// Ends our agent; `crash` as `kill -9` does. Its store stays.
    ///
    /// # Errors
    /// [`Error::LeftOver`].
    pub fn stop_agent(&self, crash: bool) -> Result<(), Error> {
        agent::stop(self.dir(), crash)
    }

    /// Restarts the agent alone and keeps its store.
    ///
    /// # Errors
    /// As start and stop.
    pub fn restart_agent(&self) -> Result<(), Error> {
        match self.record.options.agent {
            AgentKind::Fsrvpd(_) => {
                self.stop_agent(false)?;
                self.start_agent()?;
            }
            AgentKind::Samba { .. } => self.restart_dcerpcd()?,
        }
        self.write_environment()
    }

    /// Restarts the agent with another minimum level and further lines in `[[server]]`, in place of
    /// those of an earlier call.
    ///
    /// # Errors
    /// As start and stop.
    pub fn reconfigure(&self, level: MinAuthLevel, lines: &[&str]) -> Result<(), Error> {
        let mut settings = self.record.options.settings.clone();
        settings.min_auth_level = level;
        settings.server_lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let samba = SambaFiles::of(self.dir());
        let files = AgentFiles::of(self.dir());
        agent::write_config(&files, &settings, &samba.conf, &samba.pipe_directory())?;
        self.restart_agent()
    }

    /// Processes of the laboratory's winbindd.
    #[must_use]
    pub fn winbindd_pids(&self) -> Vec<u32> {
        let is_winbindd = |pid: &u32| process::program_name(*pid).as_deref() == Some("winbindd");
        let all = process::of_laboratory(self.dir());
        all.into_iter().filter(is_winbindd).collect()
    }

    /// Ends smbd; every client's connection breaks.
    ///
    /// # Errors
    /// [`Error::LeftOver`].
    pub fn stop_smbd(&self) -> Result<(), Error> {
        samba::stop(self.dir(), "smbd")
    }

    /// Starts smbd.
    ///
    /// # Errors
    /// [`Error::NotReady`].
    pub fn start_smbd(&self) -> Result<(), Error> {
        samba::start_smbd(self.dir(), &self.record.options.programs, self.record.port)
    }

    /// Restarts smbd; every client's connection breaks.
    ///
    /// # Errors
    /// As start and stop.
    pub fn restart_smbd(&self) -> Result<(), Error> {
        self.stop_smbd()?;
        self.start_smbd()
    }

    /// Restarts samba-dcerpcd.
    ///
    /// # Errors
    /// As start and stop.
    pub fn restart_dcerpcd(&self) -> Result<(), Error> {
        samba::stop(self.dir(), "samba-dcerpcd")?;
        let own = matches!(self.record.options.agent, AgentKind::Samba { .. });
        samba::start_dcerpcd(self.dir(), &self.record.options.programs, own).map(drop)
    }

    /// Takes the single disk as it is at this moment, with everybody at work.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn photograph(&self) -> Result<(), Error> {
        self.camera().photograph()
    }

    /// What [`Lab::photograph`] needs, for another thread.
    #[must_use]
    pub fn camera(&self) -> Camera {
        Camera(self.dir().to_owned())
    }

    /// Ends every process at once and mounts the disk as it was when the picture was taken; nothing
    /// is started.
    ///
    /// # Errors
    /// What does not end, or cannot be mounted.
    pub fn fall_and_boot(&self) -> Result<(), Error> {
        disk::fall(self.dir())?;
        disk::boot(self.dir())?;
        volume::mount_nested(self.dir())
    }

    /// Starts samba-dcerpcd and smbd of a laboratory that has [fallen](Lab::fall_and_boot).
    ///
    /// # Errors
    /// As at the start.
    pub fn start_samba(&self) -> Result<(), Error> {
        let Record { options, port, .. } = &self.record;
        let own = matches!(options.agent, AgentKind::Samba { .. });
        samba::start_dcerpcd(self.dir(), &options.programs, own)?;
        samba::start_smbd(self.dir(), &options.programs, *port)
    }

    /// The laboratory's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.record.options.dir
    }

    /// A share.
    ///
    /// # Panics
    /// Never: every laboratory has every share.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "ShareKey::ALL is what the list was made from"
    )]
    pub fn share(&self, key: ShareKey) -> &Share {
        self.shares
            .iter()
            .find(|share| share.key == key)
            .expect("every laboratory has every share")
    }

    /// The backup operator.
    #[must_use]
    pub fn backup(&self) -> &Account {
        &self.record.accounts.backup
    }

    /// The administrator.
    #[must_use]
    pub fn admin(&self) -> &Account {
        &self.record.accounts.admin
    }

    /// A user without any right to make shadow copies.
    #[must_use]
    pub fn plain(&self) -> &Account {
        &self.record.accounts.plain
    }

    /// Least RPC security that the agent accepts. Samba's own agent accepts any, and gets the same.
    #[must_use]
    pub fn min_auth_level(&self) -> MinAuthLevel {
        self.record.options.settings.min_auth_level
    }

    /// smbd's TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.record.port
    }

    /// smb.conf, for servers and clients.
    #[must_use]
    pub fn smb_conf(&self) -> PathBuf {
        SambaFiles::of(self.dir()).conf
    }

    /// The agent's pipe socket.
    #[must_use]
    pub fn pipe(&self) -> PathBuf {
        SambaFiles::of(self.dir()).pipe()
    }

    /// fsrvpd's admin socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        AgentFiles::of(self.dir()).admin_socket
    }

    /// fsrvpd's configuration file.
    #[must_use]
    pub fn agent_config(&self) -> PathBuf {
        AgentFiles::of(self.dir()).config
    }

    /// fsrvpd's log.
    #[must_use]
    pub fn agent_log(&self) -> PathBuf {
        AgentFiles::of(self.dir()).log
    }

    /// fsrvpd's state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        AgentFiles::of(self.dir()).state
    }

    /// Where fsrvpd mounts file systems.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        AgentFiles::of(self.dir()).run
    }

    /// Samba's state directory, with the registry.
    #[must_use]
    pub fn samba_state_dir(&self) -> PathBuf {
        SambaFiles::of(self.dir()).state()
    }

    /// Where a volume (`btrfs1`, `btrfs2`) is mounted.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        volume::mounts_directory(self.dir()).join(name)
    }

    /// Process id of the agent, for Samba's own that of samba-dcerpcd.
    #[must_use]
    pub fn agent_pid(&self) -> Option<u32> {
        match self.record.options.agent {
            AgentKind::Fsrvpd(_) => process::pid_in(&AgentFiles::of(self.dir()).pid),
            AgentKind::Samba { .. } => SambaFiles::of(self.dir()).pid("samba-dcerpcd"),
        }
    }

    /// Process id of the listening smbd.
    #[must_use]
    pub fn smbd_pid(&self) -> Option<u32> {
        SambaFiles::of(self.dir()).pid("smbd")
    }

    /// What `smbd --version` says.
    ///
    /// # Errors
    /// When there is no smbd.
    pub fn smbd_version(&self) -> Result<String, Error> {
        let run = self.record.options.programs.run("smbd").arg("--version");
        run.check().map(|output| output.stdout)
    }

    /// Name of the file server, as its clients may also call it.
    #[must_use]
    pub fn server_name(&self) -> &'static str {
        SERVER_NAME
    }

    /// The environment file.
    #[must_use]
    pub fn environment_file(&self) -> PathBuf {
        self.dir().join(ENVIRONMENT)
    }

    fn write_record(&self) -> Result<(), Error> {
        let path = self.dir().join(RECORD);
        let text = serde_json::to_string_pretty(&self.record)
            .map_err(|error| Error::file(&path)(error.into()))?;
        fs::write(&path, text).map_err(Error::file(&path))?;
        let secret = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, secret).map_err(Error::file(&path))
    }

    fn write_environment(&self) -> Result<(), Error> {
        let text = |path: &Path| path.display().to_string();
        let (agent, samba) = (AgentFiles::of(self.dir()), SambaFiles::of(self.dir()));
        let ours = matches!(self.record.options.agent, AgentKind::Fsrvpd(_));
        let mut environment = Environment::default();
        let mut set = |key: &str, value: String| environment.set(key, value);
        set("HOST", Ipv4Addr::LOCALHOST.to_string());
        set("PORT", self.port().to_string());
        set("SERVER_NAME", SERVER_NAME.to_owned());
        set("SMB_CONF", text(&samba.conf));
        set("NP_SOCKET", text(&samba.pipe()));
        for (name, account) in [
            ("BACKUP", self.backup()),
            ("PLAIN", self.plain()),
            ("ADMIN", self.admin()),
        ] {
            set(&format!("{name}_USER"), account.user.clone());
            set(&format!("{name}_PASSWORD"), account.password.clone());
        }
        for share in &self.shares {
            set(share.key.key(), share.name.to_owned());
            set(&format!("{}_PATH", share.key.key()), text(&share.path));
        }
        set(
            "AGENT_PID",
            self.agent_pid()
                .map(|pid| pid.to_string())
                .unwrap_or_default(),
        );
        // Samba's agent has its table in Samba's state directory and no admin socket.
        set(
            "CONFIG",
            text(if ours { &agent.config } else { &samba.conf }),
        );
        set(
            "STATE_DIR",
            text(&if ours { agent.state } else { samba.state() }),
        );
        set(
            "ADMIN_SOCKET",
            if ours {
                text(&agent.admin_socket)
            } else {
                String::new()
            },
        );
        set(
            "METRICS",
            if ours { "http://localhost/metrics" } else { "" }.to_owned(),
        );
        environment.write(&self.environment_file())
    }
}

/// Takes pictures of a laboratory's single disk.
#[derive(Debug, Clone)]
pub struct Camera(PathBuf);

impl Camera {
    /// As [`Lab::photograph`].
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn photograph(&self) -> Result<(), Error> {
        disk::photograph(&self.0)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = down(self.dir())
        {
            eprintln!("laboratory {}: {error}", self.dir().display());
        }
    }
}

fn free_port() -> Result<u16, Error> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
    bind()
        .map(|address| address.port())
        .map_err(Error::file("127.0.0.1"))
}
