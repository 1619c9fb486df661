//! The program `zfs`: how it is asked, and what its complaints mean.

use crate::backend::{BackendError, Deadline};
use crate::program::{Failed, Program};
use std::path::Path;
use std::time::Duration;

/// `zfs`, of OpenZFS or of zfs-fuse.
#[derive(Debug)]
pub(super) struct Tool {
    program: String,
    limit: Duration,
}

/// What `zfs` complains of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Complaint {
    /// A data set, a pool or a snapshot does not exist.
    Missing,
    /// It exists already.
    Exists,
    /// Somebody uses it.
    Busy,
    /// Something depends on it: a clone, a child, a hold.
    Depended,
    /// No space or quota.
    NoSpace,
    /// A right is missing.
    Denied,
    /// This version does not understand the command.
    Usage,
    /// Something else.
    Other,
}

/// Why `zfs` did not do what it was asked.
#[derive(Debug)]
pub(super) enum ToolError {
    /// It complained.
    Said { complaint: Complaint, text: String },
    /// It could not be run to its end.
    Failed(Failed),
}

impl ToolError {
    pub(super) const fn complaint(&self) -> Option<Complaint> {
        match self {
            Self::Said { complaint, .. } => Some(*complaint),
            Self::Failed(_) => None,
        }
    }

    /// The error of `what` (a verb of `zfs`) on `name` (a data set).
    pub(super) fn of(what: &'static str, name: &str) -> impl FnOnce(Self) -> BackendError {
        move |error| match error {
            Self::Failed(failed) => failed.into_error(&format!("zfs {what} {name}")),
            Self::Said { complaint, text } => match complaint {
                Complaint::NoSpace => BackendError::NoSpace(format!("{name}: {text}")),
                Complaint::Busy | Complaint::Depended => {
                    BackendError::Busy(format!("{name}: {text}"))
                }
                Complaint::Missing => BackendError::NotFound(name.into()),
                Complaint::Exists => BackendError::Conflict(name.into()),
                Complaint::Denied => BackendError::Denied {
                    operation: what,
                    path: name.into(),
                },
                Complaint::Usage | Complaint::Other => BackendError::Tool {
                    program: format!("zfs {what} {name}"),
                    detail: text,
                },
            },
        }
    }
}

impl Tool {
    pub(super) fn new(program: &Path, limit: Duration) -> Self {
        Self {
            program: program.to_string_lossy().into_owned(),
            limit,
        }
    }

    /// Runs `zfs` with these arguments.
    pub(super) fn ask<A: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        deadline: &Deadline,
    ) -> Result<String, ToolError> {
        let program = arguments
            .into_iter()
            .fold(Program::new([&self.program]), |program, argument| {
                program.arg(argument.as_ref())
            });
        let ended = program
            .run(b"", self.limit, deadline)
            .map_err(ToolError::Failed)?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        // The usage that may follow helps nobody.
        let first = said.lines().next().unwrap_or_default();
        Err(ToolError::Said {
            complaint: Complaint::of(ended.status.code(), &said),
            text: if first.is_empty() {
                ended.complaint()
            } else {
                first.to_owned()
            },
        })
    }

    /// The rows of `zfs` with `-H`.
    pub(super) fn rows<A: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        deadline: &Deadline,
    ) -> Result<Vec<Vec<String>>, ToolError> {
        let text = self.ask(arguments, deadline)?;
        let row = |line: &str| line.split('\t').map(str::to_owned).collect();
        Ok(text.lines().map(row).collect())
    }
}

/// The error for a row that has not the columns that were asked for.
pub(super) fn not_understood(row: &[String]) -> BackendError {
    BackendError::Tool {
        program: "zfs list".to_owned(),
        detail: format!("its answer is not understood: {row:?}"),
    }
}

impl Complaint {
    /// By the words of OpenZFS and zfs-fuse, which have the same origin.
    fn of(status: Option<i32>, said: &str) -> Self {
        let words: [(&[&str], Self); 6] = [
            (
                &[
                    "has dependent clones",
                    "has children",
                    "snapshot is held",
                    "it has holds",
                ],
                Self::Depended,
            ),
            (&["is busy", "Device busy", "resource busy"], Self::Busy),
            (&["out of space", "No space left", "quota"], Self::NoSpace),
            (&["already exists"], Self::Exists),
            (
                &[
                    "does not exist",
                    "no such pool",
                    "could not find any snapshots",
                ],
                Self::Missing,
            ),
            (
                &[
                    "permission denied",
                    "Permission denied",
                    "must be privileged",
                ],
                Self::Denied,
            ),
        ];
        // Usage quotes whole lists of words.
        if status == Some(2) {
            return Self::Usage;
        }
        // What stands between quotes is somebody's name, whatever its words.
        let said: String = said.split('\'').step_by(2).collect();
        let means = |(texts, _): &&(&[&str], Self)| texts.iter().any(|text| said.contains(text));
        words
            .iter()
            .find(means)
            .map_or(Self::Other, |(_, meaning)| *meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of zfs-fuse 0.7.0 as it printed them; those of OpenZFS 2 are from its source, for it
    /// was never run here.
    #[test]
    fn complaints() {
        for (status, text, expected) in [
            (
                1,
                "cannot open 'tank/a@s': dataset does not exist\n",
                Complaint::Missing,
            ),
            (
                1,
                "cannot destroy 'tank/c': dataset is busy\n",
                Complaint::Busy,
            ),
            (
                1,
                "umount: /m: target is busy.\ncannot unmount '/m': umount failed\n",
                Complaint::Busy,
            ),
            (
                1,
                "cannot destroy 'tank/a@s': snapshot has dependent clones\nuse '-R' to ...\n",
                Complaint::Depended,
            ),
            (
                2,
                "too many arguments\nusage:\n\tsnapshot ... quota already exists is busy\n",
                Complaint::Usage,
            ),
            (
                1,
                "cannot create snapshot 'tank/a@s': dataset already exists\n",
                Complaint::Exists,
            ),
            (
                1,
                "cannot create 'tank/c': out of space\n",
                Complaint::NoSpace,
            ),
            (
                1,
                "cannot unmount '/tank/c': pool or dataset is busy\n",
                Complaint::Busy,
            ),
            (
                1,
                "cannot destroy 'tank/c': filesystem has children\nuse '-r' to destroy ...\n",
                Complaint::Depended,
            ),
            (
                1,
                "cannot create snapshots : permission denied\n",
                Complaint::Denied,
            ),
            (
                1,
                "cannot open 'tank/quota/is busy@s': dataset does not exist\n",
                Complaint::Missing,
            ),
            (1, "internal error: out of memory\n", Complaint::Other),
            (1, "", Complaint::Other),
        ] {
            assert_eq!(Complaint::of(Some(status), text), expected, "{text}");
        }
    }
}
