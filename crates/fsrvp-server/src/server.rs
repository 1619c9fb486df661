//! One virtual file server: its parts are put together, recovered, and served on its listeners.

use crate::admin::Administered;
use crate::agent_cell::AgentCell;
use crate::authz::Authorizer;
use crate::clock::Clock;
use crate::config::{ListenConfig, MinAuthLevel, ProfileName, ServerConfig};
use crate::connection::Service;
use crate::connections::Connections;
use crate::dispatch::{Dispatcher, Inspect};
use crate::doctor::{KnownCopies, Patient};
use crate::eager::Eagerness;
use crate::environment::{Environment, EnvironmentError};
use crate::events::History;
use crate::executor::{Executor, Settings};
use crate::laboratory;
use crate::listen::{self, Door};
use crate::log_gate::LogGate;
use crate::metrics;
use crate::own_names::ConfiguredNames;
use crate::places::Places;
use crate::recovery::{self, RecoveryError, Surroundings};
use crate::reload::Target;
use crate::store::{RedbStore, StoreError};
use crate::targets::{FileListEditor, StoreWithLists};
use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::{AssociationGroups, Interface, ServerConfig as AssociationConfig};
use dcerpc_proto::security::{AuthLevel, SecurityProvider};
use dcerpc_security::verifier::UsersFileError;
use fsrvp_idl::{INTERFACE_UUID, INTERFACE_VERSION, Opnum, ShareName};
use fsrvp_proto::TableError;
use fsrvp_proto::ages::Ages;
use fsrvp_proto::profile::Profile;
use fsrvp_proto::{Agent, AgentConfig, ShareDirectory};
use fsrvp_samba::SambaFacts;
use fsrvp_samba::pipe::{PipeConfig, PipeCounters, PipeError, PipeListener};
use fsrvp_snapshot::{Backends, Choice};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Logons that are verified at a time.
const LOGONS: usize = 8;
/// How often the names and addresses of this host are looked at again.
const NAMES_INTERVAL: Duration = Duration::from_secs(60);
/// How often kept snapshots are looked at that may be old enough to go.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);
/// Largest fragment on the pipe: what Samba and Windows offer there.
const PIPE_MAX_FRAG: u16 = 4_280;
/// Largest fragment over TCP.
const TCP_MAX_FRAG: u16 = 5_840;

/// What holds for all servers of one run of the daemon.
#[derive(Debug, Clone)]
pub struct Run {
    /// Time.
    pub clock: Clock,
    /// Id of the running boot.
    pub boot_id: String,
    /// Begin with an empty table although copies exist, and remove them.
    pub begin_anew: bool,
    /// For tests: sees each request that decodes.
    pub inspect: Option<Inspect>,
    /// Where events are remembered.
    pub history: Arc<History>,
    /// The pipes that are served.
    pub pipes: Pipes,
}

/// The directories of the pipes that this process serves, each with its server. Two servers on one
/// pipe would take its socket from each other.
#[derive(Debug, Clone, Default)]
pub struct Pipes(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl Pipes {
    fn claim(&self, directory: &Path, server: &str) -> Result<(), StartError> {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pipes.entry(directory.to_owned()) {
            Entry::Occupied(taken) => Err(StartError::PipeTaken {
                directory: directory.to_owned(),
                server: taken.get().clone(),
            }),
            Entry::Vacant(free) => {
                free.insert(server.to_owned());
                Ok(())
            }
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Samba's configuration, or the static share file, cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records in the store cannot be used; they are left as they are.
    #[error("the store {path}: {source}")]
    Table {
        /// The store's file.
        path: PathBuf,
        /// Why.
        source: TableError,
    },
    /// Recovery was not possible.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The pipe's socket cannot be made.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// Another server of this process has the pipe.
    #[error(
        "the pipe in {directory} is that of server {server}: give one of the two another ncalrpc dir \
         in its smb_conf, or another pipe_directory"
    )]
    PipeTaken {
        /// The directory.
        directory: PathBuf,
        /// The other server.
        server: String,
    },
    /// The laboratory's TCP listener cannot be made.
    #[error("listen.tcp {address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The laboratory's users file cannot be used.
    #[error(transparent)]
    Users(#[from] UsersFileError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A blocking part of the start was lost.
    #[error("the start was interrupted")]
    Interrupted,
}

/// A server that serves.
pub struct RunningServer {
    config: ServerConfig,
    name: String,
    agent: Arc<AgentCell>,
    executor: Arc<Executor>,
    service: Arc<Service>,
    directory: Arc<dyn ShareDirectory>,
    backends: Arc<Backends>,
    connections: Arc<Connections>,
    counters: Arc<PipeCounters>,
    targets: FileListEditor,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningServer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl RunningServer {
    /// Puts a server together and begins to serve.
    ///
    /// # Errors
    /// Something that the server cannot do without is missing; nothing is served then.
    pub async fn start(
        config: &ServerConfig,
        listeners: &ListenConfig,
        index: usize,
        run: &Run,
    ) -> Result<Self, StartError> {
        let clock = run.clock;
        let blocking = {
            let (config, run) = (config.clone(), run.clone());
            move || assemble(&config, &run)
        };
        let parts = tokio::task::spawn_blocking(blocking)
            .await
            .map_err(|_| StartError::Interrupted)??;
        let Parts {
            environment,
            store,
            recovered,
        } = parts;
        let name = environment.name.clone();
        run.pipes.claim(&environment.pipe_directory, &name)?;
        if config.min_auth_level == MinAuthLevel::None {
            tracing::warn!(
                server = name,
                "min_auth_level = \"none\": calls are neither signed nor encrypted; for laboratories only"
            );
        }
        let names = ConfiguredNames {
            names: environment.names.clone(),
        };
        let mut agent = Agent::new(
            agent_config(config, &name),
            recovered.table,
            Box::new(Uuid::new_v4),
            clock.now(),
        );
        agent.set_own_names(names.collect());
        agent.handle_unreachable(clock.now(), &recovered.unreachable);
        agent.handle_unpublished(clock.now(), &recovered.unpublished);
        agent.handle_rebooted(&recovered.rebooted);
        let executor = Arc::new(Executor::new(
            Arc::clone(&environment.backends),
            Arc::clone(&environment.directory),
            BTreeMap::new(),
            tokio::runtime::Handle::current(),
        ));
        executor.configure(settings(config));
        let sink = {
            let (name, history) = (name.clone(), Arc::clone(&run.history));
            Box::new(move |event| crate::events::report(&name, &event, &history))
        };
        let store = Arc::new(store);
        let targets = FileListEditor::of(&store);
        let agent = AgentCell::start(agent, Arc::clone(&executor), store, clock, sink)
            .map_err(StartError::Thread)?;
        metrics::begin(&name);
        let refusals = Arc::<LogGate>::default();
        let service = Arc::new(Service {
            dispatcher: Dispatcher::new(
                Arc::clone(&agent),
                Authorizer::new(&config.admin_sids, config.backup_privilege),
                name.clone(),
                Arc::clone(&refusals),
                clock,
                run.inspect,
            ),
            clock,
            logons: Arc::new(Semaphore::new(LOGONS)),
            logon_limit: config.security.logon_limit,
            refusals,
            closures: LogGate::default(),
            eagerness: Eagerness::default(),
        });
        let provider = {
            let (config, name, samba) = (config.clone(), name.clone(), environment.samba.clone());
            move || crate::security::provider(&config, &name, &samba)
        };
        let provider: Arc<dyn SecurityProvider> = Arc::new(
            tokio::task::spawn_blocking(provider)
                .await
                .map_err(|_| StartError::Interrupted)??,
        );
        let groups = AssociationGroups::new(Uuid::new_v4().as_u64_pair().0);
        let min_level = min_auth_level(config.min_auth_level);
        let connections = Arc::<Connections>::default();
        let door = |secondary_address: String, max_frag, others: &[Interface]| {
            let association = AssociationConfig {
                interfaces: [&[fsrvp_interface()], others].concat(),
                secondary_address,
                max_frag,
                min_auth_level: min_level,
                header_signing: config.security.header_signing,
                groups: groups.clone(),
            };
            let over_encryption = AssociationConfig {
                min_auth_level: match config.security.smb_encryption_is_privacy {
                    true => min_level.min(AuthLevel::Integrity),
                    false => min_level,
                },
                ..association.clone()
            };
            Door {
                server: name.clone(),
                service: Arc::clone(&service),
                association: Arc::new(association),
                over_encryption: Arc::new(over_encryption),
                provider: Arc::clone(&provider),
                places: Places::new(config.max_connections, config.max_connections_per_account),
                turned_away: Arc::new(Semaphore::new(listen::TURNED_AWAY)),
                connections: Arc::clone(&connections),
            }
        };
        let mut tasks = vec![tokio::spawn(refresh_names(Arc::clone(&agent), names))];
        tasks.push(tokio::spawn(prune_kept(Arc::clone(&executor), clock)));
        if let Some(tcp) = &listeners.tcp {
            let is_ours = match &tcp.server {
                Some(wanted) => wanted.eq_ignore_ascii_case(&name),
                None => index == 0,
            };
            if is_ours {
                let failed = |source| StartError::Tcp {
                    address: tcp.address,
                    source,
                };
                let listener = TcpListener::bind(tcp.address).await.map_err(failed)?;
                let port = listener.local_addr().map_err(failed)?.port();
                tracing::warn!(server = name, port, "the laboratory's TCP listener is open");
                let mut others = Vec::new();
                if tcp.laboratory_interfaces {
                    tracing::warn!(
                        server = name,
                        "interfaces of others are answered over TCP: for laboratories only"
                    );
                    others.extend(laboratory::interfaces());
                }
                let door = door(port.to_string(), TCP_MAX_FRAG, &others);
                tasks.push(tokio::spawn(listen::tcp(listener, door)));
            }
        }
        let pipe = PipeListener::bind(PipeConfig::new(environment.pipe_directory.clone()))?;
        let counters = pipe.counters();
        let door = door(r"\pipe\FssagentRpc".to_owned(), PIPE_MAX_FRAG, &[]);
        tasks.push(tokio::spawn(listen::pipe(pipe, door)));
        Ok(Self {
            config: config.clone(),
            name,
            agent,
            executor,
            service,
            directory: environment.directory,
            backends: environment.backends,
            connections,
            counters,
            targets,
            tasks,
        })
    }

    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the admin socket shows and directs of it.
    #[must_use]
    pub fn administered(&self) -> Administered {
        Administered {
            agent: Arc::clone(&self.agent),
            pipe: Arc::clone(&self.counters),
            connections: Arc::clone(&self.connections),
            directory: Arc::clone(&self.directory),
            backends: Arc::clone(&self.backends),
            executor: Arc::clone(&self.executor),
            targets: self.targets.clone(),
        }
    }

    /// What the doctor looks at.
    #[must_use]
    pub fn patient(&self) -> Option<Patient> {
        // An embedded laboratory has no surroundings that could be wrong.
        if self.config.static_shares.is_some() {
            return None;
        }
        Some(Patient {
            config: self.config.clone(),
            name: self.name.clone(),
            samba: SambaFacts::read(&self.config.smb_conf).ok(),
            directory: Arc::clone(&self.directory),
            backends: Arc::clone(&self.backends),
            copies: Some(KnownCopies::from(&self.agent.view())),
            daemon: Some(std::process::id()),
            root: PathBuf::from("/"),
        })
    }

    /// What of it can change while it serves.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            configured: self.config.name.clone(),
            name: self.name.clone(),
            agent: Arc::clone(&self.agent),
            executor: Arc::clone(&self.executor),
            service: Arc::clone(&self.service),
        }
    }

    /// Takes no more clients, answers those who wait, and closes the store.
    pub async fn shut_down(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.agent.shut_down();
        if let Some(store) = self.agent.close() {
            let _ = tokio::task::spawn_blocking(move || store.join()).await;
        }
    }

    /// Waits until the backends do nothing in the background any more, `limit` at most; whether it is
    /// so. Blocks.
    #[must_use]
    pub fn finish(&self, limit: Duration) -> bool {
        self.backends.finish(limit)
    }
}

struct Parts {
    environment: Environment,
    store: StoreWithLists<RedbStore>,
    recovered: recovery::Outcome,
}

/// The blocking half of the start.
fn assemble(config: &ServerConfig, run: &Run) -> Result<Parts, StartError> {
    let store = StoreWithLists::open(RedbStore::open(&config.state_dir)?)?;
    let lists = Arc::clone(store.lists());
    let environment = Environment::of(config, store.inner().previous_process(), lists)?;
    let surroundings = Surroundings {
        backends: &environment.backends,
        directory: &*environment.directory,
        boot_id: &run.boot_id,
    };
    let begun_anew = store.inner().is_new() && !run.begin_anew;
    match recovery::run(&store, begun_anew, surroundings, run.clock.now()) {
        Ok(recovered) => {
            store.inner().begin_writing()?;
            Ok(Parts {
                recovered,
                environment,
                store,
            })
        }
        Err(lost @ RecoveryError::StoreLost { .. }) => {
            store.into_inner().forget();
            Err(lost.into())
        }
        Err(RecoveryError::Table(source)) => Err(StartError::Table {
            path: store.inner().path().to_owned(),
            source,
        }),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn agent_config(config: &ServerConfig, name: &str) -> AgentConfig {
    AgentConfig {
        profile: match config.profile {
            ProfileName::Spec => Profile::Spec,
            ProfileName::Ws2012 => Profile::Ws2012,
        },
        allow_shared_volume: config.allow_shared_volume,
        short_timer: config.short_timer,
        long_timer: config.long_timer,
        max_wait: config.max_wait,
        commit_limit: (!config.commit_limit.is_zero()).then_some(config.commit_limit),
        retention: config.retention.rule(),
        keep: settings(config).keep.into_keys().collect(),
        ..AgentConfig::new(name)
    }
}

/// What the executor has to know of single shares.
pub(crate) fn settings(config: &ServerConfig) -> Settings {
    let mut settings = Settings::default();
    for share in &config.shares {
        let name = ShareName::new(&share.name);
        let choice = Choice::from(share.backend.as_str());
        settings.choices.insert(name.clone(), choice);
        if let Some(keep) = &share.keep {
            settings.keep.insert(name, keep.policy());
        }
    }
    settings
}

/// Lets kept snapshots go when they are old enough, whether new ones come or not.
async fn prune_kept(executor: Arc<Executor>, clock: Clock) {
    let mut pause = tokio::time::interval(PRUNE_INTERVAL);
    let mut ages = Ages::new(clock.now());
    loop {
        tokio::select! {
            _ = pause.tick() => {}
            () = executor.kept_one_more() => {}
        }
        let executor = Arc::clone(&executor);
        let now = clock.now();
        ages.look(now);
        let believed = ages.doubt(now).is_zero();
        let _ = tokio::task::spawn_blocking(move || executor.prune_kept(now, believed)).await;
    }
}

/// FileServerVssAgent, as associations offer it.
pub(crate) fn fsrvp_interface() -> Interface {
    let (major, minor) = INTERFACE_VERSION;
    Interface {
        id: SyntaxId::new(INTERFACE_UUID, major, minor),
        opnum_count: u16::try_from(Opnum::ALL.len()).unwrap_or(u16::MAX),
        min_auth_level: None,
    }
}

const fn min_auth_level(level: MinAuthLevel) -> AuthLevel {
    match level {
        MinAuthLevel::None => AuthLevel::None,
        MinAuthLevel::Integrity => AuthLevel::Integrity,
        MinAuthLevel::Privacy => AuthLevel::Privacy,
    }
}

/// Interfaces come and go while the daemon runs.
async fn refresh_names(agent: Arc<AgentCell>, names: ConfiguredNames) {
    let mut pause = tokio::time::interval(NAMES_INTERVAL);
    loop {
        pause.tick().await;
        let names = names.clone();
        if let Ok(own) = tokio::task::spawn_blocking(move || names.collect()).await {
            agent.set_own_names(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files of Samba that say nothing of `ncalrpc dir` lead to one pipe.
    #[test]
    fn a_pipe_has_one_server() {
        let pipes = Pipes::default();
        pipes.claim(Path::new("/run/np"), "A").unwrap();
        pipes.claim(Path::new("/run/b/np"), "B").unwrap();
        let refused = pipes.claim(Path::new("/run/np/"), "C").unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.contains("/run/np/") && refused.contains("server A"),
            "{refused}"
        );
    }
}
