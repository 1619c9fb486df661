//! What can go wrong in a laboratory.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the laboratory or one of its programs failed.
///
/// The message contains the cause, because test harnesses print nothing else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program does not exist or may not be run.
    #[error("{command}: cannot be started: {source}")]
    Start {
        /// Command line.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The program ran and said no.
    #[error("{command}: {status}\n{output}")]
    Failed {
        /// Command line.
        command: String,
        /// Exit status in words.
        status: String,
        /// What it printed.
        output: String,
    },
    /// The program was ended because it did not come to an end.
    #[error("{command}: still running after {limit:?}, ended\n{output}")]
    TooLong {
        /// Command line.
        command: String,
        /// The time it had.
        limit: Duration,
        /// What it had printed.
        output: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A server that was started does not answer.
    #[error("{server} does not answer after {limit:?}: {last}")]
    NotReady {
        /// Which.
        server: &'static str,
        /// The time it had.
        limit: Duration,
        /// The last answer, or the end of its log.
        last: String,
    },
    /// Something of the laboratory could not be removed.
    #[error("left over: {0}")]
    LeftOver(String),
    /// The directory or the machine cannot carry a laboratory.
    #[error("{0}")]
    Unfit(String),
}

impl Error {
    /// Wraps an error about a path.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
