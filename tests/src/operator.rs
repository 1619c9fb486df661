//! A backup on the pipe's own socket, one call at a time: it does without smbd, and the test sees
//! every status.

use crate::{CaseResult, fail};
use fsrvp_client::{ClientError, LazyClient};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Request, Response, ShadowCopyId, ShadowCopySetId,
    Status,
};
use fsrvp_testkit::Lab;
use libtest_mimic::Failed;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The client's RPC timer: \[3.2.2\].
const CALL_LIMIT: Duration = Duration::from_secs(180);
/// Longest wait that Prepare, Commit and Expose ask for, unless a test says otherwise.
const WAIT_MS: u32 = 60_000;

/// The calls of a backup, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Step {
    SetContext,
    Start,
    Add,
    Prepare,
    Commit,
    Expose,
    Recover,
    Delete,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SetContext,
        Self::Start,
        Self::Add,
        Self::Prepare,
        Self::Commit,
        Self::Expose,
        Self::Recover,
        Self::Delete,
    ];
}

/// A writable, persistent backup of some shares.
pub struct Backup {
    client: LazyClient,
    shares: Vec<String>,
    /// What Prepare, Commit and Expose ask for.
    pub wait_ms: u32,
    /// Its set.
    pub set: ShadowCopySetId,
    /// Its copies, in the order of the shares.
    pub copies: Vec<ShadowCopyId>,
}

impl Backup {
    /// A backup of these shares that has not called yet.
    ///
    /// # Errors
    /// When there is no runtime.
    pub fn of(lab: &Lab, shares: &[&str]) -> Result<Self, Failed> {
        Self::at(lab.pipe(), shares)
    }

    /// The same on the pipe socket of an agent that no laboratory has started.
    ///
    /// # Errors
    /// When there is no runtime.
    pub fn at(socket: PathBuf, shares: &[&str]) -> Result<Self, Failed> {
        Ok(Self {
            client: LazyClient::new(socket, CALL_LIMIT)?,
            shares: shares.iter().map(|share| (*share).to_owned()).collect(),
            wait_ms: WAIT_MS,
            set: ShadowCopySetId(Uuid::nil()),
            copies: Vec::new(),
        })
    }

    /// The name under which a share's copy is exposed.
    #[must_use]
    pub fn exposed(&self, share: usize) -> String {
        let name = self.shares.get(share).map_or("?", String::as_str);
        let copy = self.copies.get(share).map(ToString::to_string);
        format!("{name}@{{{}}}", copy.unwrap_or_default())
    }

    /// Makes a call; a broken connection is made anew once.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn call(&mut self, request: &Request) -> Result<Response, Failed> {
        match self.try_call(request) {
            Err(ClientError::Closed | ClientError::Io(_) | ClientError::Pipe(_)) => {
                Ok(self.try_call(request)?)
            }
            done => Ok(done?),
        }
    }

    fn try_call(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.client.call(async |client| client.call(request).await)
    }

    /// Makes the calls of one step; the status of the first that fails.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn step(&mut self, step: Step) -> Result<Status, Failed> {
        let (set, timeout_ms) = (self.set, self.wait_ms);
        let request = match step {
            Step::SetContext => Request::SetContext {
                context: 0x0040_0009,
            },
            Step::Start => Request::StartShadowCopySet {
                client_shadow_copy_set_id: ClientShadowCopySetId(Uuid::new_v4()),
            },
            Step::Add => return self.add_all(),
            Step::Prepare => Request::PrepareShadowCopySet {
                shadow_copy_set_id: set,
                timeout_ms,
            },
            Step::Commit => Request::CommitShadowCopySet {
                shadow_copy_set_id: set,
                timeout_ms,
            },
            Step::Expose => Request::ExposeShadowCopySet {
                shadow_copy_set_id: set,
                timeout_ms,
            },
            Step::Recover => Request::RecoveryCompleteShadowCopySet {
                shadow_copy_set_id: set,
            },
            Step::Delete => return self.delete_all(),
        };
        let response = self.call(&request)?;
        if let Response::StartShadowCopySet {
            shadow_copy_set_id,
            status: Status::ZERO,
        } = &response
        {
            self.set = *shadow_copy_set_id;
            self.copies.clear();
        }
        Ok(response.status())
    }

    fn add_all(&mut self) -> Result<Status, Failed> {
        while let Some(share) = self.shares.get(self.copies.len()) {
            let request = Request::AddToShadowCopySet {
                client_shadow_copy_id: ClientShadowCopyId(Uuid::new_v4()),
                shadow_copy_set_id: self.set,
                share_name: unc(share),
            };
            match self.call(&request)? {
                Response::AddToShadowCopySet {
                    shadow_copy_id,
                    status: Status::ZERO,
                } => self.copies.push(shadow_copy_id),
                refused => return Ok(refused.status()),
            }
        }
        Ok(Status::ZERO)
    }

    fn delete_all(&mut self) -> Result<Status, Failed> {
        while let Some(copy) = self.copies.last().copied() {
            let share = self.shares.get(self.copies.len() - 1);
            let request = Request::DeleteShareMapping {
                shadow_copy_set_id: self.set,
                shadow_copy_id: copy,
                share_name: unc(share.map_or("?", String::as_str)),
            };
            let status = self.call(&request)?.status();
            if !status.is_ok() {
                return Ok(status);
            }
            self.copies.pop();
        }
        Ok(Status::ZERO)
    }

    /// Ends the set in any state short of Recovered.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn abort(&mut self) -> Result<Status, Failed> {
        let request = Request::AbortShadowCopySet {
            shadow_copy_set_id: self.set,
        };
        Ok(self.call(&request)?.status())
    }

    /// A step that has to succeed.
    ///
    /// # Errors
    /// Its status.
    pub fn does(&mut self, step: Step) -> CaseResult {
        match self.step(step)? {
            Status::ZERO => Ok(()),
            status => fail(format!("{step:?}: {status}")),
        }
    }

    /// All steps from the first to `last`, which have to succeed.
    ///
    /// # Errors
    /// The status of the one that does not.
    pub fn walks(&mut self, last: Step) -> CaseResult {
        for step in Step::ALL.into_iter().filter(|step| *step <= last) {
            self.does(step)?;
        }
        Ok(())
    }

    /// A step that has to be refused with this status, within this time.
    ///
    /// # Errors
    /// When it is not.
    pub fn is_refused(&mut self, step: Step, status: Status, within: Duration) -> CaseResult {
        let began = Instant::now();
        let found = self.step(step)?;
        if found != status {
            return fail(format!("{step:?}: {found}, not {status}"));
        }
        if began.elapsed() > within {
            return fail(format!(
                "{step:?}: {status} only after {:?}",
                began.elapsed()
            ));
        }
        Ok(())
    }
}

fn unc(share: &str) -> String {
    format!(r"\\127.0.0.1\{share}")
}
