//! What GSSAPI's status codes mean to a caller.

use std::ffi::c_int;
use std::ptr;

use libgssapi_sys as sys;

use super::raw::{Buffer, krb5};

/// Kinds of failures that callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GssErrorKind {
    /// The peer's token does not decode.
    DefectiveToken,
    /// We have no credential (no keytab, no key in it, no ticket).
    NoCredential,
    /// A signature does not match, or a token was replayed or reordered.
    BadSignature,
    /// The peer's ticket or authenticator was refused.
    Refused,
}

/// A failed GSSAPI call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {text} (major {major:#x}, minor {minor:#x})")]
pub struct GssError {
    /// Function that failed.
    pub call: &'static str,
    /// What it means.
    pub kind: GssErrorKind,
    /// Major status.
    pub major: u32,
    /// Minor status.
    pub minor: u32,
    /// The library's words.
    pub text: String,
}

impl GssError {
    /// Makes an error of a status.
    pub(super) fn new(call: &'static str, major: u32, minor: u32) -> Self {
        let kind = match major & 0x00ff_0000 {
            sys::_GSS_S_DEFECTIVE_TOKEN | sys::_GSS_S_BAD_MECH => GssErrorKind::DefectiveToken,
            sys::_GSS_S_NO_CRED
            | sys::_GSS_S_DEFECTIVE_CREDENTIAL
            | sys::_GSS_S_CREDENTIALS_EXPIRED => GssErrorKind::NoCredential,
            sys::_GSS_S_BAD_SIG => GssErrorKind::BadSignature,
            _ => GssErrorKind::Refused,
        };
        let mut text = display(major, sys::GSS_C_GSS_CODE);
        let detail = display(minor, sys::GSS_C_MECH_CODE);
        if minor != 0 && !detail.is_empty() {
            text.push_str(": ");
            text.push_str(&detail);
        }
        Self {
            call,
            kind,
            major,
            minor,
            text,
        }
    }

    /// An error of our own.
    pub(super) fn own(call: &'static str, kind: GssErrorKind, text: &str) -> Self {
        Self {
            call,
            kind,
            major: 0,
            minor: 0,
            text: text.to_owned(),
        }
    }
}

/// Fails unless the call succeeded; returns the supplementary bits.
pub(super) fn check(call: &'static str, major: u32, minor: u32) -> Result<u32, GssError> {
    if major & 0xffff_0000 == 0 {
        Ok(major)
    } else {
        Err(GssError::new(call, major, minor))
    }
}

/// Fails unless the call succeeded without reservation. Replayed, late, reordered and missing
/// tokens are reported in supplementary bits of a *successful* status.
pub(super) fn check_in_sequence(
    call: &'static str,
    major: u32,
    minor: u32,
) -> Result<(), GssError> {
    if check(call, major, minor)? == sys::GSS_S_COMPLETE {
        return Ok(());
    }
    Err(GssError {
        call,
        kind: GssErrorKind::BadSignature,
        major,
        minor,
        text: "token is replayed or out of sequence".to_owned(),
    })
}

fn display(status: u32, code_type: u32) -> String {
    let mut text = Buffer::default();
    let (mut minor, mut more) = (0, 0);
    // SAFETY: all pointers are to live locals; the library allocates `text`, Buffer releases it.
    let major = unsafe {
        sys::gss_display_status(
            &raw mut minor,
            status,
            c_int::try_from(code_type).unwrap_or(1),
            if code_type == sys::GSS_C_MECH_CODE {
                krb5()
            } else {
                ptr::null_mut()
            },
            &raw mut more,
            text.as_mut_ptr(),
        )
    };
    if major == 0 {
        text.to_text()
    } else {
        String::new()
    }
}
