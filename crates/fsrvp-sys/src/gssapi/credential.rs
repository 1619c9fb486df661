//! Credentials of servers and clients.

use std::ffi::{CString, c_int};
use std::ptr;

use libgssapi_sys as sys;

use super::error::{GssError, GssErrorKind, check};
use super::raw::{Name, borrowed, empty, krb5_set, no_ci_flags};

/// Where a server's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptorSource<'a> {
    /// The system's keytab.
    System,
    /// A keytab by name (`FILE:/path`).
    Keytab(&'a str),
}

/// Where a client's tickets come from.
#[derive(Debug, Clone, Copy)]
pub enum InitiatorSource<'a> {
    /// The system's credential cache.
    System,
    /// A credential cache by name (`FILE:/path`).
    Cache(&'a str),
    /// A password; needs a principal.
    Password(&'a str),
}

/// A Kerberos credential.
#[derive(Debug)]
pub struct Credential(sys::gss_cred_id_t);

// SAFETY: MIT's credentials carry their own lock; the pointer may move between threads. It is not
// shared between threads here.
unsafe impl Send for Credential {}

impl Credential {
    /// A server's credential: any key of the keytab.
    ///
    /// # Errors
    /// [`GssErrorKind::NoCredential`] or [`GssErrorKind::Refused`] if there is no usable keytab.
    pub fn acceptor(source: AcceptorSource<'_>) -> Result<Self, GssError> {
        let store = match source {
            AcceptorSource::System => None,
            AcceptorSource::Keytab(name) => Some((c"keytab", name)),
        };
        Self::from_store(&Name::null(), sys::GSS_C_ACCEPT, store)
    }

    /// A client's credential for `principal`, or for the cache's.
    ///
    /// # Errors
    /// [`GssErrorKind::NoCredential`] or [`GssErrorKind::Refused`] if there is no ticket.
    pub fn initiator(
        principal: Option<&str>,
        source: InitiatorSource<'_>,
    ) -> Result<Self, GssError> {
        let name = match principal {
            Some(principal) => Name::user(principal)?,
            None => Name::null(),
        };
        let mut credential = match source {
            InitiatorSource::System => Self::from_store(&name, sys::GSS_C_INITIATE, None),
            InitiatorSource::Cache(cache) => {
                Self::from_store(&name, sys::GSS_C_INITIATE, Some((c"ccache", cache)))
            }
            InitiatorSource::Password(password) => Self::with_password(&name, password),
        }?;
        credential.ask_for_no_more_than_told()?;
        Ok(credential)
    }

    /// Unless told otherwise the library asks for signing and sealing in every context, and
    /// servers then reckon with sealed messages.
    fn ask_for_no_more_than_told(&mut self) -> Result<(), GssError> {
        let (mut minor, mut value) = (0, empty());
        // SAFETY: the credential is live; the option takes no value.
        let major = unsafe {
            sys::gss_set_cred_option(
                &raw mut minor,
                &raw mut self.0,
                no_ci_flags(),
                &raw mut value,
            )
        };
        check("gss_set_cred_option", major, minor).map(|_| ())
    }

    fn from_store(
        name: &Name,
        usage: u32,
        store: Option<(&'static std::ffi::CStr, &str)>,
    ) -> Result<Self, GssError> {
        const CALL: &str = "gss_acquire_cred_from";
        let mut credential = Self(ptr::null_mut());
        let value = match store {
            Some((_, value)) => CString::new(value)
                .map_err(|_| GssError::own(CALL, GssErrorKind::NoCredential, "name has a NUL"))?,
            None => CString::default(),
        };
        let mut element = sys::gss_key_value_element_desc {
            key: store.map_or(ptr::null(), |(key, _)| key.as_ptr()),
            value: value.as_ptr(),
        };
        let set = sys::gss_key_value_set_desc {
            count: u32::from(store.is_some()),
            elements: &raw mut element,
        };
        let (mut minor, mut mechs) = (0, krb5_set());
        // SAFETY: name, mechanisms, store and what they point to outlive the call; the library
        // copies what it keeps.
        let major = unsafe {
            sys::gss_acquire_cred_from(
                &raw mut minor,
                name.as_raw(),
                u32::MAX,
                &raw mut mechs,
                usage as c_int,
                if store.is_some() {
                    &raw const set
                } else {
                    ptr::null()
                },
                &raw mut credential.0,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(CALL, major, minor)?;
        Ok(credential)
    }

    fn with_password(name: &Name, password: &str) -> Result<Self, GssError> {
        const CALL: &str = "gss_acquire_cred_with_password";
        if name.is_null() {
            return Err(GssError::own(
                CALL,
                GssErrorKind::NoCredential,
                "no principal",
            ));
        }
        let mut credential = Self(ptr::null_mut());
        let (mut minor, mut mechs) = (0, krb5_set());
        let mut password = borrowed(password.as_bytes());
        // SAFETY: name, password and mechanisms outlive the call.
        let major = unsafe {
            sys::gss_acquire_cred_with_password(
                &raw mut minor,
                name.as_raw(),
                &raw mut password,
                u32::MAX,
                &raw mut mechs,
                sys::GSS_C_INITIATE as c_int,
                &raw mut credential.0,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(CALL, major, minor)?;
        Ok(credential)
    }

    pub(super) fn as_raw(&self) -> sys::gss_cred_id_t {
        self.0
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        if !self.0.is_null() {
            let mut minor = 0;
            // SAFETY: the credential came from the library and is released once.
            unsafe { sys::gss_release_cred(&raw mut minor, &raw mut self.0) };
        }
    }
}
