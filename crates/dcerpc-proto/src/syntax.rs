//! Syntax identifiers: interfaces and transfer syntaxes.

use std::fmt;
use uuid::{Uuid, uuid};

/// \[C706 12.6.3.1\] p_syntax_id_t: an interface or a transfer syntax with its version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SyntaxId {
    /// The interface or syntax.
    pub uuid: Uuid,
    /// Major version in the low, minor version in the high 16 bits.
    pub version: u32,
}

impl SyntaxId {
    /// \[C706 14\] NDR 2.0, the transfer syntax that we speak.
    pub const NDR20: Self = Self::new(uuid!("8a885d04-1ceb-11c9-9fe8-08002b104860"), 2, 0);
    /// \[MS-RPCE 2.2.4.12\] NDR64, which we decline.
    pub const NDR64: Self = Self::new(uuid!("71710533-beba-4937-8319-b5dbef9ccc36"), 1, 0);
    /// The remote management interface (C706 appendix Q).
    pub const MGMT: Self = Self::new(uuid!("afa8bd80-7d8a-11c9-bef4-08002b102989"), 1, 0);
    /// All zero, as in the result of a rejected context.
    pub const NULL: Self = Self {
        uuid: Uuid::nil(),
        version: 0,
    };

    /// An interface or syntax by UUID and version.
    #[must_use]
    pub const fn new(uuid: Uuid, major: u16, minor: u16) -> Self {
        Self {
            uuid,
            version: (minor as u32) << 16 | major as u32,
        }
    }

    /// Major version.
    #[must_use]
    pub const fn major(self) -> u16 {
        (self.version & 0xFFFF) as u16
    }

    /// Minor version.
    #[must_use]
    pub const fn minor(self) -> u16 {
        (self.version >> 16) as u16
    }
}

impl fmt::Display for SyntaxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}.{}",
            self.uuid.as_hyphenated(),
            self.major(),
            self.minor()
        )
    }
}

impl fmt::Debug for SyntaxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
