//! Prepare and Commit: every backend gets its own copies of the set, all together or none.

use super::Executor;
use fsrvp_idl::ShadowCopyId;
use fsrvp_proto::job::{BackendName, CopyRef, CopySource, Failure, FailureKind};
use fsrvp_snapshot::Deadline;
use fsrvp_sys::crash;
use std::collections::BTreeMap;

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
        let copy = CopyRef {
            copy: source.copy,
            backend: source.backend.clone(),
            volume: source.volume.clone(),
        };
        Ok(self.backend(&copy.backend)?.delete(&copy)?)
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
        let mut paths = source.shares.iter().map(|share| share.path.display());
        failure.detail.contains(&source.copy.to_string())
            || paths.any(|path| failure.detail.contains(&path.to_string()))
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
