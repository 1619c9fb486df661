//! \[2.2.2.2\] CONTEXT_VALUES.

use serde::{Deserialize, Serialize};

bitflags::bitflags! {
    /// The attribute bits that CONTEXT_VALUES are made of (\[2.2.2.1\], \[2.2.2.2\]).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Attributes: u32 {
        const PERSISTENT = 0x0000_0001;
        const NO_AUTO_RECOVERY = 0x0000_0002;
        const NO_AUTO_RELEASE = 0x0000_0008;
        const NO_WRITERS = 0x0000_0010;
        const AUTO_RECOVERY = 0x0040_0000;
    }
}

/// A context that the server accepts: one of BACKUP (0x00), APP_ROLLBACK (0x09),
/// FILE_SHARE_BACKUP (0x10), NAS_ROLLBACK (0x19), alone or with exactly one recovery bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Context(u32);

/// The value is not one of \[2.2.2.2\].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("context {0:#010x} is not a CONTEXT_VALUE")]
pub struct UnsupportedContext(pub u32);

impl TryFrom<u32> for Context {
    type Error = UnsupportedContext;

    fn try_from(value: u32) -> Result<Self, UnsupportedContext> {
        let attributes = Attributes::from_bits(value).ok_or(UnsupportedContext(value))?;
        let recovery = Attributes::NO_AUTO_RECOVERY | Attributes::AUTO_RECOVERY;
        let base = attributes.difference(recovery).bits();
        let both = attributes.contains(recovery);
        match base {
            0x00 | 0x09 | 0x10 | 0x19 if !both => Ok(Self(value)),
            _ => Err(UnsupportedContext(value)),
        }
    }
}

impl From<Context> for u32 {
    fn from(context: Context) -> Self {
        context.0
    }
}

impl Context {
    /// The value on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    fn attributes(self) -> Attributes {
        Attributes::from_bits_retain(self.0)
    }

    /// ATTR_AUTO_RECOVERY: the copy is writable between Expose and RecoveryComplete.
    #[must_use]
    pub fn is_auto_recovery(self) -> bool {
        self.attributes().contains(Attributes::AUTO_RECOVERY)
    }

    /// ATTR_PERSISTENT: the set outlives a reboot of the server.
    #[must_use]
    pub fn is_persistent(self) -> bool {
        self.attributes().contains(Attributes::PERSISTENT)
    }
}
