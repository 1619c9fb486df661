//! Replies and their stubs.

use super::{DecodeError, MAX_STRING_UNITS, Opnum};
use crate::ids::{ShadowCopyId, ShadowCopySetId};
use crate::status::Status;
use crate::time::FileTime;
use bytes::Bytes;
use dcerpc_proto::ByteOrder;
use dcerpc_proto::ndr::{NdrError, NdrReader, NdrWriter};

/// \[2.2.1.1\] FSSAGENT_SHARE_MAPPING_1
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareMapping {
    /// ShadowCopySetId.
    pub shadow_copy_set_id: ShadowCopySetId,
    /// ShadowCopyId.
    pub shadow_copy_id: ShadowCopyId,
    /// ShareNameUNC: the name as the client gave it in AddToShadowCopySet.
    pub share_name_unc: String,
    /// ShadowCopyShareName: the bare name of the exposed share; `None` (NULL) while it is not
    /// exposed, which other servers answer and ours never does.
    pub shadow_copy_share_name: Option<String>,
    /// CreationTimestamp.
    pub creation_timestamp: FileTime,
}

/// \[2.2.3.1\] The only level of FSSAGENT_SHARE_MAPPING that has an arm.
const LEVEL_1: u32 = 1;

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
    /// \[3.1.4.11\] `level` is the one of the call; `mapping` is `None` (NULL) on failure and at any
    /// level but 1.
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

impl Response {
    /// The reply of a call that failed: zero GUIDs, NULL pointers, zero numbers, `status`. For
    /// GetShareMapping it fits only callers that asked for level 1; see
    /// [`super::Request::failed`].
    #[must_use]
    pub const fn failed(opnum: Opnum, status: Status) -> Self {
        match opnum {
            Opnum::GetSupportedVersion => Self::GetSupportedVersion {
                min_version: 0,
                max_version: 0,
                status,
            },
            Opnum::SetContext => Self::SetContext { status },
            Opnum::StartShadowCopySet => Self::StartShadowCopySet {
                shadow_copy_set_id: ShadowCopySetId::NULL,
                status,
            },
            Opnum::AddToShadowCopySet => Self::AddToShadowCopySet {
                shadow_copy_id: ShadowCopyId::NULL,
                status,
            },
            Opnum::CommitShadowCopySet => Self::CommitShadowCopySet { status },
            Opnum::ExposeShadowCopySet => Self::ExposeShadowCopySet { status },
            Opnum::RecoveryCompleteShadowCopySet => Self::RecoveryCompleteShadowCopySet { status },
            Opnum::AbortShadowCopySet => Self::AbortShadowCopySet { status },
            Opnum::IsPathSupported => Self::IsPathSupported {
                supported_by_this_provider: false,
                owner_machine_name: None,
                status,
            },
            Opnum::IsPathShadowCopied => Self::IsPathShadowCopied {
                shadow_copy_present: false,
                shadow_copy_compatibility: 0,
                status,
            },
            Opnum::GetShareMapping => Self::GetShareMapping {
                level: LEVEL_1,
                mapping: None,
                status,
            },
            Opnum::DeleteShareMapping => Self::DeleteShareMapping { status },
            Opnum::PrepareShadowCopySet => Self::PrepareShadowCopySet { status },
        }
    }

    /// The operation.
    #[must_use]
    pub const fn opnum(&self) -> Opnum {
        match self {
            Self::GetSupportedVersion { .. } => Opnum::GetSupportedVersion,
            Self::SetContext { .. } => Opnum::SetContext,
            Self::StartShadowCopySet { .. } => Opnum::StartShadowCopySet,
            Self::AddToShadowCopySet { .. } => Opnum::AddToShadowCopySet,
            Self::CommitShadowCopySet { .. } => Opnum::CommitShadowCopySet,
            Self::ExposeShadowCopySet { .. } => Opnum::ExposeShadowCopySet,
            Self::RecoveryCompleteShadowCopySet { .. } => Opnum::RecoveryCompleteShadowCopySet,
            Self::AbortShadowCopySet { .. } => Opnum::AbortShadowCopySet,
            Self::IsPathSupported { .. } => Opnum::IsPathSupported,
            Self::IsPathShadowCopied { .. } => Opnum::IsPathShadowCopied,
            Self::GetShareMapping { .. } => Opnum::GetShareMapping,
            Self::DeleteShareMapping { .. } => Opnum::DeleteShareMapping,
            Self::PrepareShadowCopySet { .. } => Opnum::PrepareShadowCopySet,
        }
    }

    /// The HRESULT.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::GetSupportedVersion { status, .. }
            | Self::SetContext { status }
            | Self::StartShadowCopySet { status, .. }
            | Self::AddToShadowCopySet { status, .. }
            | Self::CommitShadowCopySet { status }
            | Self::ExposeShadowCopySet { status }
            | Self::RecoveryCompleteShadowCopySet { status }
            | Self::AbortShadowCopySet { status }
            | Self::IsPathSupported { status, .. }
            | Self::IsPathShadowCopied { status, .. }
            | Self::GetShareMapping { status, .. }
            | Self::DeleteShareMapping { status }
            | Self::PrepareShadowCopySet { status } => *status,
        }
    }

    /// The reply as a little-endian stub.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = NdrWriter::new();
        match self {
            Self::GetSupportedVersion {
                min_version,
                max_version,
                ..
            } => {
                writer.u32(*min_version);
                writer.u32(*max_version);
            }
            Self::StartShadowCopySet {
                shadow_copy_set_id, ..
            } => writer.guid(shadow_copy_set_id.0),
            Self::AddToShadowCopySet { shadow_copy_id, .. } => writer.guid(shadow_copy_id.0),
            Self::IsPathSupported {
                supported_by_this_provider,
                owner_machine_name,
                ..
            } => {
                writer.u32(u32::from(*supported_by_this_provider));
                writer.unique_string(owner_machine_name.as_deref());
                writer.deferred();
            }
            Self::IsPathShadowCopied {
                shadow_copy_present,
                shadow_copy_compatibility,
                ..
            } => {
                writer.u32(u32::from(*shadow_copy_present));
                writer.u32(shadow_copy_compatibility.cast_unsigned());
            }
            Self::GetShareMapping { level, mapping, .. } => {
                writer.u32(*level);
                match mapping {
                    Some(mapping) if *level == LEVEL_1 => mapping.write(&mut writer),
                    None if *level == LEVEL_1 => writer.null(),
                    // The union's default arm is empty: not even a pointer stands for it.
                    Some(_) | None => {}
                }
            }
            Self::SetContext { .. }
            | Self::CommitShadowCopySet { .. }
            | Self::ExposeShadowCopySet { .. }
            | Self::RecoveryCompleteShadowCopySet { .. }
            | Self::AbortShadowCopySet { .. }
            | Self::DeleteShareMapping { .. }
            | Self::PrepareShadowCopySet { .. } => {}
        }
        writer.u32(self.status().0);
        writer.finish()
    }

    /// Decodes a reply. Beside it comes what follows, which a server should not have sent.
    ///
    /// # Errors
    /// [`DecodeError::Stub`].
    pub fn decode(
        opnum: Opnum,
        stub: &[u8],
        order: ByteOrder,
    ) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = NdrReader::new(stub, order);
        match Self::read(opnum, &mut reader) {
            Ok(response) => Ok((response, reader.rest())),
            Err(error) => Err(DecodeError::Stub { opnum, error }),
        }
    }

    fn read(opnum: Opnum, reader: &mut NdrReader<'_>) -> Result<Self, NdrError> {
        Ok(match opnum {
            Opnum::GetSupportedVersion => Self::GetSupportedVersion {
                min_version: reader.u32("MinVersion")?,
                max_version: reader.u32("MaxVersion")?,
                status: status(reader)?,
            },
            Opnum::SetContext => Self::SetContext {
                status: status(reader)?,
            },
            Opnum::StartShadowCopySet => Self::StartShadowCopySet {
                shadow_copy_set_id: ShadowCopySetId(reader.guid("pShadowCopySetId")?),
                status: status(reader)?,
            },
            Opnum::AddToShadowCopySet => Self::AddToShadowCopySet {
                shadow_copy_id: ShadowCopyId(reader.guid("pShadowCopyId")?),
                status: status(reader)?,
            },
            Opnum::CommitShadowCopySet => Self::CommitShadowCopySet {
                status: status(reader)?,
            },
            Opnum::ExposeShadowCopySet => Self::ExposeShadowCopySet {
                status: status(reader)?,
            },
            Opnum::RecoveryCompleteShadowCopySet => Self::RecoveryCompleteShadowCopySet {
                status: status(reader)?,
            },
            Opnum::AbortShadowCopySet => Self::AbortShadowCopySet {
                status: status(reader)?,
            },
            Opnum::IsPathSupported => Self::IsPathSupported {
                supported_by_this_provider: reader.u32("SupportedByThisProvider")? != 0,
                owner_machine_name: match reader.unique("OwnerMachineName")? {
                    true => Some(reader.string("OwnerMachineName", MAX_STRING_UNITS)?),
                    false => None,
                },
                status: status(reader)?,
            },
            Opnum::IsPathShadowCopied => Self::IsPathShadowCopied {
                shadow_copy_present: reader.u32("ShadowCopyPresent")? != 0,
                shadow_copy_compatibility: reader.u32("ShadowCopyCompatibility")?.cast_signed(),
                status: status(reader)?,
            },
            Opnum::GetShareMapping => {
                let level = reader.u32("ShareMapping")?;
                Self::GetShareMapping {
                    level,
                    mapping: match level == LEVEL_1 && reader.unique("ShareMapping1")? {
                        true => Some(ShareMapping::read(reader)?),
                        false => None,
                    },
                    status: status(reader)?,
                }
            }
            Opnum::DeleteShareMapping => Self::DeleteShareMapping {
                status: status(reader)?,
            },
            Opnum::PrepareShadowCopySet => Self::PrepareShadowCopySet {
                status: status(reader)?,
            },
        })
    }
}

impl ShareMapping {
    fn write<'a>(&'a self, writer: &mut NdrWriter<'a>) {
        writer.referent();
        writer.guid(self.shadow_copy_set_id.0);
        writer.guid(self.shadow_copy_id.0);
        writer.unique_string(Some(&self.share_name_unc));
        writer.unique_string(self.shadow_copy_share_name.as_deref());
        writer.u64(self.creation_timestamp.0);
        writer.deferred();
    }

    fn read(reader: &mut NdrReader<'_>) -> Result<Self, NdrError> {
        let shadow_copy_set_id = ShadowCopySetId(reader.guid("ShadowCopySetId")?);
        let shadow_copy_id = ShadowCopyId(reader.guid("ShadowCopyId")?);
        reader.non_null("ShareNameUNC")?;
        let is_exposed = reader.unique("ShadowCopyShareName")?;
        let creation_timestamp = FileTime(reader.u64("CreationTimestamp")?);
        Ok(Self {
            shadow_copy_set_id,
            shadow_copy_id,
            share_name_unc: reader.string("ShareNameUNC", MAX_STRING_UNITS)?,
            shadow_copy_share_name: match is_exposed {
                true => Some(reader.string("ShadowCopyShareName", MAX_STRING_UNITS)?),
                false => None,
            },
            creation_timestamp,
        })
    }
}

fn status(reader: &mut NdrReader<'_>) -> Result<Status, NdrError> {
    reader.u32("return value").map(Status)
}
