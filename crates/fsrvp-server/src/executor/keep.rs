//! Kept snapshots and their retention, and which shares clients use.

use super::{Executor, in_share};
use fsrvp_idl::{DateTime, FileTime, ShadowCopyId};
use fsrvp_proto::Now;
use fsrvp_proto::job::{Exposure, Failure, FailureKind, KeepSource};
use fsrvp_snapshot::{BackendError, Kept, SnapshotBackend, names};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Snapshots of one share that may have the same name by the template; the later ones get a number.
const MOST_NAMESAKES: u32 = 9;

/// What is kept of a share, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepPolicy {
    /// Template of the names: `{share}`, `{time}`, `{copy}` stand for what they say.
    pub name: String,
    /// Most that are kept; older ones go.
    pub count: Option<usize>,
    /// Those that are older go.
    pub age: Option<Duration>,
}

impl KeepPolicy {
    fn name_of(&self, source: &KeepSource) -> String {
        let DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = DateTime::from(source.created);
        let time = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
        self.name
            .replace("{share}", &names::share_folder(&source.share))
            .replace("{time}", &time)
            .replace("{copy}", &source.copy.copy.to_string())
    }

    /// Those of a share's snapshots that the policy no longer keeps.
    fn surplus<'a>(&self, mut of_share: Vec<&'a Kept>, now: FileTime) -> Vec<&'a Kept> {
        of_share.sort_by_key(|kept| std::cmp::Reverse((kept.created, kept.name.clone())));
        // What a clock made that was ahead counts as newer than nothing.
        of_share.retain(|kept| kept.created <= now);
        let count = self.count.unwrap_or(usize::MAX);
        let is_surplus = |(at, kept): &(usize, &Kept)| {
            let ticks = now.0.saturating_sub(kept.created.0);
            let age = Duration::from_nanos(ticks.saturating_mul(100));
            *at >= count || self.age.is_some_and(|limit| age > limit)
        };
        let surplus = of_share.into_iter().enumerate().filter(is_surplus);
        surplus.map(|(_, kept)| kept).collect()
    }
}

impl Executor {
    /// Keeps a snapshot of each copy whose share still has a policy, and says of which: the
    /// configuration may have changed since the set was recovered.
    pub(super) fn keep(&self, sources: &[KeepSource]) -> Result<BTreeSet<ShadowCopyId>, Failure> {
        let mut kept = BTreeSet::new();
        for source in sources {
            let policy = self.settings().keep.get(&source.share).cloned();
            let Some(policy) = policy else {
                continue;
            };
            self.keep_one(source, &policy)
                .map_err(|error| in_share(&source.share, error))?;
            kept.insert(source.copy.copy);
        }
        self.kept_one_more.notify_one();
        match sources.first() {
            Some(source) if kept.is_empty() => {
                let share = &source.share;
                let text = format!("nothing is to be kept of the share {share} any more");
                Err(Failure::new(FailureKind::Unsupported, text).in_share(share))
            }
            _ => Ok(kept),
        }
    }

    /// Waits until a snapshot has been kept: an older one may have to go.
    pub async fn kept_one_more(&self) {
        self.kept_one_more.notified().await;
    }

    fn keep_one(&self, source: &KeepSource, policy: &KeepPolicy) -> Result<(), Failure> {
        let backend = self.backend(&source.copy.backend)?;
        let name = policy.name_of(source);
        let others = (2..=MOST_NAMESAKES).map(|number| format!("{name}.{number}"));
        let mut taken = None;
        for name in std::iter::once(name.clone()).chain(others) {
            match backend.keep(source, &name) {
                Err(BackendError::Conflict(path)) => taken = Some(BackendError::Conflict(path)),
                other => return Ok(other?),
            }
        }
        taken.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Deletes the kept snapshots that the policies of their shares no longer keep. Those of shares
    /// without a policy stay: they were kept for a reason that somebody else may know. Ages count
    /// only where they are believed.
    pub fn prune_kept(&self, now: Now, ages_are_believed: bool) {
        let mut policies = self.settings().keep.clone();
        if policies.is_empty() {
            return;
        }
        if !ages_are_believed {
            for policy in policies.values_mut() {
                policy.age = None;
            }
        }
        for backend in self.backends.iter() {
            let kept = match backend.list_kept() {
                Ok(kept) => kept,
                Err(error) => {
                    let error = Failure::from(error);
                    tracing::warn!(%error, "kept snapshots cannot be listed; none is deleted");
                    continue;
                }
            };
            for (share, policy) in &policies {
                let of_share = kept.iter().filter(|kept| kept.share == *share).collect();
                for kept in policy.surplus(of_share, now.wall) {
                    delete_surplus(backend, kept);
                }
            }
        }
    }

    /// All kept snapshots of all backends. Blocks.
    ///
    /// # Errors
    /// A backend cannot list them.
    pub fn kept(&self) -> Result<Vec<Kept>, Failure> {
        let mut all = Vec::new();
        for backend in self.backends.iter() {
            all.extend(backend.list_kept()?);
        }
        all.sort_by_key(|kept| (kept.share.clone(), kept.created, kept.name.clone()));
        Ok(all)
    }

    /// Deletes a kept snapshot. Blocks.
    ///
    /// # Errors
    /// It is still there.
    pub fn delete_kept(&self, kept: &Kept) -> Result<(), Failure> {
        Ok(self.backend(&kept.backend)?.delete_kept(kept)?)
    }

    pub(super) fn in_use(&self, shares: &[Exposure]) -> Result<BTreeSet<ShadowCopyId>, Failure> {
        let names: Vec<_> = shares.iter().map(|share| share.name.clone()).collect();
        let used = self.directory.in_use(&names)?;
        let used = shares.iter().filter(|share| used.contains(&share.name));
        Ok(used.map(|share| share.copy.copy).collect())
    }
}

fn delete_surplus(backend: &Arc<dyn SnapshotBackend>, kept: &Kept) {
    let share = &kept.share;
    match backend.delete_kept(kept) {
        Ok(()) => tracing::info!(
            target: "audit",
            %share,
            name = kept.name,
            copy = %kept.copy,
            by = "retention",
            "kept snapshot deleted"
        ),
        Err(error) => {
            let error = Failure::from(error);
            tracing::warn!(%share, name = kept.name, %error, "a kept snapshot cannot be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsrvp_idl::ShareName;
    use fsrvp_proto::job::{BackendName, CopyRef, VolumeId};

    fn policy(count: Option<usize>, age: Option<u64>) -> KeepPolicy {
        KeepPolicy {
            name: "{share}-{time}-{copy}".to_owned(),
            count,
            age: age.map(Duration::from_secs),
        }
    }

    fn kept(second: u64) -> Kept {
        Kept {
            backend: BackendName("memory".to_owned()),
            volume: VolumeId("memory:/srv".to_owned()),
            share: ShareName::new("vm"),
            name: second.to_string(),
            created: FileTime(second * 10_000_000),
            copy: ShadowCopyId(uuid::Uuid::from_u128(second.into())),
            path: "/kept".into(),
        }
    }

    fn surplus(policy: &KeepPolicy, now: u64) -> Vec<String> {
        let all = [kept(30), kept(10), kept(20), kept(40)];
        let surplus = policy.surplus(all.iter().collect(), FileTime(now * 10_000_000));
        surplus.into_iter().map(|kept| kept.name.clone()).collect()
    }

    #[test]
    fn names_tell_share_time_and_copy() {
        let source = KeepSource {
            copy: CopyRef {
                copy: ShadowCopyId(uuid::Uuid::from_u128(1)),
                backend: BackendName("memory".to_owned()),
                volume: VolumeId("memory:/srv".to_owned()),
            },
            share: ShareName::new("V M"),
            inner: "".into(),
            created: FileTime::from_unix(Duration::from_secs(1_709_251_199)),
        };
        assert_eq!(
            policy(None, None).name_of(&source),
            "v=20m-20240229T235959Z-00000000-0000-0000-0000-000000000001"
        );
    }

    #[test]
    fn the_newest_are_kept_and_the_old_ones_go() {
        assert_eq!(surplus(&policy(None, None), 1_000_000), [""; 0]);
        assert_eq!(surplus(&policy(Some(3), None), 1_000_000), ["10"]);
        assert_eq!(
            surplus(&policy(Some(0), None), 50),
            ["40", "30", "20", "10"]
        );
        assert_eq!(surplus(&policy(None, Some(20)), 50), ["20", "10"]);
        assert_eq!(surplus(&policy(Some(1), Some(100)), 50), ["30", "20", "10"]);
        // A clock that was set back makes nothing old.
        assert_eq!(surplus(&policy(None, Some(20)), 5), [""; 0]);
        // What was kept while it was ahead pushes nothing out, and does not go.
        assert_eq!(surplus(&policy(Some(2), None), 25), [""; 0]);
        assert_eq!(surplus(&policy(Some(1), None), 25), ["10"]);
    }
}
