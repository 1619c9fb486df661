//! The daemon: configuration, logs, servers, admin socket, signals, shutdown.

use crate::admin::{self, Admin, Parts};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, EventLog, LogConfig, LogFormat};
use crate::dispatch::Inspect;
use crate::doctor::Severity;
use crate::events::{History, JOURNAL, Receiver, SYSLOG, SystemLog};
use crate::metrics;
use crate::reload::{LogHandle, Reload};
use crate::server::{Pipes, Run, RunningServer, StartError};
use rustix::fs::fstat;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

/// Longest time that the end of calls and jobs is waited for at shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// When the surroundings are looked at, after the start: not while clients come back.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Only check it.
    pub check_only: bool,
    /// Boot id to use instead of the kernel's.
    pub boot_id: Option<String>,
    /// Begin with an empty table although copies exist.
    pub begin_anew: bool,
    /// How long the removal of deleted copies is waited for at the end.
    pub finish_within: Duration,
    /// For tests: sees each request that decodes.
    pub inspect: Option<Inspect>,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `[log] level` is not understood.
    #[error("{path}: log.level: {source}")]
    LogLevel {
        /// The configuration file.
        path: PathBuf,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A server cannot start.
    #[error("server {server}: {source}")]
    Server {
        /// Its name, or its place in the file.
        server: String,
        /// Why.
        source: Box<StartError>,
    },
    /// The admin socket cannot be made.
    #[error("admin socket {path}: {source}")]
    AdminSocket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The runtime, signals or figures cannot be set up.
    #[error("{what}: {problem}")]
    Setup {
        /// What.
        what: &'static str,
        /// Why.
        problem: String,
    },
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// It cannot start; the text says what is wrong, where, and what to do.
pub fn run(options: &Options) -> Result<(), DaemonError> {
    let config = Config::load(&options.config)?;
    if options.check_only {
        println!("{}: no errors", options.config.display());
        return Ok(());
    }
    let system_log = open_system_log(&config.log)?.map(|log| {
        // Where our lines go to the journal, too, it would have every event twice.
        match log.receiver() {
            Receiver::Journal
                if is_journal(std::io::stderr(), std::env::var("JOURNAL_STREAM").ok()) =>
            {
                log.alone()
            }
            Receiver::Journal | Receiver::Syslog => log,
        }
    });
    let log = start_logs(&config.log, &options.config, system_log.as_ref())?;
    let boot_id = match &options.boot_id {
        Some(boot_id) => boot_id.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .map_err(|error| setup("the boot id", &error))?,
    };
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("fsrvpd")
        .build()
        .map_err(|error| setup("the runtime", &error))?;
    let run = Run {
        clock: Clock::start(),
        boot_id,
        begin_anew: options.begin_anew,
        inspect: options.inspect,
        history: Arc::new(History::telling(system_log)),
        pipes: Pipes::default(),
    };
    let result = runtime.block_on(serve(&config, options, log, run));
    // Threads that hang in a system call are left behind.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

/// Every open pipe takes a descriptor, and services begin with 1,024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

async fn serve(
    config: &Config,
    options: &Options,
    log: LogHandle,
    run: Run,
) -> Result<(), DaemonError> {
    let started = Instant::now();
    let prometheus = metrics::install().map_err(|error| setup("the figures", &error))?;
    let mut ending = Ending::new().map_err(|error| setup("signals", &error))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| setup("signals", &error))?;
    let mut servers = Vec::new();
    let begun = tokio::select! {
        biased;
        // A volume that hangs may hold a start up for ever.
        signal = ending.signal() => Ok(Begun::Ended(signal)),
        begun = begin(config, &run, &mut servers) => begun,
    };
    let (listener, figures) = match begun {
        Ok(Begun::Listening { admin, figures }) => (admin, figures),
        Ok(Begun::Ended(signal)) => {
            end(signal, Arc::new(servers), options.finish_within).await;
            return Ok(());
        }
        Err(error) => {
            end(
                "the start has failed",
                Arc::new(servers),
                options.finish_within,
            )
            .await;
            return Err(error);
        }
    };
    let administered = servers
        .iter()
        .map(|server| (server.name().to_owned(), server.administered()))
        .collect();
    let targets = servers.iter().map(RunningServer::target).collect();
    let reload = Reload::new(options.config.clone(), config.clone(), Some(log), targets);
    let reload = Arc::new(reload);
    let admin = Admin::new(Parts {
        servers: administered,
        prometheus,
        history: Arc::clone(&run.history),
        reload: Arc::clone(&reload),
        started,
    });
    if let Some(figures) = figures {
        tokio::spawn(admin.clone().serve_metrics(figures));
    }
    let admin = tokio::spawn(admin.serve(listener, config.admin.measure_interval));
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let servers = Arc::new(servers);
    let doctor = tokio::spawn(look_at_surroundings(Arc::clone(&servers)));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
    let signal = loop {
        tokio::select! {
            signal = ending.signal() => break signal,
            _ = hangup.recv() => {
                let reload = Arc::clone(&reload);
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = reload.run() {
                        tracing::error!(%error, "the configuration is refused; the old one stays");
                    }
                });
            }
        }
    };
    admin.abort();
    let _ = std::fs::remove_file(&config.admin.socket);
    doctor.abort();
    end(signal, servers, options.finish_within).await;
    Ok(())
}

/// How a start went.
enum Begun {
    /// All servers run.
    Listening {
        /// The admin socket.
        admin: UnixListener,
        /// Where the figures can be read over TCP.
        figures: Option<TcpListener>,
    },
    /// A signal came first.
    Ended(&'static str),
}

/// Starts the servers and opens what is listened on. Those that run when it fails, or is dropped, are
/// in `servers`: their clients and jobs are to be ended in good order.
async fn begin(
    config: &Config,
    run: &Run,
    servers: &mut Vec<RunningServer>,
) -> Result<Begun, DaemonError> {
    for (index, server) in config.servers.iter().enumerate() {
        let started = RunningServer::start(server, &config.listen, index, run).await;
        servers.push(started.map_err(|source| {
            DaemonError::Server {
                server: server
                    .name
                    .clone()
                    .unwrap_or_else(|| format!("[[server]] {index}")),
                source: Box::new(source),
            }
        })?);
    }
    let mut figures = None;
    if let Some(address) = config.admin.metrics_address {
        let failed = |error| setup("admin.metrics_address", &error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        tracing::info!(port, "the figures can be read over TCP");
        figures = Some(listener);
    }
    let admin = admin::bind(&config.admin).map_err(|source| DaemonError::AdminSocket {
        path: config.admin.socket.clone(),
        source,
    })?;
    Ok(Begun::Listening { admin, figures })
}

/// The signals that end the daemon.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them and gives its name.
    async fn signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Ends the servers that run.
async fn end(why: &'static str, servers: Arc<Vec<RunningServer>>, finish_within: Duration) {
    tracing::info!(why, "shutting down");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let ended = async {
        for server in servers.iter() {
            server.shut_down().await;
        }
    };
    if tokio::time::timeout(SHUTDOWN_LIMIT, ended).await.is_err() {
        tracing::warn!("something did not end in time and is left to the next start");
    }
    let finish = move || servers.iter().all(|server| server.finish(finish_within));
    if let Ok(false) = tokio::task::spawn_blocking(finish).await {
        tracing::info!("files of deleted copies are left and removed after the next start");
    }
    tracing::info!("ended");
}

/// Says once, when the start is over, what is wrong with the surroundings.
async fn look_at_surroundings(servers: Arc<Vec<RunningServer>>) {
    tokio::time::sleep(FIRST_LOOK).await;
    let look = move || {
        for finding in servers
            .iter()
            .filter_map(RunningServer::patient)
            .flat_map(|patient| patient.examine())
        {
            if finding.severity >= Severity::Warning {
                tracing::warn!(
                    server = finding.server,
                    check = finding.check,
                    problem = finding.message,
                    mend = finding.mend,
                    "something is wrong with the set-up"
                );
            }
        }
    };
    let _ = tokio::task::spawn_blocking(look).await;
}

fn open_system_log(log: &LogConfig) -> Result<Option<SystemLog>, DaemonError> {
    let own = log.events_socket.as_deref();
    let there = |usual: &'static str| Path::new(usual).exists().then_some(Path::new(usual));
    let journal = |path| (Receiver::Journal, path);
    let syslog = |path| (Receiver::Syslog, path);
    let chosen = match log.events {
        EventLog::Off => None,
        EventLog::Journal => Some(journal(own.unwrap_or(Path::new(JOURNAL)))),
        EventLog::Syslog => Some(syslog(own.unwrap_or(Path::new(SYSLOG)))),
        EventLog::Auto => there(JOURNAL)
            .map(journal)
            .or_else(|| there(SYSLOG).map(syslog)),
    };
    let open = |(receiver, path)| SystemLog::new(receiver, path);
    let opened = chosen.map(open).transpose();
    opened.map_err(|error| setup("log.events", &error))
}

fn start_logs(
    log: &LogConfig,
    path: &Path,
    system_log: Option<&SystemLog>,
) -> Result<LogHandle, DaemonError> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| log.level.clone());
    let filter = EnvFilter::try_new(directives).map_err(|source| DaemonError::LogLevel {
        path: path.to_owned(),
        source,
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr);
    let leaves_events = system_log.is_some_and(SystemLog::is_alone);
    let once = FilterFn::new(move |line: &tracing::Metadata<'_>| {
        !leaves_events || line.target() != crate::events::TARGET
    });
    let registry = tracing_subscriber::registry().with(filter);
    let set = match log.format {
        LogFormat::Text => registry.with(lines.with_filter(once)).try_init(),
        LogFormat::Json => registry.with(lines.json().with_filter(once)).try_init(),
    };
    set.map_err(|error| setup("the log", &error))?;
    Ok(handle)
}

/// Whether what is written here goes to systemd's journal. \[systemd.exec(5)\] JOURNAL_STREAM is its
/// device and inode; children inherit the variable, and may write elsewhere.
fn is_journal(stream: impl AsFd, journal: Option<String>) -> bool {
    let own = fstat(stream).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    journal.is_some() && own.ok() == journal
}

fn setup(what: &'static str, error: &(impl std::fmt::Display + ?Sized)) -> DaemonError {
    DaemonError::Setup {
        what,
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    /// The variable is inherited, and the stream may be another.
    #[test]
    fn the_journal_is_known_by_its_device_and_inode() {
        let (journal, file) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let found = journal.metadata().unwrap();
        let variable = Some(format!("{}:{}", found.dev(), found.ino()));
        assert!(is_journal(&journal, variable.clone()));
        assert!(!is_journal(&file, variable));
        assert!(!is_journal(&journal, None));
        assert!(!is_journal(&journal, Some(String::new())));
    }
}
