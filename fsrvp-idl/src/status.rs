//! \[2.2.4\] Error codes, and what a backend's failures become.

use serde::{Deserialize, Serialize};
use std::fmt;

/// \[2.2.4\] The HRESULT that every method returns. Only [`Status::ZERO`] is success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub u32);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name in the specification, where the code has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// Success.
    ZERO = 0x0000_0000;
    /// The caller does not have the permissions to perform the operation.
    E_ACCESSDENIED = 0x8007_0005;
    /// One or more arguments are invalid.
    E_INVALIDARG = 0x8007_0057;
    /// The call is not legal in the state of the set or the server.
    FSRVP_E_BAD_STATE = 0x8004_2301;
    /// Creation of another shadow copy set is in progress.
    FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS = 0x8004_2316;
    /// The file store of the share is not supported for shadow copies.
    FSRVP_E_NOT_SUPPORTED = 0x8004_230C;
    /// The object already exists.
    FSRVP_E_OBJECT_ALREADY_EXISTS = 0x8004_230D;
    /// The object does not exist.
    FSRVP_E_OBJECT_NOT_FOUND = 0x8004_2308;
    /// The context value is not one of \[2.2.2.2\].
    FSRVP_E_UNSUPPORTED_CONTEXT = 0x8004_231B;
    /// The ShadowCopySetId does not exist.
    FSRVP_E_SHADOWCOPYSET_ID_MISMATCH = 0x8004_2501;
    /// The wait for the commit has timed out (Commit only).
    FSSAGENT_E_TIMEOUT = 0x8004_2500;
    /// The wait for Prepare or Expose has timed out; a failure although its sign bit is clear.
    FSRVP_E_WAIT_TIMEOUT = 0x0000_0102;
    /// The wait for an operation has failed: the job was lost.
    FSRVP_E_WAIT_FAILED = 0xFFFF_FFFF;
    /// GetShareMapping before Exposed under the ws2012 profile (VSS_E_SNAPSHOT_SET_... of Windows).
    FSRVP_E_NOT_EXPOSED = 0x8004_2311;
    /// VSS_E_INSUFFICIENT_STORAGE: no space or quota for the snapshot.
    VSS_E_INSUFFICIENT_STORAGE = 0x8004_231F;
    /// VSS_E_HOLD_WRITES_TIMEOUT: the commit limit has passed.
    VSS_E_HOLD_WRITES_TIMEOUT = 0x8004_2314;
    /// VSS_E_UNEXPECTED_PROVIDER_ERROR: everything else that a backend or the store reports.
    VSS_E_UNEXPECTED_PROVIDER_ERROR = 0x8004_230F;
}

impl Status {
    /// Whether the method succeeded.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{:#010x} {name}", self.0),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}
