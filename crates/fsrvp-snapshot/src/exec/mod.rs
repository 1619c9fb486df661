//! A backend that is a program of the site: a script in front of an array, or of what else can make
//! snapshots.
//!
//! The program is run once for every verb, with a JSON object on its standard input and one on its
//! standard output: [`protocol`]. What can be checked without knowing the array is checked here: the
//! shares stand where they stood when they were added, nothing is mounted below them, a copy's root
//! leads where it should, a seal holds when it is tried, a failed commit is undone. Previous
//! versions are kept here, too.
//!
//! A copy shows at `<run_dir>/exec/<name>/<id>`, a symbolic link to what the program gave as root.

pub mod protocol;

use crate::backend::{BackendError, Deadline, Probe, ProviderFacts, SnapshotBackend};
use crate::error::{failed, unsupported};
use crate::folder::{Folder, is_plain, open_inner};
use crate::guard::Guards;
use crate::leftovers::Leftovers;
use crate::location::{Identity, Location, mount_table, open_directory};
use crate::names::{self, copy_id};
use crate::previous::{self, Links};
use crate::program::Program;
use crate::{attempt, lock};
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::{BackendName, CopyRef, CopySource, Exposure, VolumeId};
use fsrvp_sys::crash;
use protocol::{About, Copy, Done, Enumerated, Exposed, Probed, Request, Verb};
use rustix::fs::{AtFlags, readlinkat, symlinkat, unlinkat};
use rustix::io::Errno;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use uuid::Uuid;

/// Every point of this backend at which [`fsrvp_sys::crash`] can end the process.
pub const CRASH_POINTS: &[&str] = &[
    "exec.prepare.after_answer",
    "exec.commit.before_question",
    "exec.commit.after_answer",
    "exec.expose.after_answer",
    "exec.expose.after_show",
    "exec.seal.after_answer",
    "exec.delete.after_answer",
    "exec.delete.after_unlink",
    "exec.delete.after_hide",
];

/// The longest that each verb may take. A commit also ends with the set's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecLimits {
    /// `probe`
    pub probe: Duration,
    /// `prepare`
    pub prepare: Duration,
    /// `commit`
    pub commit: Duration,
    /// `expose`
    pub expose: Duration,
    /// `seal`
    pub seal: Duration,
    /// `verify`
    pub verify: Duration,
    /// `delete`
    pub delete: Duration,
    /// `enumerate`
    pub enumerate: Duration,
}

impl Default for ExecLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            probe: seconds(20),
            prepare: seconds(300),
            commit: seconds(60),
            expose: seconds(60),
            seal: seconds(120),
            verify: seconds(30),
            delete: seconds(300),
            enumerate: seconds(60),
        }
    }
}

impl ExecLimits {
    const fn of(&self, verb: Verb) -> Duration {
        match verb {
            Verb::Probe => self.probe,
            Verb::Prepare => self.prepare,
            Verb::Commit => self.commit,
            Verb::Expose => self.expose,
            Verb::Seal => self.seal,
            Verb::Verify => self.verify,
            Verb::Delete => self.delete,
            Verb::Enumerate => self.enumerate,
        }
    }
}

/// What a backend that is a program needs to know.
#[derive(Debug, Clone)]
pub struct ExecConfig {
    /// The backend's name.
    pub name: String,
    /// The program and its first arguments; the verb follows.
    pub command: Vec<String>,
    /// Time limits.
    pub limits: ExecLimits,
    /// Name of the virtual file server.
    pub server: String,
    /// As for the other backends; this one uses `exec/<name>` in it.
    pub run_dir: PathBuf,
}

/// The backend. The program runs with the rights of this process.
#[derive(Debug)]
pub struct Exec {
    config: ExecConfig,
    program: Program,
    base: PathBuf,
    links: Mutex<Links>,
    guards: Guards,
    /// Copies of a failed commit that could not be undone: never to be taken for a later commit's.
    leftovers: Leftovers,
    /// Where copies were exposed, to tell whether a path leads into them.
    exposed: Mutex<HashMap<ShadowCopyId, HashSet<PathBuf>>>,
}

impl Exec {
    /// A backend; the program is not asked anything yet.
    #[must_use]
    pub fn new(config: ExecConfig) -> Self {
        Self {
            program: Program::new(&config.command),
            base: config
                .run_dir
                .join("exec")
                .join(names::component(&config.name)),
            config,
            links: Mutex::default(),
            guards: Guards::default(),
            leftovers: Leftovers::default(),
            exposed: Mutex::default(),
        }
    }

    /// Asks the program; `path` is what the call is about, for messages.
    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        verb: Verb,
        about: About<'_>,
        path: &Path,
        deadline: &Deadline,
    ) -> Result<T, BackendError> {
        let limit = self.config.limits.of(verb);
        let left = deadline
            .at
            .map(|at| at.saturating_duration_since(std::time::Instant::now()));
        let limit_ms = left.map_or(limit, |left| left.min(limit)).as_millis();
        let request = Request {
            version: protocol::VERSION,
            verb,
            server: &self.config.server,
            run_dir: utf8(&self.base)?,
            limit_ms: limit_ms.try_into().unwrap_or(u64::MAX),
            about,
        };
        let program = format!("{} {}", self.config.name, verb.word());
        let mut input = serde_json::to_vec(&request).map_err(|error| BackendError::Tool {
            program: program.clone(),
            detail: error.to_string(),
        })?;
        input.push(b'\n');
        let started = std::time::Instant::now();
        let run = self.program.clone().arg(verb.word());
        let ended = run
            .run(&input, limit, deadline)
            .map_err(|failed| failed.into_error(&program))?;
        tracing::debug!(
            backend = self.config.name,
            verb = verb.word(),
            milliseconds = started.elapsed().as_millis(),
            status = %ended.status,
            said = %String::from_utf8_lossy(&ended.stderr),
            "asked the program"
        );
        protocol::understand(&ended, &program, path.to_owned())
    }

    fn ask_about(&self, verb: Verb, copy: &CopyRef) -> Result<(), BackendError> {
        self.ask_for(verb, copy).map(|Done {}| ())
    }

    fn ask_for<T: for<'de> Deserialize<'de>>(
        &self,
        verb: Verb,
        copy: &CopyRef,
    ) -> Result<T, BackendError> {
        let about = About::Copy {
            copy: Copy {
                id: copy.copy.to_string(),
                volume: self.volume(&copy.volume)?,
            },
        };
        self.ask(verb, about, &self.place(copy.copy), &Deadline::default())
    }

    /// Where a copy shows.
    fn place(&self, copy: ShadowCopyId) -> PathBuf {
        self.base.join(copy.to_string())
    }

    fn volume_id(&self, volume: &str) -> VolumeId {
        VolumeId(format!("exec:{}:{volume}", self.config.name))
    }

    /// The program's own name of a volume.
    fn volume<'v>(&self, volume: &'v VolumeId) -> Result<&'v str, BackendError> {
        let rest = volume.0.strip_prefix("exec:");
        rest.and_then(|rest| rest.strip_prefix(&*self.config.name)?.strip_prefix(':'))
            .ok_or_else(|| {
                unsupported(
                    Path::new(&volume.0),
                    format!(
                        "is not the name of a volume of backend {}",
                        self.config.name
                    ),
                )
            })
    }

    fn not_an_answer(&self, verb: Verb, detail: String) -> BackendError {
        BackendError::Tool {
            program: format!("{} {}", self.config.name, verb.word()),
            detail,
        }
    }

    /// Identifies a share's directory with the program's help.
    fn locate(&self, directory: &Path) -> Result<(Location, Probe), BackendError> {
        let mounts = mount_table()?;
        let location = Location::find(directory, &mounts)?;
        if std::fs::canonicalize(&self.base).is_ok_and(|base| location.real.starts_with(base)) {
            return Err(unsupported(directory, "is in a shadow copy"));
        }
        location.refuse_mounts_below(&mounts, &self.config.run_dir)?;
        let about = About::Directory {
            directory: utf8(&location.real)?,
        };
        let deadline = Deadline::default();
        let Probed { volume, inner } = self.ask(Verb::Probe, about, directory, &deadline)?;
        let wrong = |detail: String| self.not_an_answer(Verb::Probe, detail);
        let volume = self.volume_id(protocol::volume_name(&volume).map_err(wrong)?);
        if !is_plain(&inner) {
            return Err(wrong(format!(
                "{} is no path below a volume",
                inner.display()
            )));
        }
        let probe = Probe {
            volume,
            inner,
            compatibility: 0,
        };
        Ok((location, probe))
    }

    fn commit_all(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        for source in copies {
            deadline.check()?;
            self.guards.check(source, |path| self.locate(path))?;
            self.leftovers.retry(source, |source| self.undo(source))?;
        }
        deadline.check()?;
        crash::point("exec.commit.before_question");
        let about = About::Cut {
            copies: self.sources(copies)?,
            writable,
        };
        let first = copies.first().and_then(|source| source.shares.first());
        let path = first.map_or(Path::new(""), |share| &share.path);
        match self.ask(Verb::Commit, about, path, deadline) {
            Ok(Done {}) => {
                crash::point("exec.commit.after_answer");
                deadline.check()
            }
            // What the program was killed for tells more than that it was.
            Err(indeterminate @ BackendError::Indeterminate { .. }) => {
                deadline.check().and(Err(indeterminate))
            }
            Err(error) => Err(error),
        }
    }

    fn undo_all(&self, copies: &[CopySource]) {
        for source in copies {
            self.guards.forget(source.copy);
        }
        self.leftovers.undo_all(copies, |source| self.undo(source));
    }

    fn undo(&self, source: &CopySource) -> Result<(), BackendError> {
        self.ask_about(Verb::Delete, &source.reference())?;
        Ok(())
    }

    fn sources<'s>(
        &self,
        copies: &'s [CopySource],
    ) -> Result<Vec<protocol::Source<'s>>, BackendError> {
        let source = |source: &'s CopySource| {
            let share = |share: &'s fsrvp_proto::job::SourceShare| {
                Ok(protocol::Share {
                    share: share.share.as_str(),
                    directory: utf8(&share.path)?,
                    inner: utf8(&share.inner)?,
                })
            };
            Ok(protocol::Source {
                id: source.copy.to_string(),
                volume: self.volume(&source.volume)?,
                shares: source.shares.iter().map(share).collect::<Result<_, _>>()?,
            })
        };
        copies.iter().map(source).collect()
    }
}

impl SnapshotBackend for Exec {
    fn name(&self) -> BackendName {
        BackendName(self.config.name.clone())
    }

    fn facts(&self) -> ProviderFacts {
        // The name's own id, as of RFC 9562 section 5.5.
        const NAMESPACE: Uuid = uuid::uuid!("2f6a4a5e-6a0e-4a53-9b5c-657865632121");
        ProviderFacts {
            name: format!("{} (program)", self.config.name).into(),
            kind: "Hardware",
            id: Uuid::new_v5(&NAMESPACE, self.config.name.as_bytes()),
            version: format!("protocol {}", protocol::VERSION).into(),
        }
    }

    fn probe(&self, directory: &Path) -> Result<Probe, BackendError> {
        self.locate(directory).map(|(_, probe)| probe)
    }

    fn prepare(&self, copies: &[CopySource], deadline: &Deadline) -> Result<(), BackendError> {
        for source in copies {
            deadline.check()?;
            self.guards.set(source, |path| self.locate(path))?;
        }
        let about = About::Copies {
            copies: self.sources(copies)?,
        };
        let first = copies.first().and_then(|source| source.shares.first());
        let path = first.map_or(Path::new(""), |share| &share.path);
        let Done {} = self.ask(Verb::Prepare, about, path, deadline)?;
        crash::point("exec.prepare.after_answer");
        deadline.check()
    }

    fn commit(
        &self,
        copies: &[CopySource],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), BackendError> {
        let done = self.commit_all(copies, writable, deadline);
        if done.is_err() {
            self.undo_all(copies);
        }
        done
    }

    fn expose(&self, exposure: &Exposure) -> Result<PathBuf, BackendError> {
        let copy = &exposure.copy;
        let folder = Folder::make(&self.base)?;
        let Exposed { root } = self.ask_for(Verb::Expose, copy)?;
        crash::point("exec.expose.after_answer");
        if !root.is_absolute() {
            let detail = format!("{} is not an absolute path", root.display());
            return Err(self.not_an_answer(Verb::Expose, detail));
        }
        open_inner(&root, &exposure.inner)?;
        show(&folder, copy.copy, &root)?;
        crash::point("exec.expose.after_show");
        lock(&self.links).link(
            &folder,
            &exposure.base,
            copy.copy,
            &exposure.inner,
            exposure.created,
        )?;
        let path = root.join(&exposure.inner);
        let mut exposed = lock(&self.exposed);
        exposed.entry(copy.copy).or_default().insert(path.clone());
        Ok(path)
    }

    fn seal(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.ask_about(Verb::Seal, copy)?;
        crash::point("exec.seal.after_answer");
        Ok(())
    }

    fn verify_sealed(&self, copy: &CopyRef, via: &Path) -> Result<(), BackendError> {
        let name_them = |error| match error {
            BackendError::NotSealed(_) => BackendError::NotSealed(via.to_owned()),
            other => other,
        };
        self.ask_about(Verb::Verify, copy).map_err(name_them)?;
        let directory = open_directory(via).map_err(failed("open", via))?;
        let found = Identity::of_open(directory.as_fd()).map_err(failed("statx", via))?;
        let known = lock(&self.exposed).get(&copy.copy).cloned();
        let leads_there = known.is_none_or(|known| {
            known.iter().any(|path| {
                Identity::at(path).is_ok_and(|expected| expected.is_same_directory(found))
            })
        });
        if !leads_there {
            return Err(unsupported(via, "does not lead into the copy"));
        }
        attempt::to_write(&directory, copy.copy, via)
    }

    fn delete(&self, copy: &CopyRef) -> Result<(), BackendError> {
        self.volume(&copy.volume)?;
        self.guards.forget(copy.copy);
        self.ask_about(Verb::Delete, copy)?;
        crash::point("exec.delete.after_answer");
        // Only now: the program may have refused, and then the copy goes on being a version.
        if let Some(folder) = Folder::open(&self.base) {
            lock(&self.links).unlink(&folder, copy.copy)?;
            crash::point("exec.delete.after_unlink");
            hide(&folder, copy.copy)?;
            crash::point("exec.delete.after_hide");
        }
        lock(&self.exposed).remove(&copy.copy);
        self.leftovers.forget(copy.copy);
        Ok(())
    }

    fn enumerate(&self) -> Result<Vec<CopyRef>, BackendError> {
        let path = Path::new("");
        let Enumerated { copies } = self.ask(
            Verb::Enumerate,
            About::Nothing {},
            path,
            &Deadline::default(),
        )?;
        let wrong = |detail: String| self.not_an_answer(Verb::Enumerate, detail);
        let mut seen = HashSet::new();
        let copy = |listed: protocol::Listed| {
            let copy = copy_id(&listed.id)
                .ok_or_else(|| wrong(format!("{:?} is no id of a copy", listed.id)))?;
            let volume = protocol::volume_name(&listed.volume).map_err(wrong)?;
            Ok(CopyRef {
                copy,
                backend: self.name(),
                volume: self.volume_id(volume),
            })
        };
        let mut copies: Vec<CopyRef> = copies.into_iter().map(copy).collect::<Result<_, _>>()?;
        copies.retain(|copy| seen.insert(copy.copy));
        Ok(copies)
    }

    fn previous_versions(&self, _directory: &Path, share: &ShareName) -> Option<PathBuf> {
        Some(previous::folder(&self.base, share))
    }
}

/// Lets `<id>` in the folder lead to a copy's root.
fn show(folder: &Folder, copy: ShadowCopyId, root: &Path) -> Result<(), BackendError> {
    let (name, path) = (copy.to_string(), folder.path.join(copy.to_string()));
    match readlinkat(&folder.fd, &*name, Vec::new()) {
        Ok(now) if now.as_bytes() == root.as_os_str().as_bytes() => return Ok(()),
        Ok(_) => hide(folder, copy)?,
        Err(Errno::NOENT) => {}
        // A mount point or a directory of the program's.
        Err(Errno::INVAL) if is_same(&path, root) => return Ok(()),
        Err(Errno::INVAL) => return Err(BackendError::Conflict(path)),
        Err(errno) => return Err(failed("readlink", &path)(errno)),
    }
    symlinkat(root, &folder.fd, &*name).map_err(failed("symlink", &path))
}

fn is_same(path: &Path, other: &Path) -> bool {
    let [first, second] = [path, other].map(Identity::at);
    matches!((first, second), (Ok(first), Ok(second)) if first.is_same_directory(second))
}

/// Removes what [`show`] made.
fn hide(folder: &Folder, copy: ShadowCopyId) -> Result<(), BackendError> {
    match unlinkat(&folder.fd, copy.to_string(), AtFlags::empty()) {
        // The program's own mount point of that name is the program's to remove.
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
        Err(errno) => Err(failed("unlink", &folder.path)(errno)),
    }
}

/// Programs are told paths in JSON, which is text.
fn utf8(path: &Path) -> Result<&str, BackendError> {
    path.to_str().ok_or_else(|| {
        unsupported(
            path,
            "is no UTF-8 text; a backend that is a program cannot be told of it",
        )
    })
}
