//! Agent, executor, recovery, backends and share directory together, without sockets or disks.
#![allow(clippy::unwrap_used, clippy::panic)]

use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, FileTime, Request, Response, ShadowCopyId,
    ShadowCopySetId, ShareName, Status,
};
use fsrvp_proto::directory::{BaseShare, ExposedShare, Publication};
use fsrvp_proto::durable::Table;
use fsrvp_proto::job::{Artefact, Failure};
use fsrvp_proto::set::SetStatus;
use fsrvp_proto::{Action, Agent, AgentConfig, Caller, EndReason, Event, Now, ShareDirectory};
use fsrvp_samba::directory::StaticDirectory;
use fsrvp_server::agent_cell::AgentCell;
use fsrvp_server::clock::Clock;
use fsrvp_server::executor::Executor;
use fsrvp_server::recovery::{self, Outcome, RecoveryError, Surroundings};
use fsrvp_server::store::{MemoryStore, StateStore};
use fsrvp_snapshot::memory::{Gate, Injection, Step};
use fsrvp_snapshot::{BackendError, Backends, Memory, SnapshotBackend as _};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

const UNC: &str = r"\\LAB\docs";
/// ATTR_AUTO_RECOVERY with ATTR_PERSISTENT and ATTR_NO_AUTO_RELEASE.
const CONTEXT: u32 = 0x0040_0009;
/// FSRVP_CTX_BACKUP.
const BACKUP: u32 = 0;

struct Server {
    memory: Arc<Memory>,
    directory: Arc<StaticDirectory>,
    store: Arc<MemoryStore>,
    agent: Arc<AgentCell>,
}

impl Server {
    fn new() -> Self {
        let memory = Arc::new(Memory::new());
        memory.add_volume("/srv/docs");
        let directory = Arc::new(StaticDirectory::new("LAB"));
        directory.add_share("docs", "/srv/docs");
        let store = Arc::<MemoryStore>::default();
        let executor = Executor::new(
            Arc::new(Backends::new(vec![memory.clone()])),
            directory.clone(),
            BTreeMap::new(),
            tokio::runtime::Handle::current(),
        );
        let clock = Clock::start();
        let mut agent = Agent::new(
            AgentConfig::new("LAB"),
            Table::load([]).unwrap(),
            Box::new(Uuid::new_v4),
            clock.now(),
        );
        agent.set_own_names(fsrvp_proto::OwnNames::new(["LAB".to_owned()], []));
        let sink = Box::new(|_| {});
        let agent =
            AgentCell::start(agent, Arc::new(executor), store.clone(), clock, sink).unwrap();
        Self {
            memory,
            directory,
            store,
            agent,
        }
    }

    async fn call(&self, request: Request) -> Response {
        self.agent.call(Caller::default(), request).await.unwrap()
    }

    async fn succeed(&self, request: Request) -> Response {
        let response = self.call(request.clone()).await;
        assert_eq!(response.status(), Status::ZERO, "{request:?}");
        response
    }

    async fn start(&self) -> ShadowCopySetId {
        self.start_in(CONTEXT).await
    }

    async fn start_in(&self, context: u32) -> ShadowCopySetId {
        self.succeed(Request::SetContext { context }).await;
        let client_shadow_copy_set_id = ClientShadowCopySetId(Uuid::new_v4());
        match self
            .succeed(Request::StartShadowCopySet {
                client_shadow_copy_set_id,
            })
            .await
        {
            Response::StartShadowCopySet {
                shadow_copy_set_id, ..
            } => shadow_copy_set_id,
            other => panic!("{other:?}"),
        }
    }

    fn add_request(shadow_copy_set_id: ShadowCopySetId) -> Request {
        Request::AddToShadowCopySet {
            client_shadow_copy_id: ClientShadowCopyId(Uuid::new_v4()),
            shadow_copy_set_id,
            share_name: UNC.to_owned(),
        }
    }

    async fn add(&self, set: ShadowCopySetId) -> ShadowCopyId {
        match self.succeed(Self::add_request(set)).await {
            Response::AddToShadowCopySet { shadow_copy_id, .. } => shadow_copy_id,
            other => panic!("{other:?}"),
        }
    }

    /// A set that is recovered.
    async fn recovered(&self) -> ShadowCopySetId {
        self.recovered_in(CONTEXT).await
    }

    async fn recovered_in(&self, context: u32) -> ShadowCopySetId {
        let shadow_copy_set_id = self.start_in(context).await;
        self.add(shadow_copy_set_id).await;
        let timeout_ms = 60_000;
        self.succeed(Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
        .await;
        self.succeed(Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
        .await;
        self.succeed(Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id })
            .await;
        shadow_copy_set_id
    }

    /// Recovers this server's store over other backends, as the next start would.
    fn recover_over(&self, memory: Memory, begun_anew: bool) -> Result<Outcome, RecoveryError> {
        self.recover_in("the same", memory, begun_anew)
    }

    /// As [`Self::recover_over`], in the boot `boot_id`.
    fn recover_in(
        &self,
        boot_id: &str,
        memory: Memory,
        begun_anew: bool,
    ) -> Result<Outcome, RecoveryError> {
        let backends = Backends::new(vec![Arc::new(memory)]);
        let surroundings = Surroundings {
            backends: &backends,
            directory: &*self.directory,
            boot_id,
        };
        let now = Now {
            at: std::time::Duration::ZERO,
            wall: FileTime(1),
        };
        recovery::run(&*self.store, begun_anew, surroundings, now)
    }
}

fn unplugged() -> Memory {
    let memory = Memory::new();
    let error = || BackendError::Io {
        operation: "open",
        path: PathBuf::from("/srv"),
        source: std::io::Error::other("not mounted"),
    };
    memory.inject(Injection::at(Step::Expose).fail(error));
    memory
}

#[tokio::test]
async fn a_copy_on_a_file_system_that_is_not_there_yet_is_not_taken_for_lost() {
    let server = Server::new();
    let set = server.recovered().await;
    let outcome = server.recover_over(unplugged(), false).unwrap();
    assert!(outcome.table.set(set).is_some());
    assert_eq!(outcome.unreachable.len(), 1);
    // The same start with the copies there reaches them.
    let outcome = server
        .recover_over(server.memory.restarted(), false)
        .unwrap();
    assert!(outcome.table.set(set).is_some());
    assert!(outcome.unreachable.is_empty());
    // And a file system that is there, without the copy, tells that it is gone.
    let empty = Memory::new();
    empty.add_volume("/srv/docs");
    let outcome = server.recover_over(empty, false).unwrap();
    assert!(outcome.table.set(set).is_none());
}

/// Rule 17: contexts without ATTR_PERSISTENT do not outlive a reboot, and the operator is told.
#[tokio::test]
async fn a_set_that_does_not_outlive_a_reboot_is_told_of() {
    let server = Server::new();
    let set = server.recovered_in(BACKUP).await;
    let same = server.recover_over(server.memory.restarted(), false);
    assert_eq!(same.unwrap().rebooted, []);
    let outcome = server
        .recover_in("the next", server.memory.restarted(), false)
        .unwrap();
    assert!(outcome.table.set(set).is_none());
    assert_eq!(outcome.rebooted, [set]);
    let now = Now {
        at: std::time::Duration::ZERO,
        wall: FileTime(1),
    };
    let mut agent = Agent::new(
        AgentConfig::new("LAB"),
        outcome.table,
        Box::new(Uuid::new_v4),
        now,
    );
    agent.handle_rebooted(&outcome.rebooted);
    let ended = Action::Report(Event::SetEnded {
        set,
        reason: EndReason::Rebooted,
        idle: None,
    });
    assert!(std::iter::from_fn(|| agent.poll_action()).any(|action| action == ended));
}

/// What was withdrawn of a share when the power failed may be only what the directory lists; the
/// rest goes with the set that the reboot ends, or with the copy that is lost.
#[tokio::test]
async fn what_is_left_of_a_share_goes_with_its_set() {
    let next = |server: &Server| ("the next", server.memory.restarted());
    let lost = |server: &Server| {
        let memory = server.memory.restarted();
        for copy in memory.enumerate().unwrap() {
            memory.delete(&copy).unwrap();
        }
        ("the same", memory)
    };
    for (context, outside) in [
        (BACKUP, next as fn(&Server) -> (&'static str, Memory)),
        (CONTEXT, lost),
    ] {
        let server = Server::new();
        server.recovered_in(context).await;
        // The boot that the set was made in is recorded.
        let same = server.recover_over(server.memory.restarted(), false);
        same.unwrap();
        let exposed = server.directory.exposed().unwrap();
        let [share] = exposed.as_slice() else {
            panic!("{exposed:?}")
        };
        server.directory.withdraw(&share.name).unwrap();
        let watched = Watched {
            inner: server.directory.clone(),
            withdrawn: Mutex::default(),
        };
        let (boot_id, memory) = outside(&server);
        let backends = Backends::new(vec![Arc::new(memory)]);
        let surroundings = Surroundings {
            backends: &backends,
            directory: &watched,
            boot_id,
        };
        let now = Now {
            at: std::time::Duration::ZERO,
            wall: FileTime(1),
        };
        let outcome = recovery::run(&*server.store, false, surroundings, now).unwrap();
        assert_eq!(outcome.table.sets().count(), 0);
        assert_eq!(
            *watched.withdrawn.lock().unwrap(),
            std::slice::from_ref(&share.name)
        );
    }
}

/// A share directory that remembers what was withdrawn.
struct Watched {
    inner: Arc<StaticDirectory>,
    withdrawn: Mutex<Vec<String>>,
}

impl ShareDirectory for Watched {
    fn lookup(&self, share: &ShareName) -> Result<BaseShare, Failure> {
        self.inner.lookup(share)
    }

    fn publish(&self, shares: &[Publication]) -> Result<(), Failure> {
        self.inner.publish(shares)
    }

    fn make_read_only(&self, names: &[String]) -> Result<(), Failure> {
        self.inner.make_read_only(names)
    }

    fn withdraw(&self, name: &str) -> Result<(), Failure> {
        self.withdrawn.lock().unwrap().push(name.to_owned());
        self.inner.withdraw(name)
    }

    fn exposed(&self) -> Result<Vec<ExposedShare>, Failure> {
        self.inner.exposed()
    }

    fn serving_process(&self) -> Option<u32> {
        None
    }

    fn server_names(&self) -> Result<Vec<String>, Failure> {
        self.inner.server_names()
    }
}

/// A cut that was made and not recorded may lie on a volume that the start does not find. It must
/// not be taken for the next Commit's, which would be of an older moment.
#[tokio::test]
async fn a_set_that_was_being_made_on_a_volume_that_is_not_there_is_undone_when_it_is() {
    let server = Server::new();
    let set = server.start().await;
    let copy = server.add(set).await;
    let undo = |outcome: &Outcome| {
        let set = outcome.table.set(set).unwrap();
        assert_eq!(set.status, SetStatus::Added);
        let copies = set.undo.iter().map(|artefact| match artefact {
            Artefact::Copy(copy) => copy.copy,
            Artefact::Share(name) => panic!("{name}"),
        });
        copies.collect::<Vec<_>>()
    };
    let outcome = server.recover_over(unplugged(), false).unwrap();
    assert_eq!(undo(&outcome), [copy]);
    // Nothing is offered or looked for that has never been exposed.
    assert!(outcome.unreachable.is_empty() && outcome.unpublished.is_empty());
    // Where the volume is there and holds no such copy, there is nothing to undo.
    let outcome = server
        .recover_over(server.memory.restarted(), false)
        .unwrap();
    assert_eq!(undo(&outcome), []);
}

#[tokio::test]
async fn a_lost_store_is_not_replaced_by_an_empty_one_while_copies_exist() {
    let server = Server::new();
    server.recovered().await;
    let backends = Backends::new(vec![Arc::new(server.memory.restarted())]);
    let surroundings = Surroundings {
        backends: &backends,
        directory: &*server.directory,
        boot_id: "the same",
    };
    let now = Now {
        at: std::time::Duration::ZERO,
        wall: FileTime(1),
    };
    let lost = MemoryStore::default();
    let refused = recovery::run(&lost, true, surroundings, now)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("1 snapshots and 1 exposed shares"),
        "{refused}"
    );
    assert!(refused.contains("--begin-anew"), "{refused}");
    assert!(lost.load().unwrap().is_empty());
    // The operator's order: what nobody knows any more becomes debts.
    let outcome = recovery::run(&lost, false, surroundings, now).unwrap();
    assert_eq!(outcome.table.debts().count(), 2);
}

#[tokio::test]
async fn a_hung_cut_holds_up_nobody_and_leaves_nothing() {
    let server = Server::new();
    let shadow_copy_set_id = server.start().await;
    server.add(shadow_copy_set_id).await;
    let gate = Gate::new();
    server
        .memory
        .inject(Injection::at(Step::Committed).times(1).hang(&gate));
    let commit = Request::CommitShadowCopySet {
        shadow_copy_set_id,
        timeout_ms: 1,
    };
    assert_eq!(
        server.call(commit).await.status(),
        Status::FSSAGENT_E_TIMEOUT
    );
    gate.wait_for(1);
    server
        .succeed(Request::AbortShadowCopySet { shadow_copy_set_id })
        .await;
    // A new set may start; its volume refuses until the old cut has ended.
    let set = server.start().await;
    let refused = server.call(Server::add_request(set)).await.status();
    assert_eq!(refused, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
    gate.release();
    loop {
        let added = server.call(Server::add_request(set)).await.status();
        if added == Status::ZERO {
            break;
        }
        assert_eq!(added, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
    }
    // What the cut has made in the end is removed without anybody asking for it.
    while !server.agent.view().jobs.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(
        server.memory.copies().is_empty(),
        "{:?}",
        server.memory.copies()
    );
    assert!(server.agent.view().debts.is_empty());
}

#[tokio::test]
async fn a_full_store_fails_the_call_and_undoes_the_act() {
    let server = Server::new();
    let shadow_copy_set_id = server.start().await;
    server.add(shadow_copy_set_id).await;
    server.store.set_failing(true);
    let commit = Request::CommitShadowCopySet {
        shadow_copy_set_id,
        timeout_ms: 60_000,
    };
    let failed = server.call(commit.clone()).await.status();
    assert_eq!(failed, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
    let refused = server
        .call(Request::SetContext { context: CONTEXT })
        .await
        .status();
    assert_eq!(refused, Status::VSS_E_UNEXPECTED_PROVIDER_ERROR);
    server.store.set_failing(false);
    // The set is where it was, and goes on.
    server.succeed(commit).await;
    assert_eq!(server.memory.copies().len(), 1);
    server
        .succeed(Request::AbortShadowCopySet { shadow_copy_set_id })
        .await;
    assert!(server.memory.copies().is_empty());
}

#[tokio::test]
async fn one_durable_commit_for_each_step() {
    let server = Server::new();
    let mut before = server.store.commits();
    let mut made = |server: &Server| {
        let made = server.store.commits() - before;
        before = server.store.commits();
        made
    };
    let shadow_copy_set_id = server.start().await;
    assert_eq!(made(&server), 2, "SetContext and StartShadowCopySet");
    server.add(shadow_copy_set_id).await;
    assert_eq!(made(&server), 1, "AddToShadowCopySet");
    let timeout_ms = 60_000;
    server
        .succeed(Request::PrepareShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
        .await;
    assert_eq!(made(&server), 0, "PrepareShadowCopySet");
    server
        .succeed(Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
        .await;
    assert_eq!(made(&server), 1, "CommitShadowCopySet");
    server
        .succeed(Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
        .await;
    assert_eq!(made(&server), 1, "ExposeShadowCopySet");
    server
        .succeed(Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id })
        .await;
    assert_eq!(made(&server), 1, "RecoveryCompleteShadowCopySet");
}

/// A start that fails later on leaves no thread, no timer and no open store behind.
#[tokio::test]
async fn a_cell_that_nobody_holds_ends() {
    let Server { store, agent, .. } = Server::new();
    // Its timer waits.
    tokio::task::yield_now().await;
    drop(agent);
    // The store's thread may be looking at it.
    let begun = std::time::Instant::now();
    while Arc::strong_count(&store) > 1 {
        assert!(begun.elapsed().as_secs() < 20, "the store is held");
        tokio::task::yield_now().await;
    }
    let tasks = tokio::runtime::Handle::current().metrics();
    while tasks.num_alive_tasks() > 0 {
        assert!(begun.elapsed().as_secs() < 20, "the timer goes on");
        tokio::task::yield_now().await;
    }
}
