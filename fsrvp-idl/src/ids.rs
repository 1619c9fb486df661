//! Identifiers of shadow copies and shadow copy sets.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The NULL GUID, which no object ever has.
            pub const NULL: Self = Self(Uuid::nil());

            /// Whether this is the NULL GUID.
            #[must_use]
            pub const fn is_null(self) -> bool {
                self.0.is_nil()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }
    };
}

guid! {
    /// \[3.1.1.2\] ShadowCopySetId, chosen by the server.
    ShadowCopySetId
}
guid! {
    /// \[3.1.1.3\] ShadowCopyId, chosen by the server.
    ShadowCopyId
}
guid! {
    /// \[3.1.4.3\] ClientShadowCopySetId, chosen by the client.
    ClientShadowCopySetId
}
guid! {
    /// \[3.1.4.4\] ClientShadowCopyId, chosen by the client; the server tells it in events alone.
    ClientShadowCopyId
}
