//! Requests in short, and what every reply has in common.

use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Opnum, Request, Response, ShadowCopyId,
    ShadowCopySetId, Status,
};
use std::time::Duration;
use uuid::Uuid;

/// An id that nobody has.
pub(crate) const UNKNOWN_SET: ShadowCopySetId =
    ShadowCopySetId(Uuid::from_u128(0xdead_0000_0000_4000_8000_0000_0000_0001));
/// An id that nobody has.
pub(crate) const UNKNOWN_COPY: ShadowCopyId =
    ShadowCopyId(Uuid::from_u128(0xdead_0000_0000_4000_8000_0000_0000_0002));
/// An id of the client's choice.
const CLIENT: Uuid = Uuid::from_u128(0xc11e_0000_0000_4000_8000_0000_0000_0003);

/// `\\FILER\share`, as clients write it.
pub(crate) fn unc(share: &str) -> String {
    format!(r"\\FILER\{share}")
}

pub(crate) fn set_context(context: u32) -> Request {
    Request::SetContext { context }
}

pub(crate) fn start() -> Request {
    let client_shadow_copy_set_id = ClientShadowCopySetId(CLIENT);
    Request::StartShadowCopySet {
        client_shadow_copy_set_id,
    }
}

pub(crate) fn start_null() -> Request {
    let client_shadow_copy_set_id = ClientShadowCopySetId::NULL;
    Request::StartShadowCopySet {
        client_shadow_copy_set_id,
    }
}

pub(crate) fn add(set: ShadowCopySetId, name: impl Into<String>) -> Request {
    Request::AddToShadowCopySet {
        client_shadow_copy_id: ClientShadowCopyId(CLIENT),
        shadow_copy_set_id: set,
        share_name: name.into(),
    }
}

pub(crate) fn prepare(shadow_copy_set_id: ShadowCopySetId, wait: Duration) -> Request {
    Request::PrepareShadowCopySet {
        shadow_copy_set_id,
        timeout_ms: ms(wait),
    }
}

pub(crate) fn commit(shadow_copy_set_id: ShadowCopySetId, wait: Duration) -> Request {
    Request::CommitShadowCopySet {
        shadow_copy_set_id,
        timeout_ms: ms(wait),
    }
}

pub(crate) fn expose(shadow_copy_set_id: ShadowCopySetId, wait: Duration) -> Request {
    Request::ExposeShadowCopySet {
        shadow_copy_set_id,
        timeout_ms: ms(wait),
    }
}

pub(crate) fn recovery(shadow_copy_set_id: ShadowCopySetId) -> Request {
    Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id }
}

pub(crate) fn abort(shadow_copy_set_id: ShadowCopySetId) -> Request {
    Request::AbortShadowCopySet { shadow_copy_set_id }
}

pub(crate) fn supported(name: impl Into<String>) -> Request {
    Request::IsPathSupported {
        share_name: name.into(),
    }
}

pub(crate) fn copied(name: impl Into<String>) -> Request {
    Request::IsPathShadowCopied {
        share_name: name.into(),
    }
}

pub(crate) fn mapping(
    shadow_copy_set_id: ShadowCopySetId,
    shadow_copy_id: ShadowCopyId,
    name: impl Into<String>,
) -> Request {
    Request::GetShareMapping {
        shadow_copy_id,
        shadow_copy_set_id,
        share_name: name.into(),
        level: 1,
    }
}

pub(crate) fn delete(
    shadow_copy_set_id: ShadowCopySetId,
    shadow_copy_id: ShadowCopyId,
    name: impl Into<String>,
) -> Request {
    Request::DeleteShareMapping {
        shadow_copy_set_id,
        shadow_copy_id,
        share_name: name.into(),
    }
}

fn ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

/// The operation that a request calls.
pub(crate) fn opnum_of(request: &Request) -> Opnum {
    match request {
        Request::GetSupportedVersion => Opnum::GetSupportedVersion,
        Request::SetContext { .. } => Opnum::SetContext,
        Request::StartShadowCopySet { .. } => Opnum::StartShadowCopySet,
        Request::AddToShadowCopySet { .. } => Opnum::AddToShadowCopySet,
        Request::CommitShadowCopySet { .. } => Opnum::CommitShadowCopySet,
        Request::ExposeShadowCopySet { .. } => Opnum::ExposeShadowCopySet,
        Request::RecoveryCompleteShadowCopySet { .. } => Opnum::RecoveryCompleteShadowCopySet,
        Request::AbortShadowCopySet { .. } => Opnum::AbortShadowCopySet,
        Request::IsPathSupported { .. } => Opnum::IsPathSupported,
        Request::IsPathShadowCopied { .. } => Opnum::IsPathShadowCopied,
        Request::GetShareMapping { .. } => Opnum::GetShareMapping,
        Request::DeleteShareMapping { .. } => Opnum::DeleteShareMapping,
        Request::PrepareShadowCopySet { .. } => Opnum::PrepareShadowCopySet,
    }
}

/// The operation that a response answers, and its status.
pub(crate) fn opnum_and_status(response: &Response) -> (Opnum, Status) {
    match response {
        Response::GetSupportedVersion { status, .. } => (Opnum::GetSupportedVersion, *status),
        Response::SetContext { status } => (Opnum::SetContext, *status),
        Response::StartShadowCopySet { status, .. } => (Opnum::StartShadowCopySet, *status),
        Response::AddToShadowCopySet { status, .. } => (Opnum::AddToShadowCopySet, *status),
        Response::CommitShadowCopySet { status } => (Opnum::CommitShadowCopySet, *status),
        Response::ExposeShadowCopySet { status } => (Opnum::ExposeShadowCopySet, *status),
        Response::RecoveryCompleteShadowCopySet { status } => {
            (Opnum::RecoveryCompleteShadowCopySet, *status)
        }
        Response::AbortShadowCopySet { status } => (Opnum::AbortShadowCopySet, *status),
        Response::IsPathSupported { status, .. } => (Opnum::IsPathSupported, *status),
        Response::IsPathShadowCopied { status, .. } => (Opnum::IsPathShadowCopied, *status),
        Response::GetShareMapping { status, .. } => (Opnum::GetShareMapping, *status),
        Response::DeleteShareMapping { status } => (Opnum::DeleteShareMapping, *status),
        Response::PrepareShadowCopySet { status } => (Opnum::PrepareShadowCopySet, *status),
    }
}

/// The status of a response.
pub(crate) fn status_of(response: &Response) -> Status {
    opnum_and_status(response).1
}

/// Whether ZERO of this operation says that the table has changed.
pub(crate) fn changes_table(opnum: Opnum) -> bool {
    match opnum {
        Opnum::SetContext
        | Opnum::StartShadowCopySet
        | Opnum::AddToShadowCopySet
        | Opnum::CommitShadowCopySet
        | Opnum::ExposeShadowCopySet
        | Opnum::RecoveryCompleteShadowCopySet
        | Opnum::AbortShadowCopySet
        | Opnum::DeleteShareMapping => true,
        Opnum::GetSupportedVersion
        | Opnum::IsPathSupported
        | Opnum::IsPathShadowCopied
        | Opnum::GetShareMapping
        | Opnum::PrepareShadowCopySet => false,
    }
}

/// Rule 0: "a failed call answers with a complete stub: zero GUIDs, NULL pointers, zero numbers";
/// and what every success must hold.
pub(crate) fn check_form(response: &Response) {
    let shown = format!("{response:?}");
    match response {
        Response::GetSupportedVersion {
            min_version,
            max_version,
            status,
        } => {
            assert!(
                status.is_ok() && (*min_version, *max_version) == (1, 1),
                "{shown}"
            );
        }
        Response::StartShadowCopySet {
            shadow_copy_set_id,
            status,
        } => {
            assert_eq!(status.is_ok(), !shadow_copy_set_id.is_null(), "{shown}");
        }
        Response::AddToShadowCopySet {
            shadow_copy_id,
            status,
        } => {
            assert_eq!(status.is_ok(), !shadow_copy_id.is_null(), "{shown}");
        }
        Response::IsPathSupported {
            supported_by_this_provider,
            owner_machine_name,
            status,
        } => {
            // Rule 4: "it never answers ZERO with FALSE"; rule 20: the owner is never empty.
            assert_eq!(status.is_ok(), *supported_by_this_provider, "{shown}");
            assert_eq!(status.is_ok(), owner_machine_name.is_some(), "{shown}");
            assert_ne!(owner_machine_name.as_deref(), Some(""), "{shown}");
        }
        Response::IsPathShadowCopied {
            shadow_copy_present,
            shadow_copy_compatibility,
            status,
        } => {
            assert!(status.is_ok() || !shadow_copy_present, "{shown}");
            assert!(
                *shadow_copy_present || *shadow_copy_compatibility == 0,
                "{shown}"
            );
            assert!((0..=3).contains(shadow_copy_compatibility), "{shown}");
        }
        Response::GetShareMapping {
            mapping, status, ..
        } => {
            assert_eq!(status.is_ok(), mapping.is_some(), "{shown}");
        }
        Response::SetContext { .. }
        | Response::CommitShadowCopySet { .. }
        | Response::ExposeShadowCopySet { .. }
        | Response::RecoveryCompleteShadowCopySet { .. }
        | Response::AbortShadowCopySet { .. }
        | Response::DeleteShareMapping { .. }
        | Response::PrepareShadowCopySet { .. } => {}
    }
}
