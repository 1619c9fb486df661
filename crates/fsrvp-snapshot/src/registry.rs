//! The backends of a server and the choice between them.

use crate::backend::{BackendError, Probe, SnapshotBackend};
use crate::{Btrfs, TreeClone, Zfs};
use fsrvp_idl::ShareName;
use fsrvp_proto::job::BackendName;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the configuration says of a share's backend: `auto`, `none` or a backend's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first backend that can snapshot the share's directory.
    #[default]
    Auto,
    /// This backend and no other.
    Named(BackendName),
    /// The share cannot be shadow copied.
    None,
}

impl From<&str> for Choice {
    fn from(text: &str) -> Self {
        match text {
            "auto" => Self::Auto,
            "none" => Self::None,
            name => Self::Named(BackendName(name.to_owned())),
        }
    }
}

/// A backend that serves a share's directory, and why.
#[derive(Clone)]
pub struct Selected {
    /// The backend.
    pub backend: Arc<dyn SnapshotBackend>,
    /// Its name.
    pub name: BackendName,
    /// What it said of the directory.
    pub probe: Probe,
    /// Why this one, for logs and `/v1/shares`.
    pub reason: String,
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selected")
            .field("name", &self.name)
            .field("probe", &self.probe)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// All backends of a server: first those that are probed, in this order, then those that a share
/// has to ask for by name.
#[derive(Clone, Default)]
pub struct Backends {
    all: Vec<Arc<dyn SnapshotBackend>>,
    /// How many of them are probed.
    probed: usize,
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Backends {
    /// Backends in probing order; of two with one name the first counts.
    #[must_use]
    pub fn new(backends: Vec<Arc<dyn SnapshotBackend>>) -> Self {
        Self {
            probed: backends.len(),
            all: backends,
        }
    }

    /// Our own backends in the order in which a server probes them. ZFS is asked first: it alone knows
    /// of a data set that belongs at a directory and is not mounted, and whatever the file system
    /// below, an empty directory must not be copied in its place.
    #[must_use]
    pub fn probed(zfs: Zfs, btrfs: Btrfs, clone: TreeClone) -> Self {
        Self::new(vec![Arc::new(zfs), Arc::new(btrfs), Arc::new(clone)])
    }

    /// Further backends, which only serve shares that name them.
    #[must_use]
    pub fn and_by_name(
        mut self,
        backends: impl IntoIterator<Item = Arc<dyn SnapshotBackend>>,
    ) -> Self {
        self.all.extend(backends);
        self
    }

    /// The backend with this name.
    #[must_use]
    pub fn get(&self, name: &BackendName) -> Option<&Arc<dyn SnapshotBackend>> {
        self.all.iter().find(|backend| backend.name() == *name)
    }

    /// All backends, in probing order first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn SnapshotBackend>> {
        self.all.iter()
    }

    /// Their names, in probing order first.
    pub fn names(&self) -> impl Iterator<Item = BackendName> {
        self.all.iter().map(|backend| backend.name())
    }

    /// Waits until no backend does anything in the background any more, `limit` at most; whether it
    /// is so.
    #[must_use]
    pub fn finish(&self, limit: Duration) -> bool {
        let started = Instant::now();
        let left = || limit.saturating_sub(started.elapsed());
        // Each of them, also when there is no time left.
        let unfinished = self.all.iter().filter(|backend| !backend.finish(left()));
        unfinished.count() == 0
    }

    /// The backend for a share's directory. With [`Choice::Auto`] a backend that says
    /// `Unsupported` passes the question on; any other error ends the search, for a fault of the
    /// right backend must not hand the share to a wrong one.
    ///
    /// # Errors
    /// `Unsupported` with the reason of every backend that was asked, and with the path below the
    /// directory that is in the way if one of them names such a path; as [`SnapshotBackend::probe`].
    pub fn select(&self, directory: &Path, choice: &Choice) -> Result<Selected, BackendError> {
        self.first_of(choice, directory, |backend| backend.probe(directory))
    }

    /// The backend for a share, with what is configured for this share.
    ///
    /// # Errors
    /// As [`Backends::select`].
    pub fn select_share(
        &self,
        share: &ShareName,
        directory: &Path,
        choice: &Choice,
    ) -> Result<Selected, BackendError> {
        self.first_of(choice, directory, |backend| {
            backend.probe_share(directory, share)
        })
    }

    fn first_of(
        &self,
        choice: &Choice,
        directory: &Path,
        probe: impl Fn(&dyn SnapshotBackend) -> Result<Probe, BackendError>,
    ) -> Result<Selected, BackendError> {
        match choice {
            Choice::None => Err(refusal(directory, "the configuration says backend = none")),
            Choice::Named(name) => {
                let backend = self.get(name).ok_or_else(|| {
                    let names: Vec<_> = self.names().map(|name| name.to_string()).collect();
                    let known = names.join(", ");
                    refusal(
                        directory,
                        &format!("there is no backend {name}, only {known}"),
                    )
                })?;
                let probe = probe(&**backend)?;
                Ok(selected(backend, probe, "named in the configuration"))
            }
            Choice::Auto => self.first_that_fits(directory, probe),
        }
    }

    fn first_that_fits(
        &self,
        directory: &Path,
        probe: impl Fn(&dyn SnapshotBackend) -> Result<Probe, BackendError>,
    ) -> Result<Selected, BackendError> {
        let mut refusals = Vec::new();
        let mut in_the_way = None;
        for backend in self.all.iter().take(self.probed) {
            match probe(&**backend) {
                Ok(probe) => {
                    let reason = if refusals.is_empty() {
                        "the first that fits".to_owned()
                    } else {
                        format!("the first that fits; {}", refusals.join("; "))
                    };
                    return Ok(selected(backend, probe, &reason));
                }
                Err(BackendError::Unsupported { path, reason }) => {
                    refusals.push(format!("{}: {}: {reason}", backend.name(), path.display()));
                    // One that does not know the file system has nothing to say of what is below.
                    if path != directory {
                        in_the_way.get_or_insert(path);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if refusals.is_empty() {
            refusals.push("no backend is configured".to_owned());
        }
        let object = in_the_way.as_deref().unwrap_or(directory);
        Err(refusal(object, &refusals.join("; ")))
    }
}

fn selected(backend: &Arc<dyn SnapshotBackend>, probe: Probe, reason: &str) -> Selected {
    Selected {
        backend: Arc::clone(backend),
        name: backend.name(),
        probe,
        reason: reason.to_owned(),
    }
}

fn refusal(object: &Path, reason: &str) -> BackendError {
    BackendError::Unsupported {
        path: object.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Injection, Memory, Step};

    fn memory(name: &str, root: &str) -> Memory {
        let memory = Memory::named(name);
        memory.add_volume(root);
        memory
    }

    fn backends() -> (Memory, Backends) {
        let first = memory("first", "/srv/a");
        let second = memory("second", "/srv/b");
        let all = Backends::new(vec![Arc::new(first.clone()), Arc::new(second)]);
        (first, all)
    }

    #[test]
    fn a_backend_by_name_is_never_probed_for() {
        let array = memory("array", "/srv/c");
        let (_, backends) = backends();
        let backends = backends.and_by_name([Arc::new(array) as Arc<dyn SnapshotBackend>]);
        let select = |choice| backends.select(Path::new("/srv/c"), &choice);
        let refused = select(Choice::Auto).unwrap_err();
        assert!(matches!(refused, BackendError::Unsupported { .. }));
        assert_eq!(select(Choice::from("array")).unwrap().name.0, "array");
        assert_eq!(backends.names().count(), 3);
    }

    #[test]
    fn auto_takes_the_first_that_fits_and_says_why() {
        let (_, backends) = backends();
        let chosen = |path: &str| backends.select(Path::new(path), &Choice::Auto).unwrap();
        assert_eq!(chosen("/srv/a").name.0, "first");
        assert_eq!(chosen("/srv/b").name.0, "second");
        assert!(chosen("/srv/b").reason.contains("first: /srv/b: "));
    }

    #[test]
    fn a_refusal_names_every_reason() {
        let (_, backends) = backends();
        match backends.select(Path::new("/srv/c"), &Choice::Auto) {
            Err(BackendError::Unsupported { path, reason }) => {
                assert_eq!(path, Path::new("/srv/c"));
                assert!(reason.contains("first: ") && reason.contains("second: "));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_is_about_what_is_in_the_way() {
        let (first, second) = (memory("first", "/srv/a"), memory("second", "/srv/b"));
        second.inject(
            Injection::at(Step::Probe).fail(|| refusal(Path::new("/srv/b/link"), "a link")),
        );
        let backends = Backends::new(vec![Arc::new(first), Arc::new(second)]);
        let refused = backends
            .select(Path::new("/srv/b"), &Choice::Auto)
            .unwrap_err();
        assert_eq!(refused.object(), Some(Path::new("/srv/b/link")));
        let text = refused.to_string();
        assert!(
            text.contains("first: /srv/b: ") && text.contains("a link"),
            "{text}"
        );
    }

    #[test]
    fn named_and_none_are_obeyed() {
        let (_, backends) = backends();
        let select = |path: &str, choice: &str| {
            backends
                .select(Path::new(path), &Choice::from(choice))
                .map(|selected| selected.name.0)
        };
        assert_eq!(select("/srv/b", "second").unwrap(), "second");
        for (path, choice) in [
            ("/srv/a", "second"),
            ("/srv/a", "none"),
            ("/srv/a", "third"),
        ] {
            let error = select(path, choice).unwrap_err();
            assert!(
                matches!(error, BackendError::Unsupported { .. }),
                "{choice}: {error}"
            );
        }
    }

    #[test]
    fn a_fault_of_one_backend_does_not_choose_another() {
        let (first, backends) = backends();
        first.inject(Injection::at(Step::Probe).fail(|| BackendError::Busy("disk".into())));
        let error = backends
            .select(Path::new("/srv/b"), &Choice::Auto)
            .unwrap_err();
        assert!(matches!(error, BackendError::Busy(_)), "{error}");
    }

    #[test]
    fn no_backends_is_a_refusal() {
        let error = Backends::default()
            .select(Path::new("/srv/a"), &Choice::Auto)
            .unwrap_err();
        assert!(matches!(error, BackendError::Unsupported { .. }));
    }
}
