//! What an operator may set.

use crate::profile::Profile;
use crate::retention::Retention;
use fsrvp_idl::ShareName;
use std::collections::BTreeSet;
use std::time::Duration;

/// Configuration of one agent: one virtual file server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Behaviour profile.
    pub profile: Profile,
    /// \[3.1.4.9\] OwnerMachineName: the server's name as clients can reach it, never empty.
    pub server_name: String,
    /// Whether two shares of one volume may be in one set: one snapshot, two mappings. Always so
    /// under [`Profile::Ws2012`].
    pub allow_shared_volume: bool,
    /// \[3.1.2\] Message Sequence Timer, the 180 s of the text.
    pub short_timer: Duration,
    /// \[3.1.2\] Message Sequence Timer, the 1800 s of the text.
    pub long_timer: Duration,
    /// Longest wait that a client's TimeOutInMilliseconds can ask for.
    pub max_wait: Duration,
    /// The commit job's own limit; `None` for none.
    pub commit_limit: Option<Duration>,
    /// SetContext, Abort, DeleteShareMapping and RecoveryComplete answer within this time, as does
    /// every call that looks a share up.
    pub reply_limit: Duration,
    /// How long a commit of the store may take before whoever waits for it is told that it failed.
    pub store_limit: Duration,
    /// \[3.1.4.2\] <5> The count that ShadowCopyClientRetryCount may not exceed.
    pub retry_limit: u32,
    /// How long Recovered sets are kept that nobody deletes; for ever by default.
    pub retention: Retention,
    /// Base shares of which a snapshot is kept whenever a set with them is recovered.
    pub keep: BTreeSet<ShareName>,
}

impl AgentConfig {
    /// The defaults, for a server that clients reach as `server_name`.
    #[must_use]
    pub fn new(server_name: impl Into<String>) -> Self {
        Self {
            profile: Profile::Spec,
            server_name: server_name.into(),
            allow_shared_volume: false,
            short_timer: Duration::from_secs(180),
            long_timer: Duration::from_secs(1800),
            max_wait: Duration::from_secs(1800),
            commit_limit: Some(Duration::from_secs(10)),
            reply_limit: Duration::from_secs(170),
            store_limit: Duration::from_secs(60),
            retry_limit: 5,
            retention: Retention::default(),
            keep: BTreeSet::new(),
        }
    }

    /// Whether a second share of a volume joins the copy of the first.
    #[must_use]
    pub fn shares_volumes(&self) -> bool {
        self.allow_shared_volume || self.profile == Profile::Ws2012
    }
}
