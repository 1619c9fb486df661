//! The battery over a program of the site, in directories of the operator's choice.

use super::{Bed, CHECKS, Need, Places, Refused, Unit};
use crate::backend::{BackendError, SnapshotBackend};
use crate::exec::{Exec, ExecConfig, ExecLimits};
use crate::program::Program;
use crate::{Deadline, lock};
use fsrvp_sys::mountinfo::MountTable;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;
use uuid::Uuid;

/// What is made in each directory, and removed again.
const OURS: &str = "fsrvpd-backend-check";
/// Users' names are not always plain.
const ODD: &str = "a b\t'\"$(x)\\ %40 \u{e9}";

/// What became of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The contract is kept.
    Kept,
    /// It is not: what was found.
    Broken(String),
    /// Needs something that is not there: what.
    NotTried(&'static str),
}

/// Why a program cannot be checked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckerError {
    /// The directories cannot be made.
    #[error("{path}: {source}; remove what an earlier check left there, if it did")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing can be mounted, so a program cannot be seen to refuse a mount.
    #[error("{path}: no tmpfs can be mounted there: {source}; root has to be able to mount")]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program does not even know the volume.
    #[error("the program refuses {directory}: {source}")]
    Probe {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: BackendError,
    },
}

/// Runs the battery over the program `command`, on shares that are made in `directory` and, if it
/// is on another volume, in `other`. `report` hears of every check as it ends. Needs root, as the
/// service does.
///
/// # Errors
/// Nothing could be checked.
pub fn check_program(
    command: &[String],
    limits: ExecLimits,
    directory: &Path,
    other: Option<&Path>,
    mut report: impl FnMut(&'static str, Verdict),
) -> Result<(), CheckerError> {
    let mut bed = ProgramBed::new(command, limits, directory, other)?;
    for (name, run) in PROTOCOL_CHECKS {
        report(name, caught(|| run(&bed)));
    }
    for check in CHECKS {
        let verdict = match check.needs {
            Some(Need::TwoVolumes) if bed.places.other.is_none() => {
                Verdict::NotTried("a directory on another volume")
            }
            Some(Need::SharedVolume) if bed.unit() == Unit::Tree => {
                Verdict::NotTried("volumes that hold several shares")
            }
            Some(Need::Keeping) => Verdict::NotTried("a backend that keeps snapshots"),
            _ => caught(|| (check.run)(&mut bed)),
        };
        bed.clear();
        report(check.name, verdict);
    }
    Ok(())
}

/// A check that panics says why; the panic's words are not for the terminal.
fn caught(check: impl FnOnce()) -> Verdict {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    thread_local! {
        static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    }
    let _guard = lock(&ONE_AT_A_TIME);
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or(String::new(), |place| {
            let file = Path::new(place.file()).file_name().unwrap_or_default();
            format!(" ({}:{})", file.to_string_lossy(), place.line())
        });
        let words = info.payload_as_str().unwrap_or("panicked");
        SAID.set(Some(format!("{words}{place}")));
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(check));
    panic::set_hook(before);
    match outcome {
        Ok(()) => Verdict::Kept,
        Err(_) => Verdict::Broken(SAID.take().unwrap_or_default()),
    }
}

type ProtocolCheck = (&'static str, fn(&ProgramBed));

const PROTOCOL_CHECKS: [ProtocolCheck; 2] = [
    ("an_unknown_verb_is_an_error", |bed| {
        let request = serde_json::json!({
            "version": 1, "verb": "dance", "server": bed.server, "run_dir": bed.run_dir.path(),
            "limit_ms": 20_000,
        });
        bed.refuses("dance", &request);
    }),
    ("an_unknown_version_is_an_error", |bed| {
        let request = serde_json::json!({
            "version": 1_000_000, "verb": "enumerate", "server": bed.server,
            "run_dir": bed.run_dir.path(), "limit_ms": 20_000,
        });
        bed.refuses("enumerate", &request);
    }),
];

struct ProgramBed {
    backend: Exec,
    command: Vec<String>,
    limits: ExecLimits,
    server: String,
    run_dir: TempDir,
    places: Places,
    unit: Unit,
    /// Ours, to be removed.
    made: Vec<PathBuf>,
}

impl ProgramBed {
    fn new(
        command: &[String],
        limits: ExecLimits,
        directory: &Path,
        other: Option<&Path>,
    ) -> Result<Self, CheckerError> {
        let in_temporary = |source| CheckerError::Directory {
            path: std::env::temp_dir(),
            source,
        };
        let run_dir = tempfile::Builder::new()
            .prefix("fsrvpd-check-")
            .tempdir()
            .map_err(in_temporary)?;
        let top = directory.join(OURS);
        let whole = top.join("whole");
        let mut bed = Self {
            backend: Exec::new(ExecConfig {
                name: String::new(),
                command: Vec::new(),
                limits,
                server: String::new(),
                run_dir: PathBuf::new(),
            }),
            command: command.to_vec(),
            limits,
            server: format!("check {}", Uuid::new_v4()),
            run_dir,
            places: Places {
                inner: whole.join(ODD).join("x".repeat(255)),
                whole,
                ..Places::default()
            },
            unit: Unit::Volume,
            made: Vec::new(),
        };
        bed.restart();
        bed.make(&top)?;
        make_all(&bed.places.inner)?;
        let volume = |path: &Path| {
            bed.backend
                .probe(path)
                .map_err(|source| CheckerError::Probe {
                    directory: path.to_owned(),
                    source,
                })
        };
        let Places { whole, inner, .. } = &bed.places;
        if volume(whole)?.volume != volume(inner)?.volume {
            bed.unit = Unit::Tree;
        }
        bed.add_other(other)?;
        bed.add_refused(&top)?;
        Ok(bed)
    }

    /// Makes a directory that must not be there yet.
    fn make(&mut self, path: &Path) -> Result<(), CheckerError> {
        fs::create_dir(path).map_err(|source| CheckerError::Directory {
            path: path.to_owned(),
            source,
        })?;
        self.made.push(path.to_owned());
        Ok(())
    }

    fn add_other(&mut self, directory: Option<&Path>) -> Result<(), CheckerError> {
        let other = match (directory, self.unit) {
            (Some(directory), _) => {
                let top = directory.join(OURS);
                self.make(&top)?;
                top
            }
            (None, Unit::Tree) => self.places.whole.with_file_name("other"),
            (None, Unit::Volume) => return Ok(()),
        };
        make_all(&other)?;
        self.places.other = Some(other);
        Ok(())
    }

    fn add_refused(&mut self, top: &Path) -> Result<(), CheckerError> {
        let directory = top.join("refused");
        let offender = directory.join("mounted here");
        make_all(&offender)?;
        let mounted = mount("none", &offender, "tmpfs", MountFlags::empty(), None);
        mounted.map_err(|errno| CheckerError::Mount {
            path: offender.clone(),
            source: errno.into(),
        })?;
        self.places.refused.push(Refused {
            directory,
            offender,
        });
        Ok(())
    }

    /// Deletes what a broken check left.
    fn clear(&mut self) {
        self.restart();
        for copy in self.backend.enumerate().unwrap_or_default() {
            let _ = self.backend.delete(&copy);
        }
    }

    /// The program must not answer this request with success.
    fn refuses(&self, verb: &str, request: &serde_json::Value) {
        let program = Program::new(&self.command).arg(verb);
        let input = request.to_string();
        let ended = program
            .run(input.as_bytes(), self.limits.probe, &Deadline::default())
            .unwrap_or_else(|failed| panic!("the program {failed}"));
        assert!(!ended.status.success(), "the program answered with success");
    }
}

impl Drop for ProgramBed {
    fn drop(&mut self) {
        self.clear();
        for path in self.made.iter().rev() {
            remove(path);
        }
        remove(self.run_dir.path());
        // It has gone, or must not be touched.
        self.run_dir.disable_cleanup(true);
    }
}

/// Removes a directory of ours, unless something stays mounted in it: a program may have mounted
/// what is not ours at all.
fn remove(path: &Path) {
    let Ok(real) = fs::canonicalize(path) else {
        return;
    };
    let below = || {
        let table = MountTable::read().ok()?;
        let points = table.0.into_iter().rev().map(|mount| mount.point);
        let below: Vec<_> = points.filter(|point| point.starts_with(&real)).collect();
        Some(below)
    };
    for point in below().unwrap_or_default() {
        let _ = unmount(&point, UnmountFlags::NOFOLLOW);
    }
    if below().is_some_and(|left| left.is_empty()) {
        let _ = fs::remove_dir_all(&real);
    }
}

fn make_all(path: &Path) -> Result<(), CheckerError> {
    fs::create_dir_all(path).map_err(|source| CheckerError::Directory {
        path: path.to_owned(),
        source,
    })
}

impl Bed for ProgramBed {
    fn backend(&self) -> &dyn SnapshotBackend {
        &self.backend
    }

    fn restart(&mut self) {
        self.backend = Exec::new(ExecConfig {
            name: "checked".to_owned(),
            command: self.command.clone(),
            limits: self.limits,
            server: self.server.clone(),
            run_dir: self.run_dir.path().to_owned(),
        });
    }

    fn unit(&self) -> Unit {
        self.unit
    }

    fn places(&self) -> &Places {
        &self.places
    }
}
