//! What the configuration says of the clone backend.

use super::{ServerConfig, ShareConfig};
use fsrvp_idl::ShareName;
use fsrvp_snapshot::clone::{self, Rules};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[server.clone]`: copies by cloning files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloneConfig {
    /// Levels of directories below a share's own; 0 for any number.
    pub depth: u32,
    /// What is done with files that have several names.
    pub hard_links: HardLinks,
    /// Free space that Prepare asks for, in percent of what the files take.
    pub reserve_percent: u32,
}

impl Default for CloneConfig {
    fn default() -> Self {
        let Rules { depth, hard_links } = Rules::default();
        Self {
            depth,
            hard_links: hard_links.into(),
            reserve_percent: 10,
        }
    }
}

/// What is done with files that have several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HardLinks {
    /// The share is refused.
    Refuse,
    /// They have them in the copy too.
    Keep,
}

impl From<HardLinks> for clone::HardLinks {
    fn from(choice: HardLinks) -> Self {
        match choice {
            HardLinks::Refuse => Self::Refuse,
            HardLinks::Keep => Self::Keep,
        }
    }
}

impl From<clone::HardLinks> for HardLinks {
    fn from(choice: clone::HardLinks) -> Self {
        match choice {
            clone::HardLinks::Refuse => Self::Refuse,
            clone::HardLinks::Keep => Self::Keep,
        }
    }
}

impl ServerConfig {
    /// What the backend of the server `name` is told.
    #[must_use]
    pub fn clone_backend(&self, name: &str) -> clone::CloneConfig {
        let rules = Rules {
            depth: self.clone.depth,
            hard_links: self.clone.hard_links.into(),
        };
        clone::CloneConfig {
            rules,
            share_rules: self.share_rules(rules),
            commit_limit: (!self.commit_limit.is_zero()).then_some(self.commit_limit),
            reserve_percent: self.clone.reserve_percent,
            ..clone::CloneConfig::new(name, &self.run_dir)
        }
    }

    fn share_rules(&self, rules: Rules) -> BTreeMap<ShareName, Rules> {
        let own = |share: &ShareConfig| {
            let of_share = Rules {
                depth: share.depth.unwrap_or(rules.depth),
                hard_links: share.hard_links.map_or(rules.hard_links, Into::into),
            };
            (ShareName::new(&share.name), of_share)
        };
        self.shares.iter().map(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use fsrvp_idl::ShareName;
    use fsrvp_snapshot::clone::{HardLinks, Rules};
    use std::path::Path;

    #[test]
    fn a_share_overrides_what_it_names() {
        let text = "[[server]]\n[server.clone]\ndepth = 0\n\
                    [[server.share]]\nname = 'VM'\nhard_links = 'keep'\n\
                    [[server.share]]\nname = 'b'\ndepth = 2\n";
        let config = Config::parse(text, Path::new("fsrvpd.toml")).unwrap();
        let backend = config.servers[0].clone_backend("LAB");
        let rules = |depth, hard_links| Rules { depth, hard_links };
        assert_eq!(backend.rules, rules(0, HardLinks::Refuse));
        assert_eq!(backend.reserve_percent, 10);
        let of = |share| backend.share_rules[&ShareName::new(share)];
        assert_eq!(of("vm"), rules(0, HardLinks::Keep));
        assert_eq!(of("b"), rules(2, HardLinks::Refuse));
    }

    #[test]
    fn the_default_is_five_levels_and_no_links() {
        let config = Config::parse("[[server]]\n", Path::new("fsrvpd.toml")).unwrap();
        let backend = config.servers[0].clone_backend("LAB");
        assert_eq!(backend.rules.depth, 5);
        assert_eq!(backend.rules.hard_links, HardLinks::Refuse);
        assert_eq!(backend.commit_limit.unwrap().as_secs(), 10);
    }
}
