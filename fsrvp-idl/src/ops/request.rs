//! Calls and their stubs.

use super::{DecodeError, MAX_STRING_UNITS, Opnum, Response};
use crate::ids::{ClientShadowCopyId, ClientShadowCopySetId, ShadowCopyId, ShadowCopySetId};
use crate::status::Status;
use bytes::Bytes;
use dcerpc_proto::ByteOrder;
use dcerpc_proto::ndr::{NdrError, NdrReader, NdrWriter};

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

impl Request {
    /// The operation.
    #[must_use]
    pub const fn opnum(&self) -> Opnum {
        match self {
            Self::GetSupportedVersion => Opnum::GetSupportedVersion,
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

    /// The reply that refuses this call. Unlike [`Response::failed`] it answers a GetShareMapping at
    /// the level that was asked for, without which a client cannot decode the reply.
    #[must_use]
    pub fn failed(&self, status: Status) -> Response {
        match self {
            Self::GetShareMapping { level, .. } => Response::GetShareMapping {
                level: *level,
                mapping: None,
                status,
            },
            call => Response::failed(call.opnum(), status),
        }
    }

    /// Decodes the arguments of a call. Beside the call comes what follows its arguments: nothing,
    /// padding, or a verification trailer, which the caller checks.
    ///
    /// # Errors
    /// [`DecodeError`]; both variants are faults.
    pub fn decode(opnum: u16, stub: &[u8], order: ByteOrder) -> Result<(Self, &[u8]), DecodeError> {
        let opnum = Opnum::try_from(opnum)?;
        let mut reader = NdrReader::new(stub, order);
        match Self::read(opnum, &mut reader) {
            Ok(request) => Ok((request, reader.rest())),
            Err(error) => Err(DecodeError::Stub { opnum, error }),
        }
    }

    fn read(opnum: Opnum, reader: &mut NdrReader<'_>) -> Result<Self, NdrError> {
        Ok(match opnum {
            Opnum::GetSupportedVersion => Self::GetSupportedVersion,
            Opnum::SetContext => Self::SetContext {
                context: reader.u32("Context")?,
            },
            Opnum::StartShadowCopySet => Self::StartShadowCopySet {
                client_shadow_copy_set_id: ClientShadowCopySetId(
                    reader.guid("ClientShadowCopySetId")?,
                ),
            },
            Opnum::AddToShadowCopySet => Self::AddToShadowCopySet {
                client_shadow_copy_id: ClientShadowCopyId(reader.guid("ClientShadowCopyId")?),
                shadow_copy_set_id: set_id(reader)?,
                share_name: share_name(reader)?,
            },
            Opnum::CommitShadowCopySet => Self::CommitShadowCopySet {
                shadow_copy_set_id: set_id(reader)?,
                timeout_ms: timeout_ms(reader)?,
            },
            Opnum::ExposeShadowCopySet => Self::ExposeShadowCopySet {
                shadow_copy_set_id: set_id(reader)?,
                timeout_ms: timeout_ms(reader)?,
            },
            Opnum::RecoveryCompleteShadowCopySet => Self::RecoveryCompleteShadowCopySet {
                shadow_copy_set_id: set_id(reader)?,
            },
            Opnum::AbortShadowCopySet => Self::AbortShadowCopySet {
                shadow_copy_set_id: set_id(reader)?,
            },
            Opnum::IsPathSupported => Self::IsPathSupported {
                share_name: share_name(reader)?,
            },
            Opnum::IsPathShadowCopied => Self::IsPathShadowCopied {
                share_name: share_name(reader)?,
            },
            Opnum::GetShareMapping => Self::GetShareMapping {
                shadow_copy_id: copy_id(reader)?,
                shadow_copy_set_id: set_id(reader)?,
                share_name: share_name(reader)?,
                level: reader.u32("Level")?,
            },
            Opnum::DeleteShareMapping => Self::DeleteShareMapping {
                shadow_copy_set_id: set_id(reader)?,
                shadow_copy_id: copy_id(reader)?,
                share_name: share_name(reader)?,
            },
            Opnum::PrepareShadowCopySet => Self::PrepareShadowCopySet {
                shadow_copy_set_id: set_id(reader)?,
                timeout_ms: timeout_ms(reader)?,
            },
        })
    }

    /// The arguments as a little-endian stub.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = NdrWriter::new();
        match self {
            Self::GetSupportedVersion => {}
            Self::SetContext { context } => writer.u32(*context),
            Self::StartShadowCopySet {
                client_shadow_copy_set_id,
            } => writer.guid(client_shadow_copy_set_id.0),
            Self::AddToShadowCopySet {
                client_shadow_copy_id,
                shadow_copy_set_id,
                share_name,
            } => {
                writer.guid(client_shadow_copy_id.0);
                writer.guid(shadow_copy_set_id.0);
                writer.string(share_name);
            }
            Self::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
            | Self::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
            | Self::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            } => {
                writer.guid(shadow_copy_set_id.0);
                writer.u32(*timeout_ms);
            }
            Self::RecoveryCompleteShadowCopySet { shadow_copy_set_id }
            | Self::AbortShadowCopySet { shadow_copy_set_id } => {
                writer.guid(shadow_copy_set_id.0);
            }
            Self::IsPathSupported { share_name } | Self::IsPathShadowCopied { share_name } => {
                writer.string(share_name);
            }
            Self::GetShareMapping {
                shadow_copy_id,
                shadow_copy_set_id,
                share_name,
                level,
            } => {
                writer.guid(shadow_copy_id.0);
                writer.guid(shadow_copy_set_id.0);
                writer.string(share_name);
                writer.u32(*level);
            }
            Self::DeleteShareMapping {
                shadow_copy_set_id,
                shadow_copy_id,
                share_name,
            } => {
                writer.guid(shadow_copy_set_id.0);
                writer.guid(shadow_copy_id.0);
                writer.string(share_name);
            }
        }
        writer.finish()
    }
}

fn set_id(reader: &mut NdrReader<'_>) -> Result<ShadowCopySetId, NdrError> {
    reader.guid("ShadowCopySetId").map(ShadowCopySetId)
}

fn copy_id(reader: &mut NdrReader<'_>) -> Result<ShadowCopyId, NdrError> {
    reader.guid("ShadowCopyId").map(ShadowCopyId)
}

fn share_name(reader: &mut NdrReader<'_>) -> Result<String, NdrError> {
    reader.string("ShareName", MAX_STRING_UNITS)
}

fn timeout_ms(reader: &mut NdrReader<'_>) -> Result<u32, NdrError> {
    reader.u32("TimeOutInMilliseconds")
}
