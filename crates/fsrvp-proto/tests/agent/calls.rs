//! Short words for the calls, and for what stands in their replies.

use crate::support::*;
use fsrvp_idl::{ClientShadowCopyId, Request, Response, ShadowCopyId, ShadowCopySetId, Status};
use fsrvp_proto::job::{BackendName, CopyRef, VolumeId};

pub(crate) fn status_of(response: &Response) -> Status {
    match response {
        Response::GetSupportedVersion { status, .. }
        | Response::SetContext { status }
        | Response::StartShadowCopySet { status, .. }
        | Response::AddToShadowCopySet { status, .. }
        | Response::CommitShadowCopySet { status }
        | Response::ExposeShadowCopySet { status }
        | Response::RecoveryCompleteShadowCopySet { status }
        | Response::AbortShadowCopySet { status }
        | Response::IsPathSupported { status, .. }
        | Response::IsPathShadowCopied { status, .. }
        | Response::GetShareMapping { status, .. }
        | Response::DeleteShareMapping { status }
        | Response::PrepareShadowCopySet { status } => *status,
    }
}

pub(crate) fn unc(share: &str) -> String {
    format!(r"\\files\{share}")
}

pub(crate) fn copy_ref(copy: ShadowCopyId, volume: &str) -> CopyRef {
    CopyRef {
        copy,
        backend: BackendName("memory".to_owned()),
        volume: VolumeId(volume.to_owned()),
    }
}

pub(crate) fn start() -> Request {
    Request::StartShadowCopySet {
        client_shadow_copy_set_id: client_set_id(),
    }
}

pub(crate) fn add(set: ShadowCopySetId, share: &str) -> Request {
    Request::AddToShadowCopySet {
        client_shadow_copy_id: ClientShadowCopyId::NULL,
        shadow_copy_set_id: set,
        share_name: if share.contains('\\') || share.is_empty() {
            share.to_owned()
        } else {
            unc(share)
        },
    }
}

pub(crate) fn prepare(set: ShadowCopySetId, timeout_ms: u32) -> Request {
    Request::PrepareShadowCopySet {
        shadow_copy_set_id: set,
        timeout_ms,
    }
}

pub(crate) fn commit(set: ShadowCopySetId, timeout_ms: u32) -> Request {
    Request::CommitShadowCopySet {
        shadow_copy_set_id: set,
        timeout_ms,
    }
}

pub(crate) fn expose(set: ShadowCopySetId, timeout_ms: u32) -> Request {
    Request::ExposeShadowCopySet {
        shadow_copy_set_id: set,
        timeout_ms,
    }
}

pub(crate) fn recovery_complete(set: ShadowCopySetId) -> Request {
    Request::RecoveryCompleteShadowCopySet {
        shadow_copy_set_id: set,
    }
}

pub(crate) fn abort(set: ShadowCopySetId) -> Request {
    Request::AbortShadowCopySet {
        shadow_copy_set_id: set,
    }
}

pub(crate) fn get_mapping(set: ShadowCopySetId, copy: ShadowCopyId, share: &str) -> Request {
    Request::GetShareMapping {
        shadow_copy_id: copy,
        shadow_copy_set_id: set,
        share_name: unc(share),
        level: 1,
    }
}

pub(crate) fn delete(set: ShadowCopySetId, copy: ShadowCopyId, share: &str) -> Request {
    Request::DeleteShareMapping {
        shadow_copy_set_id: set,
        shadow_copy_id: copy,
        share_name: unc(share),
    }
}

pub(crate) fn path_supported(name: &str) -> Request {
    Request::IsPathSupported {
        share_name: name.to_owned(),
    }
}

pub(crate) fn path_shadow_copied(share: &str) -> Request {
    Request::IsPathShadowCopied {
        share_name: unc(share),
    }
}
