//! The two behaviour profiles: what the specification says, and what Windows Server 2012 does.

use fsrvp_idl::Status;
use serde::{Deserialize, Serialize};

/// Which server the agent behaves like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The text of MS-FSRVP, with the deviations that `docs/` lists.
    #[default]
    Spec,
    /// Windows Server 2012 as its clients and Samba's tests know it.
    Ws2012,
}

impl Profile {
    /// \[3.1.4.4\] to \[3.1.4.8\], \[3.1.4.11\] "If no shadow copy set is found, the server MUST
    /// fail the call with FSRVP_E_SHADOWCOPYSET_ID_MISMATCH" (Windows Server 2012: E_INVALIDARG).
    #[must_use]
    pub const fn unknown_set(self) -> Status {
        match self {
            Self::Spec => Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH,
            Self::Ws2012 => Status::E_INVALIDARG,
        }
    }

    /// \[3.1.4.12\] "If no entry is found, the server MUST fail the call with
    /// FSRVP_E_OBJECT_NOT_FOUND": an unknown copy or share of DeleteShareMapping.
    #[must_use]
    pub const fn unknown_mapping(self) -> Status {
        match self {
            Self::Spec => Status::FSRVP_E_OBJECT_NOT_FOUND,
            Self::Ws2012 => Status::E_INVALIDARG,
        }
    }

    /// \[3.1.4.11\] <10> GetShareMapping before Exposed.
    #[must_use]
    pub const fn mapping_before_exposed(self) -> Status {
        match self {
            Self::Spec => Status::FSRVP_E_BAD_STATE,
            Self::Ws2012 => Status::FSRVP_E_NOT_EXPOSED,
        }
    }

    /// Whether a set that is Exposed no longer counts as being created: SetContext and
    /// StartShadowCopySet go past it, and it has a deadline of its own.
    #[must_use]
    pub const fn sets_exposed_aside(self) -> bool {
        matches!(self, Self::Ws2012)
    }

    /// \[3.1.4.2\] <5> "Windows Server 2012 doesn't perform this verification" of the retry count.
    #[must_use]
    pub const fn limits_retries(self) -> bool {
        matches!(self, Self::Spec)
    }
}
