//! What is kept when a campaign has found something.

use crate::Outcome;
use crate::backend::Backend;
use crate::observed::Observed;
use crate::view::View;
use crate::walker::Walker;
use std::fs;
use std::path::Path;

/// Longest part of the agent's log that is kept, in bytes.
const LOG: usize = 400_000;

/// Where and when.
pub(crate) struct Evidence<'a> {
    pub(crate) campaign: &'static str,
    pub(crate) seed: u64,
    pub(crate) place: &'a Path,
    pub(crate) cycle: u64,
    /// What the cycle did.
    pub(crate) did: &'a str,
}

impl Evidence<'_> {
    /// Keeps all that shows what happened, removes the laboratory, and says so.
    pub(crate) fn keep(&self, walker: Walker, error: &str) -> Outcome<String> {
        let Self {
            campaign,
            seed,
            cycle,
            did,
            ..
        } = self;
        let place = self.place.join(format!("{campaign}-{seed}"));
        fs::create_dir_all(&place)?;
        let lab = &walker.stage.lab;
        fs::write(place.join("violation"), error)?;
        fs::write(place.join("cycle"), did)?;
        fs::write(place.join("ledger"), format!("{:#?}", walker.ledger))?;
        let view = View::ask(&lab.admin_socket());
        fs::write(place.join("view"), format!("{view:#?}"))?;
        let observed = Observed::look(&walker.stage);
        fs::write(place.join("observed"), format!("{observed:#?}"))?;
        let log = fs::read(lab.agent_log())?;
        let tail = log.len().saturating_sub(LOG);
        fs::write(place.join("log"), log.get(tail..).unwrap_or_default())?;
        let backend = match walker.stage.backend {
            Backend::Btrfs => String::new(),
            other => format!("--backend {} ", other.word()),
        };
        walker.stage.lab.down()?;
        Ok(format!(
            "violation in cycle {cycle} of seed {seed} ({did}):\n{error}\nthe rest is in {}; again \
             with: cargo xtask {campaign} {backend}--seed {seed}",
            place.display()
        ))
    }
}
