//! What the campaigns are told on the command line. `xtask` has this file as well: it can say what a campaign takes before
//! any is built.

use std::path::PathBuf;

/// What copies the shares of a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Backend {
    /// btrfs snapshots
    #[default]
    Btrfs,
    /// Clones on XFS
    Clone,
    /// Snapshots and clones of zfs-fuse
    Zfs,
    /// The example of a program of the site, on XFS
    Exec,
    /// Plain copies on ext4
    Copy,
}

#[derive(clap::Args)]
pub(crate) struct Crash {
    /// What makes the copies
    #[arg(long, value_enum, default_value_t)]
    pub(crate) backend: Backend,
    /// Kills with all that belongs to one: walk, restart, comparison, the next backup
    #[arg(long, default_value_t = 25)]
    pub(crate) cycles: u64,
    /// Repeats the random choices of an earlier run
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Where a violation's evidence goes
    #[arg(long, default_value = "target/campaigns")]
    pub(crate) evidence: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct Content {
    /// What makes the copies
    #[arg(long, value_enum, default_value_t)]
    pub(crate) backend: Backend,
    /// Copies that are compared
    #[arg(long, default_value_t = 5)]
    pub(crate) cycles: u64,
    /// Repeats the random choices of an earlier run
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct Endurance {
    /// Whole sets on the pipe's socket
    #[arg(long, default_value_t = 200)]
    pub(crate) cycles: u64,
    /// Whole sets by `rpcclient` through smbd
    #[arg(long, default_value_t = 10)]
    pub(crate) through_smbd: u64,
}

#[derive(clap::Args)]
pub(crate) struct Scale {
    /// Recorded copies, each with snapshot, share and previous version
    #[arg(long, default_value_t = 10_000)]
    pub(crate) copies: usize,
    /// Measures, and does not judge
    #[arg(long)]
    pub(crate) only_measure: bool,
}

#[derive(clap::Args)]
pub(crate) struct PowerCuts {
    /// Cuts with all that belongs to one: load, boot, comparison, the next backup
    #[arg(long, default_value_t = 10)]
    pub(crate) cuts: u64,
    /// Repeats the random choices of an earlier run
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Where a violation's evidence goes
    #[arg(long, default_value = "target/campaigns")]
    pub(crate) evidence: PathBuf,
}
