//! Logons and group SIDs through Samba's winbindd (libwbclient, soname 0).
//!
//! Each call makes a context of its own: the library's global one is not safe between threads in
//! every version that is supported.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

/// Windows' limit of sub-authorities in a SID.
const MAX_SUB_AUTHORITIES: usize = 15;
/// Room for any SID as text.
const SID_TEXT_LEN: usize = 256;
/// WBC_MSV1_0_ALLOW_SERVER_TRUST_ACCOUNT and …_WORKSTATION_TRUST_ACCOUNT: clients of shadow copies
/// come as computer accounts first.
const ALLOW_COMPUTER_ACCOUNTS: u32 = 0x20 | 0x800;
/// WBC_AUTH_USER_LEVEL_RESPONSE.
const LEVEL_RESPONSE: c_int = 3;
/// WBC_AUTH_USER_LEVEL_PAC.
const LEVEL_PAC: c_int = 4;
/// WBC_AUTH_USER_INFO_GUEST.
const USER_INFO_GUEST: u32 = 1;
/// The domain of BUILTIN aliases.
const BUILTIN: &CStr = c"S-1-5-32";

/// An NTLM response to check.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// Account name.
    pub account: &'a str,
    /// Domain name.
    pub domain: &'a str,
    /// Workstation name.
    pub workstation: &'a str,
    /// Server challenge.
    pub challenge: [u8; 8],
    /// LM response.
    pub lm: &'a [u8],
    /// NT response.
    pub nt: &'a [u8],
}

/// What winbindd says about an account.
pub struct UserInfo {
    /// Account name.
    pub account: String,
    /// Its domain.
    pub domain: String,
    /// Session key (NTLM: SessionBaseKey); zeros for a PAC. The caller wipes it.
    pub session_key: [u8; 16],
    /// Whether it was let in as a guest.
    pub guest: bool,
    /// The user's SID, the primary group's and all others; BUILTIN aliases are not among them.
    pub sids: Vec<String>,
    /// BUILTIN aliases of those SIDs.
    pub builtin_aliases: Vec<String>,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WbcError {
    /// winbindd does not answer.
    #[error("winbindd is not available")]
    NotAvailable,
    /// winbindd refused the logon.
    #[error("{text} ({nt_status:#010x})")]
    Authentication {
        /// NTSTATUS.
        nt_status: u32,
        /// Its name.
        text: String,
    },
    /// Anything else.
    #[error("libwbclient: {0}")]
    Other(String),
}

/// Checks an NTLM response.
///
/// # Errors
/// See [`WbcError`].
pub fn authenticate_response(response: &Response<'_>) -> Result<UserInfo, WbcError> {
    let account = c_string(response.account)?;
    let domain = c_string(response.domain)?;
    let workstation = c_string(response.workstation)?;
    let params = Params {
        account: account.as_ptr(),
        domain: domain.as_ptr(),
        workstation: workstation.as_ptr(),
        flags: 0,
        parameter_control: ALLOW_COMPUTER_ACCOUNTS,
        level: LEVEL_RESPONSE,
        password: Password {
            response: NtlmResponse {
                challenge: response.challenge,
                nt_len: length(response.nt)?,
                nt: response.nt.as_ptr().cast_mut(),
                lm_len: length(response.lm)?,
                lm: response.lm.as_ptr().cast_mut(),
            },
        },
    };
    authenticate(&params)
}

/// Reads a PAC. winbindd also answers for one that it cannot verify: give it only what GSSAPI has
/// authenticated.
///
/// # Errors
/// See [`WbcError`].
pub fn authenticate_pac(pac: &[u8]) -> Result<UserInfo, WbcError> {
    let params = Params {
        account: ptr::null(),
        domain: ptr::null(),
        workstation: ptr::null(),
        flags: 0,
        parameter_control: ALLOW_COMPUTER_ACCOUNTS,
        level: LEVEL_PAC,
        password: Password {
            pac: Blob {
                data: pac.as_ptr().cast_mut(),
                len: pac.len(),
            },
        },
    };
    authenticate(&params)
}

/// Whether winbindd answers.
///
/// # Errors
/// See [`WbcError`].
pub fn ping() -> Result<(), WbcError> {
    let context = Context::new()?;
    // SAFETY: the context is live.
    error(unsafe { wbcCtxPing(context.0) })
}

fn authenticate(params: &Params) -> Result<UserInfo, WbcError> {
    let context = Context::new()?;
    let (mut info, mut error_info) = (Memory::<Info>::null(), Memory::<ErrorInfo>::null());
    // SAFETY: params and all that it points to outlive the call; the library allocates both
    // results, which Memory frees.
    let code = unsafe {
        wbcCtxAuthenticateUserEx(context.0, params, &raw mut info.0, &raw mut error_info.0)
    };
    if code == WBC_ERR_AUTH_ERROR && !error_info.0.is_null() {
        // SAFETY: not null, so filled by the library.
        let details = unsafe { &*error_info.0 };
        return Err(WbcError::Authentication {
            nt_status: details.nt_status,
            text: text(details.nt_string),
        });
    }
    error(code)?;
    if info.0.is_null() {
        return Err(WbcError::Other("no account information".to_owned()));
    }
    // SAFETY: not null, so filled by the library.
    let info = unsafe { &mut *info.0 };
    let mut sids = if info.sids.is_null() {
        Vec::new()
    } else {
        // SAFETY: the library gives `num_sids` elements.
        unsafe { std::slice::from_raw_parts(info.sids, info.num_sids as usize) }
            .iter()
            .map(|element| element.sid)
            .collect::<Vec<_>>()
    };
    let session_key = info.user_session_key;
    // SAFETY: our only reference; volatile, so that the wiping is not optimised away.
    unsafe { ptr::write_volatile(&raw mut info.user_session_key, [0; 16]) };
    Ok(UserInfo {
        account: text(info.account_name),
        domain: text(info.domain_name),
        session_key,
        guest: info.user_flags & USER_INFO_GUEST != 0,
        builtin_aliases: builtin_aliases(&context, &mut sids)?,
        sids: sids.iter().map(sid_text).collect(),
    })
}

/// The BUILTIN aliases of an account with `sids`, which an authentication does not report.
fn builtin_aliases(context: &Context, sids: &mut [Sid]) -> Result<Vec<String>, WbcError> {
    let mut builtin = Sid::default();
    // SAFETY: a constant string and a live local.
    error(unsafe { wbcStringToSid(BUILTIN.as_ptr(), &raw mut builtin) })?;
    let (mut rids, mut count) = (Memory::<u32>::null(), 0);
    let len = u32::try_from(sids.len()).map_err(|_| WbcError::Other("too many SIDs".to_owned()))?;
    // SAFETY: `sids` has `len` elements; the library allocates `rids`, which Memory frees.
    error(unsafe {
        wbcCtxGetSidAliases(
            context.0,
            &raw const builtin,
            sids.as_mut_ptr(),
            len,
            &raw mut rids.0,
            &raw mut count,
        )
    })?;
    if rids.0.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the library gives `count` elements.
    let rids = unsafe { std::slice::from_raw_parts(rids.0, count as usize) };
    Ok(rids.iter().map(|rid| format!("S-1-5-32-{rid}")).collect())
}

fn sid_text(sid: &Sid) -> String {
    let mut buffer: [c_char; SID_TEXT_LEN] = [0; SID_TEXT_LEN];
    // SAFETY: the buffer has the length that is told; the result is terminated.
    unsafe {
        wbcSidToStringBuf(sid, buffer.as_mut_ptr(), SID_TEXT_LEN as c_int);
        CStr::from_ptr(buffer.as_ptr())
    }
    .to_string_lossy()
    .into_owned()
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: strings of the library are terminated and live as long as their owner.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

fn c_string(text: &str) -> Result<CString, WbcError> {
    CString::new(text).map_err(|_| WbcError::Other("name has a NUL".to_owned()))
}

fn length(bytes: &[u8]) -> Result<u32, WbcError> {
    u32::try_from(bytes.len()).map_err(|_| WbcError::Other("response is too long".to_owned()))
}

fn error(code: c_int) -> Result<(), WbcError> {
    match code {
        0 => Ok(()),
        WBC_ERR_WINBIND_NOT_AVAILABLE => Err(WbcError::NotAvailable),
        code => {
            // SAFETY: the library returns a constant string for any code.
            Err(WbcError::Other(text(unsafe { wbcErrorString(code) })))
        }
    }
}

/// A connection of our own to winbindd.
struct Context(*mut c_void);

impl Context {
    fn new() -> Result<Self, WbcError> {
        // SAFETY: no arguments; null means out of memory.
        let context = unsafe { wbcCtxCreate() };
        if context.is_null() {
            return Err(WbcError::Other("out of memory".to_owned()));
        }
        Ok(Self(context))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: created by the library and freed once.
        unsafe { wbcCtxFree(self.0) };
    }
}

/// Something that the library allocated.
struct Memory<T>(*mut T);

impl<T> Memory<T> {
    const fn null() -> Self {
        Self(ptr::null_mut())
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: allocated by the library and freed once.
            unsafe { wbcFreeMemory(self.0.cast()) };
        }
    }
}

const WBC_ERR_WINBIND_NOT_AVAILABLE: c_int = 6;
const WBC_ERR_AUTH_ERROR: c_int = 10;

/// struct wbcDomainSid.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sid {
    revision: u8,
    num_auths: u8,
    id_auth: [u8; 6],
    sub_auths: [u32; MAX_SUB_AUTHORITIES],
}

/// struct wbcSidWithAttr.
#[repr(C)]
struct SidWithAttributes {
    sid: Sid,
    attributes: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct NtlmResponse {
    challenge: [u8; 8],
    nt_len: u32,
    nt: *mut u8,
    lm_len: u32,
    lm: *mut u8,
}

/// struct wbcBlob.
#[repr(C)]
#[derive(Clone, Copy)]
struct Blob {
    data: *mut u8,
    len: usize,
}

#[repr(C)]
union Password {
    plaintext: *const c_char,
    hash: [u8; 32],
    response: NtlmResponse,
    pac: Blob,
}

/// struct wbcAuthUserParams.
#[repr(C)]
struct Params {
    account: *const c_char,
    domain: *const c_char,
    workstation: *const c_char,
    flags: u32,
    parameter_control: u32,
    level: c_int,
    password: Password,
}

/// struct wbcAuthUserInfo.
#[repr(C)]
struct Info {
    user_flags: u32,
    account_name: *mut c_char,
    user_principal: *mut c_char,
    full_name: *mut c_char,
    domain_name: *mut c_char,
    dns_domain_name: *mut c_char,
    acct_flags: u32,
    user_session_key: [u8; 16],
    lm_session_key: [u8; 8],
    logon_count: u16,
    bad_password_count: u16,
    times: [u64; 6],
    logon_server: *mut c_char,
    logon_script: *mut c_char,
    profile_path: *mut c_char,
    home_directory: *mut c_char,
    home_drive: *mut c_char,
    num_sids: u32,
    sids: *mut SidWithAttributes,
}

/// struct wbcAuthErrorInfo; newer versions append members.
#[repr(C)]
struct ErrorInfo {
    nt_status: u32,
    nt_string: *mut c_char,
    pam_error: i32,
    display_string: *mut c_char,
}

#[link(name = "wbclient")]
unsafe extern "C" {
    fn wbcCtxCreate() -> *mut c_void;
    fn wbcCtxFree(context: *mut c_void);
    fn wbcCtxPing(context: *mut c_void) -> c_int;
    fn wbcCtxAuthenticateUserEx(
        context: *mut c_void,
        params: *const Params,
        info: *mut *mut Info,
        error: *mut *mut ErrorInfo,
    ) -> c_int;
    fn wbcCtxGetSidAliases(
        context: *mut c_void,
        domain: *const Sid,
        sids: *mut Sid,
        num_sids: u32,
        alias_rids: *mut *mut u32,
        num_alias_rids: *mut u32,
    ) -> c_int;
    fn wbcFreeMemory(memory: *mut c_void);
    fn wbcErrorString(error: c_int) -> *const c_char;
    fn wbcStringToSid(text: *const c_char, sid: *mut Sid) -> c_int;
    fn wbcSidToStringBuf(sid: *const Sid, buffer: *mut c_char, len: c_int) -> c_int;
}
