//! A laboratory without root, Samba and file systems: only fsrvpd.

use crate::volume::directory;
use crate::{Error, Run, agent};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What goes into the configuration besides what the laboratory needs.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// Tables that stand before `[[server]]`: `[listen.tcp]`, `[log]`.
    pub listen: String,
    /// The end of `[[server]]`, and tables below it.
    pub server: String,
}

/// fsrvpd with one share, `\\EMBEDDED\docs`, whose backend keeps its copies in memory. It listens on
/// its pipe socket only, and serves whoever runs as the same user.
#[derive(Debug)]
pub struct Embedded {
    dir: tempfile::TempDir,
    pid: u32,
}

impl Embedded {
    /// Starts fsrvpd.
    ///
    /// # Errors
    /// [`Error::NotReady`] with its log.
    pub fn up(fsrvpd: &Path) -> Result<Self, Error> {
        Self::with(fsrvpd, &EmbeddedOptions::default())
    }

    /// Starts fsrvpd with a configuration of the caller's.
    ///
    /// # Errors
    /// As [`Embedded::up`].
    pub fn with(fsrvpd: &Path, options: &EmbeddedOptions) -> Result<Self, Error> {
        let temporary = std::env::temp_dir();
        let dir = tempfile::tempdir().map_err(Error::file(temporary))?;
        let files = agent::AgentFiles::of(dir.path());
        let docs = dir.path().join("docs");
        let ncalrpc = dir.path().join("ncalrpc");
        for path in [&files.state, &files.run, &docs, &ncalrpc] {
            directory(path)?;
        }
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&ncalrpc, open).map_err(Error::file(&ncalrpc))?;
        let shares = dir.path().join("shares.json");
        let list = serde_json::json!({
            "names": ["EMBEDDED"],
            "shares": [{ "name": "docs", "path": docs }],
        });
        fs::write(&shares, list.to_string()).map_err(Error::file(&shares))?;
        let config = format!(
            "[admin]\nsocket = {:?}\n\n{}\n[[server]]\nname = \"EMBEDDED\"\nstatic_shares = {shares:?}\n\
             pipe_directory = {:?}\nstate_dir = {:?}\nrun_dir = {:?}\nmin_auth_level = \"none\"\n{}\n\
             [[server.share]]\nname = \"docs\"\nbackend = \"memory\"\n",
            files.admin_socket,
            options.listen,
            ncalrpc.join("np"),
            files.state,
            files.run,
            options.server,
        );
        fs::write(&files.config, config).map_err(Error::file(&files.config))?;
        let started = agent::start(dir.path(), Run::new(fsrvpd));
        if started.is_err() {
            let _ = agent::stop(dir.path(), true);
        }
        Ok(Self { pid: started?, dir })
    }

    /// fsrvpd's process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The pipe socket.
    #[must_use]
    pub fn pipe(&self) -> PathBuf {
        self.dir.path().join("ncalrpc/np/fssagentrpc")
    }

    /// fsrvpd's admin socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        agent::AgentFiles::of(self.dir.path()).admin_socket
    }

    /// What fsrvpd has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = agent::AgentFiles::of(self.dir.path()).log;
        fs::read_to_string(log).unwrap_or_default()
    }

    /// Ends fsrvpd and removes everything.
    ///
    /// # Errors
    /// [`Error::LeftOver`].
    pub fn down(self) -> Result<(), Error> {
        agent::stop(self.dir.path(), false)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = agent::stop(self.dir.path(), false);
    }
}
