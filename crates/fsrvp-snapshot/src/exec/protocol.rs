//! What is said to a backend's program and what it may answer: one JSON object each way.
//!
//! `docs/backends-exec.md` describes the protocol for those who write such a program.

use crate::backend::BackendError;
use crate::program::Ended;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version that is spoken.
pub const VERSION: u32 = 1;

/// Longest name of a volume, in bytes.
const LONGEST_VOLUME: usize = 1_024;

/// What a program can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Identify the volume of a directory.
    Probe,
    /// Do all that can be done before writers are frozen.
    Prepare,
    /// Make copies, all or none.
    Commit,
    /// Make a copy reachable.
    Expose,
    /// Make a copy read-only for good.
    Seal,
    /// Say whether a copy is read-only.
    Verify,
    /// Delete a copy.
    Delete,
    /// List all copies.
    Enumerate,
}

impl Verb {
    /// The word for it, which is the program's last argument, too.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::Expose => "expose",
            Self::Seal => "seal",
            Self::Verify => "verify",
            Self::Delete => "delete",
            Self::Enumerate => "enumerate",
        }
    }
}

/// A request: what every verb has, and what some have.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    pub(super) version: u32,
    pub(super) verb: Verb,
    /// The virtual file server: its copies are told from those of others by this and `run_dir`.
    pub(super) server: &'a str,
    /// Where the program may mount, and keep what a reboot may take away.
    pub(super) run_dir: &'a str,
    /// The program is killed when this has passed.
    pub(super) limit_ms: u64,
    #[serde(flatten)]
    pub(super) about: About<'a>,
}

/// What a request is about.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum About<'a> {
    /// `probe`
    Directory { directory: &'a str },
    /// `prepare`
    Copies { copies: Vec<Source<'a>> },
    /// `commit`
    Cut {
        copies: Vec<Source<'a>>,
        writable: bool,
    },
    /// `expose`, `seal`, `verify`, `delete`
    Copy { copy: Copy<'a> },
    /// `enumerate`
    Nothing {},
}

/// A copy to be made.
#[derive(Debug, Serialize)]
pub(super) struct Source<'a> {
    pub(super) id: String,
    pub(super) volume: &'a str,
    pub(super) shares: Vec<Share<'a>>,
}

/// A share that a copy is made for.
#[derive(Debug, Serialize)]
pub(super) struct Share<'a> {
    pub(super) share: &'a str,
    pub(super) directory: &'a str,
    pub(super) inner: &'a str,
}

/// A copy that exists, or may exist.
#[derive(Debug, Serialize)]
pub(super) struct Copy<'a> {
    pub(super) id: String,
    pub(super) volume: &'a str,
}

/// The answer to `probe`.
#[derive(Debug, Deserialize)]
pub(super) struct Probed {
    pub(super) volume: String,
    #[serde(default)]
    pub(super) inner: PathBuf,
}

/// The answer to `expose`.
#[derive(Debug, Deserialize)]
pub(super) struct Exposed {
    pub(super) root: PathBuf,
}

/// The answer to `enumerate`.
#[derive(Debug, Deserialize)]
pub(super) struct Enumerated {
    pub(super) copies: Vec<Listed>,
}

/// A copy that is listed.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) volume: String,
}

/// The answer of the other verbs.
#[derive(Debug, Deserialize)]
pub(super) struct Done {}

/// A refusal in words.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: Complaint,
}

#[derive(Debug, Deserialize)]
struct Complaint {
    kind: Kind,
    #[serde(default)]
    path: Option<PathBuf>,
    #[serde(default)]
    reason: String,
}

/// The kinds of refusals. A program that finds JSON tedious may say one by its exit status alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Unsupported,
    NotFound,
    NoSpace,
    Busy,
    Conflict,
    Denied,
    NotSealed,
    Failed,
}

impl Kind {
    const fn of_exit_status(code: i32) -> Option<Self> {
        match code {
            10 => Some(Self::Unsupported),
            11 => Some(Self::NotFound),
            12 => Some(Self::NoSpace),
            13 => Some(Self::Busy),
            14 => Some(Self::Conflict),
            15 => Some(Self::Denied),
            16 => Some(Self::NotSealed),
            _ => None,
        }
    }
}

/// Makes an answer, or an error, of what a program left. `program` and `path` (what the call was
/// about) are for messages.
///
/// # Errors
/// The refusal; `Tool` for what is no answer; `Indeterminate` for a program that died.
pub(super) fn understand<T: for<'de> Deserialize<'de>>(
    ended: &Ended,
    program: &str,
    path: PathBuf,
) -> Result<T, BackendError> {
    let refusal = serde_json::from_slice::<Refusal>(&ended.stdout);
    let Some(code) = ended.status.code() else {
        return Err(BackendError::Indeterminate {
            program: program.to_owned(),
            detail: ended.complaint(),
        });
    };
    let tool = |detail: String| BackendError::Tool {
        program: program.to_owned(),
        detail,
    };
    match (code, refusal) {
        (0, Err(_)) => serde_json::from_slice(&ended.stdout)
            .map_err(|error| tool(format!("its answer is not understood: {error}"))),
        (0, Ok(_)) => Err(tool(
            "its answer is an error although its exit status is 0".to_owned(),
        )),
        (_, Ok(Refusal { error })) => Err(refused(error, ended, program, path)),
        (code, Err(_)) => Err(match Kind::of_exit_status(code) {
            Some(kind) => {
                let said = Complaint {
                    kind,
                    path: None,
                    reason: String::new(),
                };
                refused(said, ended, program, path)
            }
            None => tool(ended.complaint()),
        }),
    }
}

fn refused(said: Complaint, ended: &Ended, program: &str, path: PathBuf) -> BackendError {
    let reason = if said.reason.is_empty() {
        ended.complaint()
    } else {
        said.reason.chars().filter(|c| !c.is_control()).collect()
    };
    let path = said.path.unwrap_or(path);
    let described = || format!("{}: {reason}", path.display());
    match said.kind {
        Kind::Unsupported => BackendError::Unsupported { path, reason },
        Kind::NotFound => BackendError::NotFound(path),
        Kind::NoSpace => BackendError::NoSpace(described()),
        Kind::Busy => BackendError::Busy(described()),
        Kind::Conflict => BackendError::Conflict(path),
        Kind::NotSealed => BackendError::NotSealed(path),
        Kind::Denied | Kind::Failed => BackendError::Tool {
            program: program.to_owned(),
            detail: described(),
        },
    }
}

/// A volume's name as a program gave it, if it can be a name.
pub(super) fn volume_name(text: &str) -> Result<&str, String> {
    if text.is_empty() || text.len() > LONGEST_VOLUME || text.chars().any(char::is_control) {
        return Err(format!(
            "a volume's name has 1 to {LONGEST_VOLUME} bytes and no control characters"
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(code: i32, stdout: &str, stderr: &str) -> Ended {
        Ended {
            status: ExitStatus::from_raw(code << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    fn error(code: i32, stdout: &str, stderr: &str) -> BackendError {
        let ended = ended(code, stdout, stderr);
        understand::<Probed>(&ended, "array: probe", "/srv/vm".into()).unwrap_err()
    }

    #[test]
    fn a_request_has_the_form_that_is_documented() {
        let request = Request {
            version: VERSION,
            verb: Verb::Commit,
            server: "FILER",
            run_dir: "/run/x",
            limit_ms: 9_000,
            about: About::Cut {
                copies: vec![Source {
                    id: "1".into(),
                    volume: "v",
                    shares: vec![Share {
                        share: "vm",
                        directory: "/srv/vm",
                        inner: "",
                    }],
                }],
                writable: true,
            },
        };
        let expected = serde_json::json!({
            "version": 1, "verb": "commit", "server": "FILER", "run_dir": "/run/x",
            "limit_ms": 9000, "writable": true,
            "copies": [{ "id": "1", "volume": "v", "shares": [
                { "share": "vm", "directory": "/srv/vm", "inner": "" }
            ]}]
        });
        assert_eq!(serde_json::to_value(request).unwrap(), expected);
    }

    #[test]
    fn answers() {
        let probed: Probed = understand(
            &ended(0, r#"{"volume":"v","inner":"a/b","more":1}"#, "noise"),
            "array",
            PathBuf::new(),
        )
        .unwrap();
        assert_eq!((&*probed.volume, probed.inner), ("v", "a/b".into()));
        let _: Done = understand(&ended(0, "{}\n", ""), "array", PathBuf::new()).unwrap();
        for garbage in ["", "ok", "{", "[]", "{} {}", r#"{"volume":1}"#, "null"] {
            let error = error(0, garbage, "");
            assert!(matches!(error, BackendError::Tool { .. }), "{garbage}");
        }
    }

    #[test]
    fn refusals_by_word_and_by_exit_status() {
        for (code, kind, text) in [
            (10, "unsupported", "/x: why"),
            (11, "not_found", "/x does not exist"),
            (12, "no_space", "no space for a snapshot of /x: why"),
            (13, "busy", "/x: why is still in use"),
            (14, "conflict", "/x exists and is not ours"),
            (15, "denied", "array: probe: /x: why"),
            (16, "not_sealed", "the copy at /x can still be written"),
        ] {
            let words = format!(r#"{{"error":{{"kind":"{kind}","path":"/x","reason":"why"}}}}"#);
            assert_eq!(error(1, &words, "").to_string(), text);
            let status = error(code, "", "why").to_string();
            let expected = text
                .replace("/x", "/srv/vm")
                .replace("why", &format!("why (exit status {code})"));
            assert_eq!(status, expected);
        }
        let failed = error(
            1,
            r#"{"error":{"kind":"failed","reason":"no licence"}}"#,
            "",
        );
        assert_eq!(failed.to_string(), "array: probe: /srv/vm: no licence");
    }

    #[test]
    fn neither_answer_nor_refusal() {
        for (code, stdout) in [
            (3, "{}"),
            (1, "garbage"),
            (1, r#"{"error":{"kind":"odd"}}"#),
            (0, r#"{"error":{"kind":"busy"}}"#),
        ] {
            let error = error(code, stdout, "");
            assert!(matches!(error, BackendError::Tool { .. }), "{stdout}");
        }
        let died = Ended {
            status: ExitStatus::from_raw(9),
            stdout: b"{}".to_vec(),
            stderr: Vec::new(),
        };
        let error = understand::<Done>(&died, "array", PathBuf::new()).unwrap_err();
        assert!(matches!(error, BackendError::Indeterminate { .. }));
    }

    #[test]
    fn names_of_volumes() {
        assert_eq!(volume_name("vg/thin: é"), Ok("vg/thin: é"));
        for bad in ["", "a\nb", &"x".repeat(1_025)] {
            volume_name(bad).unwrap_err();
        }
    }
}
