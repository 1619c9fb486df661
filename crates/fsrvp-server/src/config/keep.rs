//! `keep` of `[[server.share]]`: snapshots that stay when a set is recovered.

use crate::executor::KeepPolicy;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest template; what stands for its fields comes on top.
const LONGEST_NAME: usize = 100;

/// What is kept of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// Template of the names.
    pub name: String,
    /// Most snapshots that are kept.
    pub count: Option<usize>,
    /// Age past which a snapshot goes.
    #[serde(with = "humantime_serde::option")]
    pub age: Option<Duration>,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self {
            name: "fsrvp-{time}".to_owned(),
            count: None,
            age: None,
        }
    }
}

impl KeepConfig {
    /// As the executor has it.
    #[must_use]
    pub fn policy(&self) -> KeepPolicy {
        KeepPolicy {
            name: self.name.clone(),
            count: self.count,
            age: self.age,
        }
    }

    /// # Errors
    /// Key and problem.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let refuse = |key: &str, problem: String| Err((format!("keep.{key}"), problem));
        let mut plain = self.name.clone();
        for field in ["{share}", "{time}", "{copy}"] {
            plain = plain.replace(field, "");
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.len() > LONGEST_NAME
            || self.name.starts_with('.')
            || !plain.chars().all(is_plain)
        {
            return refuse(
                "name",
                format!(
                    "{:?} is no template: letters, digits, '-', '_', '.' and the fields {{share}}, \
                     {{time}}, {{copy}}, at most {LONGEST_NAME} characters",
                    self.name
                ),
            );
        }
        if !self.name.contains("{time}") && !self.name.contains("{copy}") {
            return refuse(
                "name",
                format!("{:?} names all snapshots alike; add {{time}}", self.name),
            );
        }
        if self.count == Some(0) {
            return refuse(
                "count",
                "must be at least 1; leave keep out to keep none".into(),
            );
        }
        if self.age.is_some_and(|age| age.is_zero()) {
            return refuse("age", "must be longer than zero".into());
        }
        Ok(())
    }
}
