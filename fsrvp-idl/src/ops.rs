//! \[3.1.4\] The thirteen operations: numbers, requests, responses.

use crate::ids::{ClientShadowCopyId, ClientShadowCopySetId, ShadowCopyId, ShadowCopySetId};
use crate::status::Status;
use crate::time::FileTime;

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

/// A decoded call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    /// \[3.1.4.1\] GetSupportedVersion (Opnum 0)
    GetSupportedVersion,
    /// \[3.1.4.2\] SetContext (Opnum 1)
    SetContext { context: u32 },
    /// \[3.1.4.3\] StartShadowCopySet (Opnum 2)
    StartShadowCopySet {
        client_shadow_copy_set_id: ClientShadowCopySetId,
    },
    /// \[3.1.4.4\] AddToShadowCopySet (Opnum 3)
    AddToShadowCopySet {
        client_shadow_copy_id: ClientShadowCopyId,
        shadow_copy_set_id: ShadowCopySetId,
        share_name: String,
    },
    /// \[3.1.4.5\] CommitShadowCopySet (Opnum 4)
    CommitShadowCopySet {
        shadow_copy_set_id: ShadowCopySetId,
        timeout_ms: u32,
    },
    /// \[3.1.4.6\] ExposeShadowCopySet (Opnum 5)
    ExposeShadowCopySet {
        shadow_copy_set_id: ShadowCopySetId,
        timeout_ms: u32,
    },
    /// \[3.1.4.7\] RecoveryCompleteShadowCopySet (Opnum 6)
    RecoveryCompleteShadowCopySet { shadow_copy_set_id: ShadowCopySetId },
    /// \[3.1.4.8\] AbortShadowCopySet (Opnum 7)
    AbortShadowCopySet { shadow_copy_set_id: ShadowCopySetId },
    /// \[3.1.4.9\] IsPathSupported (Opnum 8)
    IsPathSupported { share_name: String },
    /// \[3.1.4.10\] IsPathShadowCopied (Opnum 9)
    IsPathShadowCopied { share_name: String },
    /// \[3.1.4.11\] GetShareMapping (Opnum 10)
    GetShareMapping {
        shadow_copy_id: ShadowCopyId,
        shadow_copy_set_id: ShadowCopySetId,
        share_name: String,
        level: u32,
    },
    /// \[3.1.4.12\] DeleteShareMapping (Opnum 11)
    DeleteShareMapping {
        shadow_copy_set_id: ShadowCopySetId,
        shadow_copy_id: ShadowCopyId,
        share_name: String,
    },
    /// \[3.1.4.13\] PrepareShadowCopySet (Opnum 12)
    PrepareShadowCopySet {
        shadow_copy_set_id: ShadowCopySetId,
        timeout_ms: u32,
    },
}

/// \[2.2.3.1\] FSSAGENT_SHARE_MAPPING_1
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareMapping {
    /// ShadowCopySetId.
    pub shadow_copy_set_id: ShadowCopySetId,
    /// ShadowCopyId.
    pub shadow_copy_id: ShadowCopyId,
    /// ShareNameUNC: the name as the client gave it in AddToShadowCopySet.
    pub share_name_unc: String,
    /// ShadowCopyShareName: the bare name of the exposed share.
    pub shadow_copy_share_name: String,
    /// CreationTimestamp.
    pub creation_timestamp: FileTime,
}

/// A reply. A failed call answers with a complete stub: NULL GUIDs and pointers, zero numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Response {
    /// \[3.1.4.1\]
    GetSupportedVersion {
        min_version: u32,
        max_version: u32,
        status: Status,
    },
    /// \[3.1.4.2\]
    SetContext { status: Status },
    /// \[3.1.4.3\]
    StartShadowCopySet {
        shadow_copy_set_id: ShadowCopySetId,
        status: Status,
    },
    /// \[3.1.4.4\]
    AddToShadowCopySet {
        shadow_copy_id: ShadowCopyId,
        status: Status,
    },
    /// \[3.1.4.5\]
    CommitShadowCopySet { status: Status },
    /// \[3.1.4.6\]
    ExposeShadowCopySet { status: Status },
    /// \[3.1.4.7\]
    RecoveryCompleteShadowCopySet { status: Status },
    /// \[3.1.4.8\]
    AbortShadowCopySet { status: Status },
    /// \[3.1.4.9\] `owner_machine_name` is `None` (NULL) on failure.
    IsPathSupported {
        supported_by_this_provider: bool,
        owner_machine_name: Option<String>,
        status: Status,
    },
    /// \[3.1.4.10\]
    IsPathShadowCopied {
        shadow_copy_present: bool,
        shadow_copy_compatibility: i32,
        status: Status,
    },
    /// \[3.1.4.11\] `mapping` is `None` (NULL) on failure.
    GetShareMapping {
        level: u32,
        mapping: Option<ShareMapping>,
        status: Status,
    },
    /// \[3.1.4.12\]
    DeleteShareMapping { status: Status },
    /// \[3.1.4.13\]
    PrepareShadowCopySet { status: Status },
}
