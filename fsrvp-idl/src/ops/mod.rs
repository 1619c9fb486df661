//! \[3.1.4\] The thirteen operations: numbers, requests, responses, and their stubs in NDR 2.0.

mod request;
mod response;

pub use request::Request;
pub use response::{Response, ShareMapping};

use dcerpc_proto::ndr::NdrError;
use std::fmt;

/// Longest string argument that decodes, in UTF-16 units with the terminator. Far above
/// [`crate::names::MAX_UNC_CHARACTERS`], so that an over-long name is answered by its method and not
/// by a fault, and far below what a stub may hold.
pub const MAX_STRING_UNITS: u32 = 16_384;

/// A stub that is no call or no reply of this interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The interface has no such operation: a fault `nca_s_op_rng_error` (0x1c010002).
    #[error("opnum needed up to 12, {0} found")]
    UnknownOpnum(u16),
    /// The arguments do not decode: a fault `RPC_X_BAD_STUB_DATA` (0x6f7).
    #[error("{opnum}: {error}")]
    Stub {
        /// The operation.
        opnum: Opnum,
        /// The argument, and what is wrong with it.
        #[source]
        error: NdrError,
    },
}

/// \[3.1.4\] Operation numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Opnum {
    /// \[3.1.4.1\]
    GetSupportedVersion = 0,
    /// \[3.1.4.2\]
    SetContext = 1,
    /// \[3.1.4.3\]
    StartShadowCopySet = 2,
    /// \[3.1.4.4\]
    AddToShadowCopySet = 3,
    /// \[3.1.4.5\]
    CommitShadowCopySet = 4,
    /// \[3.1.4.6\]
    ExposeShadowCopySet = 5,
    /// \[3.1.4.7\]
    RecoveryCompleteShadowCopySet = 6,
    /// \[3.1.4.8\]
    AbortShadowCopySet = 7,
    /// \[3.1.4.9\]
    IsPathSupported = 8,
    /// \[3.1.4.10\]
    IsPathShadowCopied = 9,
    /// \[3.1.4.11\]
    GetShareMapping = 10,
    /// \[3.1.4.12\]
    DeleteShareMapping = 11,
    /// \[3.1.4.13\]
    PrepareShadowCopySet = 12,
}

impl Opnum {
    /// All operations, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::GetSupportedVersion,
        Self::SetContext,
        Self::StartShadowCopySet,
        Self::AddToShadowCopySet,
        Self::CommitShadowCopySet,
        Self::ExposeShadowCopySet,
        Self::RecoveryCompleteShadowCopySet,
        Self::AbortShadowCopySet,
        Self::IsPathSupported,
        Self::IsPathShadowCopied,
        Self::GetShareMapping,
        Self::DeleteShareMapping,
        Self::PrepareShadowCopySet,
    ];

    /// The name of the method in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetSupportedVersion => "GetSupportedVersion",
            Self::SetContext => "SetContext",
            Self::StartShadowCopySet => "StartShadowCopySet",
            Self::AddToShadowCopySet => "AddToShadowCopySet",
            Self::CommitShadowCopySet => "CommitShadowCopySet",
            Self::ExposeShadowCopySet => "ExposeShadowCopySet",
            Self::RecoveryCompleteShadowCopySet => "RecoveryCompleteShadowCopySet",
            Self::AbortShadowCopySet => "AbortShadowCopySet",
            Self::IsPathSupported => "IsPathSupported",
            Self::IsPathShadowCopied => "IsPathShadowCopied",
            Self::GetShareMapping => "GetShareMapping",
            Self::DeleteShareMapping => "DeleteShareMapping",
            Self::PrepareShadowCopySet => "PrepareShadowCopySet",
        }
    }
}

impl TryFrom<u16> for Opnum {
    type Error = DecodeError;

    fn try_from(opnum: u16) -> Result<Self, DecodeError> {
        Self::ALL
            .get(usize::from(opnum))
            .copied()
            .ok_or(DecodeError::UnknownOpnum(opnum))
    }
}

impl From<Opnum> for u16 {
    fn from(opnum: Opnum) -> Self {
        opnum as Self
    }
}

impl fmt::Display for Opnum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
