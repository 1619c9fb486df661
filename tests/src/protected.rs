//! Whole walks with a given protection, and what the agent's log says of them.

use crate::{CaseResult, fail};
use fsrvp_testkit::{Output, Run};
use libtest_mimic::Failed;
use std::path::{Path, PathBuf};

/// Every way in which Samba's clients protect calls with NTLM.
pub const NTLM_OPTIONS: [&str; 6] = [
    "sign",
    "seal",
    "sign,spnego",
    "seal,spnego",
    "sign,ntlm",
    "seal,ntlm",
];

/// A walk of `rpcclient` from SetContext to DeleteShareMapping; `rpcclient` makes the program for
/// its commands.
///
/// # Errors
/// The first answer that is not success.
pub fn whole_walk(rpcclient: impl Fn(&str) -> Run, share: &str) -> CaseResult {
    let supported = format!("fss_get_sup_version; fss_is_path_sup {share}");
    succeeded(&rpcclient(&supported).output()?)?;
    let create = rpcclient(&format!("fss_create_expose backup rw {share}")).output()?;
    succeeded(&create)?;
    let (set, copy) = ids(&create)?;
    let commands = [
        format!("fss_get_mapping {share} {set} {copy}"),
        format!("fss_recovery_complete {set}"),
        format!("fss_has_shadow_copy {share}"),
        format!("fss_delete {share} {set} {copy}"),
    ];
    // On one connection, so that several calls go through one security context.
    succeeded(&rpcclient(&commands.join("; ")).output()?)
}

/// `SET(COPY): share SHARE@{COPY} exposed as a snapshot of UNC`
fn ids(output: &Output) -> Result<(String, String), Failed> {
    let ids = output.stdout.lines().find_map(|line| {
        let (ids, _) = line.split_once("): share ")?;
        let (set, copy) = ids.split_once('(')?;
        Some((set.to_owned(), copy.to_owned()))
    });
    ids.ok_or_else(|| Failed::from(format!("no copy: {}", output.text())))
}

/// rpcclient's exit status does not tell a refusal from success.
///
/// # Errors
/// What rpcclient printed.
pub fn succeeded(output: &Output) -> CaseResult {
    let words = ["failed", "NT_STATUS_", "Cannot connect"];
    if output.status.success() && !words.iter().any(|word| output.says(word)) {
        Ok(())
    } else {
        fail(output.text())
    }
}

/// rpcclient was told E_ACCESSDENIED by the method itself, not by the RPC runtime.
///
/// # Errors
/// What rpcclient printed.
pub fn denied(output: &Output) -> CaseResult {
    if output.says("0x80070005") {
        Ok(())
    } else {
        fail(format!("not E_ACCESSDENIED: {}", output.text()))
    }
}

/// rpcclient got fault 5 or its logon was refused.
///
/// # Errors
/// What rpcclient printed.
pub fn faulted(output: &Output) -> CaseResult {
    let refused = [
        "NT_STATUS_ACCESS_DENIED",
        "NT_STATUS_LOGON_FAILURE",
        "NT_STATUS_ACCOUNT_DISABLED",
        "NT_STATUS_ACCOUNT_LOCKED_OUT",
        "NT_STATUS_RPC_SEC_PKG_ERROR",
    ];
    if !output.says("supports FSRVP") && refused.iter().any(|word| output.says(word)) {
        Ok(())
    } else {
        fail(format!("not refused: {}", output.text()))
    }
}

/// A moment in the agent's log.
#[derive(Debug)]
pub struct LogMark {
    log: PathBuf,
    length: usize,
}

impl LogMark {
    /// Now.
    #[must_use]
    pub fn now(log: &Path) -> Self {
        Self {
            log: log.to_owned(),
            length: std::fs::read(log).map_or(0, |log| log.len()),
        }
    }

    /// What was logged since.
    #[must_use]
    pub fn since(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.length..).unwrap_or_default()).into_owned()
    }

    /// One line since then holds all these words.
    ///
    /// # Errors
    /// What was logged.
    pub fn says(&self, words: &[&str]) -> CaseResult {
        let log = self.since();
        if log
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
        {
            return Ok(());
        }
        fail(format!("no line with {words:?} in the log:\n{log}"))
    }
}
