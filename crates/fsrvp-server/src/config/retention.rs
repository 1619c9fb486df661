//! `[server.retention]`: the bounded life of Recovered sets.

use fsrvp_proto::Retention;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long Recovered sets are kept that nobody deletes; for ever unless something is said here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Sets that were recovered longer ago go.
    #[serde(with = "humantime_serde::option")]
    pub age: Option<Duration>,
    /// A set goes when every share in it has this many newer copies.
    pub count: Option<usize>,
}

impl RetentionConfig {
    /// As the agent has it.
    #[must_use]
    pub const fn rule(&self) -> Retention {
        Retention {
            age: self.age,
            count: self.count,
        }
    }

    /// # Errors
    /// Key and problem.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.age.is_some_and(|age| age.is_zero()) {
            let problem = "must be longer than zero; leave it out to keep sets for ever";
            return Err(("retention.age".into(), problem.into()));
        }
        if self.count == Some(0) {
            let problem = "must be at least 1; leave it out to keep any number";
            return Err(("retention.count".into(), problem.into()));
        }
        Ok(())
    }
}
