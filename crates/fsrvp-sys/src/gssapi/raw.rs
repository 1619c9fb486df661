//! Owners and borrowers of GSSAPI's C structures.

use std::ffi::c_void;
use std::ptr;

use libgssapi_sys as sys;

use super::error::{GssError, check};

/// 1.2.840.113554.1.2.2
const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
/// GSS_C_NT_HOSTBASED_SERVICE, 1.2.840.113554.1.2.1.4
const HOSTBASED_SERVICE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x01, 0x04];
/// GSS_C_NT_USER_NAME, 1.2.840.113554.1.2.1.1
const USER_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x01, 0x01];

/// GSS_KRB5_CRED_NO_CI_FLAGS_X, 1.2.752.43.13.29, which MIT's headers do not name.
const NO_CI_FLAGS: &[u8] = &[0x2a, 0x85, 0x70, 0x2b, 0x0d, 0x1d];

/// An object identifier that lives as long as the program; the library only reads it.
struct StaticOid(sys::gss_OID_desc);

// SAFETY: the descriptor and the bytes behind it are never written.
unsafe impl Sync for StaticOid {}

impl StaticOid {
    const fn new(bytes: &'static [u8]) -> Self {
        Self(sys::gss_OID_desc {
            length: bytes.len() as u32,
            elements: bytes.as_ptr().cast_mut().cast::<c_void>(),
        })
    }

    const fn as_ptr(&'static self) -> sys::gss_OID {
        (&raw const self.0).cast_mut()
    }
}

static KRB5_OID: StaticOid = StaticOid::new(KRB5);
static NO_CI_FLAGS_OID: StaticOid = StaticOid::new(NO_CI_FLAGS);
static HOSTBASED_SERVICE_OID: StaticOid = StaticOid::new(HOSTBASED_SERVICE);
static USER_NAME_OID: StaticOid = StaticOid::new(USER_NAME);

/// The Kerberos mechanism.
pub(super) fn krb5() -> sys::gss_OID {
    KRB5_OID.as_ptr()
}

/// The credential option that keeps the library from asking for signing and sealing on its own.
pub(super) fn no_ci_flags() -> sys::gss_OID {
    NO_CI_FLAGS_OID.as_ptr()
}

/// Whether `oid` is the Kerberos mechanism.
///
/// # Safety
/// `oid` is null or points to a descriptor that the library owns.
pub(super) unsafe fn is_krb5(oid: sys::gss_OID) -> bool {
    // SAFETY: promised by the caller; a descriptor's elements span its length.
    unsafe {
        !oid.is_null()
            && !(*oid).elements.is_null()
            && std::slice::from_raw_parts((*oid).elements.cast::<u8>(), (*oid).length as usize)
                == KRB5
    }
}

/// The set that holds just the Kerberos mechanism.
pub(super) fn krb5_set() -> sys::gss_OID_set_desc {
    sys::gss_OID_set_desc {
        count: 1,
        elements: krb5(),
    }
}

/// A buffer that the library allocates and we release.
pub(super) struct Buffer(sys::gss_buffer_desc);

impl Default for Buffer {
    fn default() -> Self {
        Self(empty())
    }
}

impl Buffer {
    pub(super) fn as_mut_ptr(&mut self) -> sys::gss_buffer_t {
        &raw mut self.0
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        if self.0.value.is_null() {
            return Vec::new();
        }
        // SAFETY: a buffer filled by the library holds `length` bytes at `value`.
        unsafe { std::slice::from_raw_parts(self.0.value.cast::<u8>(), self.0.length) }.to_vec()
    }

    pub(super) fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.to_vec()).into_owned()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the buffer is empty or was filled by the library; releasing resets it.
        unsafe { sys::gss_release_buffer(&raw mut minor, &raw mut self.0) };
    }
}

/// A descriptor of bytes that the library only reads.
pub(super) fn borrowed(bytes: &[u8]) -> sys::gss_buffer_desc {
    sys::gss_buffer_desc {
        length: bytes.len(),
        value: bytes.as_ptr().cast_mut().cast::<c_void>(),
    }
}

/// GSS_C_EMPTY_BUFFER.
pub(super) fn empty() -> sys::gss_buffer_desc {
    sys::gss_buffer_desc {
        length: 0,
        value: ptr::null_mut(),
    }
}

/// One element of an IOV over bytes of ours, which the library reads and may rewrite in place.
pub(super) fn iov(buffer_type: u32, bytes: &mut [u8]) -> sys::gss_iov_buffer_desc {
    sys::gss_iov_buffer_desc {
        type_: buffer_type,
        buffer: sys::gss_buffer_desc {
            length: bytes.len(),
            value: bytes.as_mut_ptr().cast::<c_void>(),
        },
    }
}

/// A name.
pub(super) struct Name(sys::gss_name_t);

impl Name {
    pub(super) const fn null() -> Self {
        Self(ptr::null_mut())
    }

    /// `service@host`.
    pub(super) fn hostbased_service(name: &str) -> Result<Self, GssError> {
        Self::import(name, HOSTBASED_SERVICE_OID.as_ptr())
    }

    /// `user@REALM`.
    pub(super) fn user(name: &str) -> Result<Self, GssError> {
        Self::import(name, USER_NAME_OID.as_ptr())
    }

    fn import(text: &str, name_type: sys::gss_OID) -> Result<Self, GssError> {
        let mut name = Self::null();
        let (mut minor, mut buffer) = (0, borrowed(text.as_bytes()));
        // SAFETY: the buffer outlives the call; the library copies what it keeps.
        let major = unsafe {
            sys::gss_import_name(
                &raw mut minor,
                &raw mut buffer,
                name_type,
                name.as_mut_ptr(),
            )
        };
        check("gss_import_name", major, minor)?;
        Ok(name)
    }

    pub(super) fn as_raw(&self) -> sys::gss_name_t {
        self.0
    }

    /// Where the library may put a name; only for a null one.
    pub(super) fn as_mut_ptr(&mut self) -> *mut sys::gss_name_t {
        &raw mut self.0
    }

    pub(super) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The name as text.
    pub(super) fn display(&self) -> Result<String, GssError> {
        let mut text = Buffer::default();
        let (mut minor, mut name_type) = (0, ptr::null_mut());
        // SAFETY: the name is live; the library allocates the text, Buffer releases it.
        let major = unsafe {
            sys::gss_display_name(
                &raw mut minor,
                self.0,
                text.as_mut_ptr(),
                &raw mut name_type,
            )
        };
        check("gss_display_name", major, minor)?;
        Ok(text.to_text())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if !self.0.is_null() {
            let mut minor = 0;
            // SAFETY: the name came from the library and is released once.
            unsafe { sys::gss_release_name(&raw mut minor, &raw mut self.0) };
        }
    }
}
