//! The audit trail: who took, read and deleted which copy, as log lines of the target `audit`.
//!
//! Clients' calls on copies are told when they are answered; an operator's acts when they are
//! ordered through the admin socket; what goes by a policy where it goes.

use fsrvp_idl::{Request, Response, ShadowCopyId, ShadowCopySetId};
use fsrvp_proto::Caller;

/// Whom a call is about, and what it does to it.
struct Act<'a> {
    act: &'static str,
    set: Option<ShadowCopySetId>,
    copy: Option<ShadowCopyId>,
    share: Option<&'a str>,
}

/// A client's call was answered.
pub(crate) fn call(server: &str, caller: &Caller, request: &Request, response: &Response) {
    let Some(act) = act_of(request, response) else {
        return;
    };
    let status = response.status();
    tracing::info!(
        target: "audit",
        server,
        act = act.act,
        account = caller.account,
        client = caller.address.map(tracing::field::display),
        set = act.set.map(tracing::field::display),
        copy = act.copy.map(tracing::field::display),
        share = act.share,
        %status,
        "client"
    );
}

/// An operator's order was answered; `by` tells who gave it.
pub(crate) fn order(server: &str, by: &str, act: &str, target: &str, outcome: &str) {
    tracing::info!(target: "audit", server, act, target, by, outcome, "operator");
}

fn act_of<'a>(request: &'a Request, response: &Response) -> Option<Act<'a>> {
    let plain = |act, set: &ShadowCopySetId| Act {
        act,
        set: Some(*set),
        copy: None,
        share: None,
    };
    Some(match request {
        Request::StartShadowCopySet { .. } => match response {
            Response::StartShadowCopySet {
                shadow_copy_set_id, ..
            } => plain("start", shadow_copy_set_id),
            _ => return None,
        },
        Request::AddToShadowCopySet {
            shadow_copy_set_id,
            share_name,
            ..
        } => Act {
            copy: match response {
                Response::AddToShadowCopySet { shadow_copy_id, .. } => Some(*shadow_copy_id),
                _ => None,
            },
            share: Some(share_name),
            ..plain("add", shadow_copy_set_id)
        },
        Request::CommitShadowCopySet {
            shadow_copy_set_id, ..
        } => plain("take", shadow_copy_set_id),
        Request::ExposeShadowCopySet {
            shadow_copy_set_id, ..
        } => plain("expose", shadow_copy_set_id),
        Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id } => {
            plain("seal", shadow_copy_set_id)
        }
        Request::AbortShadowCopySet { shadow_copy_set_id } => plain("abort", shadow_copy_set_id),
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            ..
        } => Act {
            copy: Some(*shadow_copy_id),
            share: Some(share_name),
            ..plain("read", shadow_copy_set_id)
        },
        Request::DeleteShareMapping {
            shadow_copy_set_id,
            shadow_copy_id,
            share_name,
        } => Act {
            copy: Some(*shadow_copy_id),
            share: Some(share_name),
            ..plain("delete", shadow_copy_set_id)
        },
        Request::GetSupportedVersion
        | Request::SetContext { .. }
        | Request::IsPathSupported { .. }
        | Request::IsPathShadowCopied { .. }
        | Request::PrepareShadowCopySet { .. } => return None,
    })
}
