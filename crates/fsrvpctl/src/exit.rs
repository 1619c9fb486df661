//! Exit codes: what a script can tell apart.

use crate::ClientError;
use std::fmt;

/// At the end of `--help` and in the manual.
pub(crate) const HELP: &str = "Exit codes: 0 done, 1 failed, 2 wrong command line, \
    3 the daemon cannot be reached or the caller may not, 4 there is no such thing, \
    5 not possible in the present state, 6 something was found that needs mending";

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The daemon or the tool failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Nobody answers on the socket, or the caller may not do this.
    Unreachable = 3,
    /// There is no such set, copy or snapshot.
    NotFound = 4,
    /// It is not possible in the present state.
    BadState = 5,
    /// A check has found something.
    Found = 6,
}

/// Why a verb failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// With words for people.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Refused { status: 404, .. } => Exit::NotFound,
            ClientError::Refused { status: 409, .. } => Exit::BadState,
            ClientError::Refused { status: 400, .. } => Exit::Usage,
            ClientError::Refused { .. }
            | ClientError::NoAnswer { .. }
            | ClientError::NotUnderstood { .. } => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
