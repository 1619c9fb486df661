//! Prepare and Commit: every backend gets its own copies of the set, all together or none.

use super::Executor;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::{BackendName, CopySource, Failure, FailureKind};
use fsrvp_snapshot::Deadline;
use fsrvp_sys::crash;
use std::collections::BTreeMap;
use std::path::Path;

type ByBackend = BTreeMap<BackendName, Vec<CopySource>>;

impl Executor {
    pub(super) fn prepare(
        &self,
        copies: &[CopySource],
        deadline: &Deadline,
    ) -> Result<(), Failure> {
        for source in copies {
            for share in &source.shares {
                let base = self.directory.lookup(&share.share)?;
                if base.path != share.path {
                    return Err(Failure::new(
                        FailureKind::NotFound,
                        format!(
                            "share {}: its path was {} when it was added to the set and is {} now; \
                             begin a new set and add it again",
                            share.share,
                            share.path.display(),
                            base.path.display()
                        ),
                    )
                    .in_share(&share.share));
                }
            }
        }
        for (name, copies) in by_backend(copies) {
            self.backend(&name)?
                .prepare(&copies, deadline)
                .map_err(|error| in_shares(&copies, error.into()))?;
        }
        crash::point("executor.prepare.after_all");
        Ok(())
    }

    pub(super) fn commit(
        &self,
        copies: &[CopySource],
        unprepared: &[ShadowCopyId],
        writable: bool,
        deadline: &Deadline,
    ) -> Result<(), Failure> {
        if !unprepared.is_empty() {
            let late: Vec<_> = copies
                .iter()
                .filter(|c| unprepared.contains(&c.copy))
                .cloned()
                .collect();
            self.prepare(&late, deadline)?;
        }
        let groups = by_backend(copies);
        let results = self.commit_groups(&groups, writable, deadline);
        crash::point("executor.commit.after_all");
        let Some(failure) = results.iter().find_map(|(_, result)| result.as_ref().err()) else {
            return Ok(());
        };
        let mut failure = failure.clone();
        for (name, _) in results.iter().filter(|(_, result)| result.is_ok()) {
            for source in groups.get(*name).into_iter().flatten() {
                if let Err(error) = self.delete(source) {
                    failure.detail = format!("{}; and not undone: {}", failure.detail, error);
                }
            }
        }
        Err(failure)
    }

    /// Commits each backend's group, several at once.
    fn commit_groups<'a>(
        &self,
        groups: &'a ByBackend,
        writable: bool,
        deadline: &Deadline,
    ) -> Vec<(&'a BackendName, Result<(), Failure>)> {
        let commit = |name: &BackendName, copies: &[CopySource]| {
            self.backend(name)?
                .commit(copies, writable, deadline)
                .map_err(|error| in_shares(copies, error.into()))
        };
        if groups.len() == 1 {
            return groups
                .iter()
                .map(|(name, copies)| (name, commit(name, copies)))
                .collect();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = groups
                .iter()
                .map(|(name, copies)| (name, scope.spawn(|| commit(name, copies))))
                .collect();
            threads
                .into_iter()
                .map(|(name, thread)| {
                    let lost =
                        |_| Err(Failure::new(FailureKind::Lost, "the backend's thread died"));
                    (name, thread.join().unwrap_or_else(lost))
                })
                .collect()
        })
    }

    fn delete(&self, source: &CopySource) -> Result<(), Failure> {
        Ok(self.backend(&source.backend)?.delete(&source.reference())?)
    }
}

fn by_backend(copies: &[CopySource]) -> ByBackend {
    let mut groups = ByBackend::new();
    for source in copies {
        groups
            .entry(source.backend.clone())
            .or_default()
            .push(source.clone());
    }
    groups
}

/// Names the share that a failure is of: the one whose path or copy it speaks of, or all that it
/// may be of.
fn in_shares(copies: &[CopySource], failure: Failure) -> Failure {
    let names = |sources: &[&CopySource]| {
        let shares = sources.iter().flat_map(|source| &source.shares);
        shares
            .map(|share| share.share.to_string())
            .collect::<Vec<_>>()
    };
    let is_named = |source: &&CopySource| {
        let mut paths = source.shares.iter().map(|share| share.path.as_path());
        failure.detail.contains(&source.copy.to_string())
            || paths.any(|path| match &failure.object {
                Some(object) => object.starts_with(path),
                None => mentions(&failure.detail, path),
            })
    };
    let mut concerned: Vec<_> = copies.iter().filter(is_named).collect();
    if concerned.is_empty() {
        concerned = copies.iter().collect();
    }
    let mut shares = concerned.iter().flat_map(|source| &source.shares);
    let only = match (shares.next(), shares.next()) {
        (Some(only), None) => Some(only.share.clone()),
        _ => None,
    };
    let names = names(&concerned);
    let word = if names.len() == 1 { "share" } else { "shares" };
    Failure {
        detail: format!("{word} {}: {}", names.join(", "), failure.detail),
        share: only,
        ..failure
    }
}

/// Whether a text has this path, and not only one that begins with the same letters.
fn mentions(text: &str, path: &Path) -> bool {
    let path = path.display().to_string();
    text.match_indices(&path).any(|(at, found)| {
        let behind = text.get(at + found.len()..).unwrap_or_default();
        behind.is_empty() || behind.starts_with(['/', ':', ';', ',', ' ', ')', '"', '\''])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsrvp_idl::ShareName;
    use fsrvp_proto::job::{SourceShare, VolumeId};
    use std::path::PathBuf;
    use uuid::Uuid;

    fn source(number: u128, share: &str) -> CopySource {
        CopySource {
            copy: ShadowCopyId(Uuid::from_u128(number)),
            backend: BackendName("memory".to_owned()),
            volume: VolumeId("memory:/srv".to_owned()),
            shares: vec![SourceShare {
                share: ShareName::new(share),
                path: Path::new("/srv").join(share),
                inner: PathBuf::new(),
            }],
        }
    }

    /// The share that a failure is said to be of.
    fn named(detail: &str, object: Option<&str>) -> Option<String> {
        let failure = Failure {
            object: object.map(PathBuf::from),
            ..Failure::new(FailureKind::Other, detail)
        };
        let copies = [source(1, "a"), source(2, "ab")];
        let share = in_shares(&copies, failure).share;
        share.map(|share| share.to_string())
    }

    #[test]
    fn a_share_is_named_by_its_whole_path() {
        let of = |share: &str| Some(share.to_owned());
        assert_eq!(named("/srv/ab is still in use", None), of("ab"));
        assert_eq!(named("/srv/a is still in use", None), of("a"));
        assert_eq!(named("no space for a snapshot of /srv/a", None), of("a"));
        assert_eq!(named("a link", Some("/srv/ab/x/link")), of("ab"));
        assert_eq!(named("/srv/ab was asked too", Some("/srv/a")), of("a"));
        let copy = Uuid::from_u128(2).to_string();
        assert_eq!(named(&format!("/pool/{copy}"), Some("/pool")), of("ab"));
        assert_eq!(named("the time limit passed", None), None);
    }
}
