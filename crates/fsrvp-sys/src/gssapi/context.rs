//! Security contexts.

use std::fmt;
use std::ops::Range;
use std::ptr;

use libgssapi_sys as sys;

use super::credential::Credential;
use super::error::{GssError, GssErrorKind, check, check_in_sequence};
use super::raw::{Buffer, Name, borrowed, empty, iov, is_krb5, krb5};

/// Flags of a context (RFC 2743 1.2, RFC 4757 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextFlags(pub u32);

impl ContextFlags {
    /// What RPC needs to sign: mutual authentication in DCE style (three legs), replayed and
    /// reordered messages found, signing.
    pub const RPC_SIGN: Self = Self(
        sys::GSS_C_DCE_STYLE
            | sys::GSS_C_MUTUAL_FLAG
            | sys::GSS_C_REPLAY_FLAG
            | sys::GSS_C_SEQUENCE_FLAG
            | sys::GSS_C_INTEG_FLAG,
    );
    /// The same and sealing. Only for contexts that seal: Samba's servers reckon with the length
    /// of a sealing token as soon as a client asks for it.
    pub const RPC_SEAL: Self = Self(Self::RPC_SIGN.0 | sys::GSS_C_CONF_FLAG);
    /// Mutual authentication.
    pub const MUTUAL: Self = Self(sys::GSS_C_MUTUAL_FLAG);
    /// Three legs.
    pub const DCE_STYLE: Self = Self(sys::GSS_C_DCE_STYLE);
    /// Messages out of sequence are found.
    pub const SEQUENCE: Self = Self(sys::GSS_C_SEQUENCE_FLAG);
    /// Messages can be signed.
    pub const INTEGRITY: Self = Self(sys::GSS_C_INTEG_FLAG);
    /// Messages can be sealed.
    pub const CONFIDENTIALITY: Self = Self(sys::GSS_C_CONF_FLAG);

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Value of a name attribute that the mechanism vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedValue(pub Vec<u8>);

/// One Kerberos context. May move between threads, never be shared.
pub struct Context {
    raw: sys::gss_ctx_id_t,
    credential: Credential,
    role: Role,
    peer: Name,
    flags: ContextFlags,
    done: bool,
}

enum Role {
    Acceptor,
    Initiator { target: Name, flags: ContextFlags },
}

// SAFETY: MIT's contexts have no affinity to a thread, and all methods that change one take
// `&mut self`.
unsafe impl Send for Context {}

impl Context {
    /// A context that waits for a client's AP-REQ.
    #[must_use]
    pub fn acceptor(credential: Credential) -> Self {
        Self::new(credential, Role::Acceptor)
    }

    /// A context for `service@host` that asks for `flags`.
    ///
    /// # Errors
    /// [`GssError`] if the name cannot be used.
    pub fn initiator(
        credential: Credential,
        target: &str,
        flags: ContextFlags,
    ) -> Result<Self, GssError> {
        let target = Name::hostbased_service(target)?;
        Ok(Self::new(credential, Role::Initiator { target, flags }))
    }

    fn new(credential: Credential, role: Role) -> Self {
        Self {
            raw: ptr::null_mut(),
            credential,
            role,
            peer: Name::null(),
            flags: ContextFlags(0),
            done: false,
        }
    }

    /// Consumes the peer's token (empty for an initiator's first step); returns ours and whether
    /// the context is complete. May block (key distribution centre, replay cache).
    ///
    /// # Errors
    /// Any error ends the context.
    pub fn step(&mut self, token: &[u8]) -> Result<(Vec<u8>, bool), GssError> {
        let mut output = Buffer::default();
        let (mut minor, mut mech) = (0, ptr::null_mut());
        let mut input = if token.is_empty() {
            empty()
        } else {
            borrowed(token)
        };
        let (call, major) = match &self.role {
            Role::Acceptor => {
                self.peer = Name::null();
                // SAFETY: context and credential are ours and live; input outlives the call; the
                // library allocates output and peer, which their owners release.
                let major = unsafe {
                    sys::gss_accept_sec_context(
                        &raw mut minor,
                        &raw mut self.raw,
                        self.credential.as_raw(),
                        &raw mut input,
                        ptr::null_mut(),
                        self.peer.as_mut_ptr(),
                        &raw mut mech,
                        output.as_mut_ptr(),
                        &raw mut self.flags.0,
                        ptr::null_mut(),
                        ptr::null_mut(),
                    )
                };
                ("gss_accept_sec_context", major)
            }
            Role::Initiator { target, flags } => {
                // SAFETY: as above; the target name is live.
                let major = unsafe {
                    sys::gss_init_sec_context(
                        &raw mut minor,
                        self.credential.as_raw(),
                        &raw mut self.raw,
                        target.as_raw(),
                        krb5(),
                        flags.0,
                        0,
                        ptr::null_mut(),
                        &raw mut input,
                        &raw mut mech,
                        output.as_mut_ptr(),
                        &raw mut self.flags.0,
                        ptr::null_mut(),
                    )
                };
                ("gss_init_sec_context", major)
            }
        };
        let supplementary = check(call, major, minor)?;
        self.done = supplementary & sys::GSS_S_CONTINUE_NEEDED == 0;
        if self.done && supplementary != sys::GSS_S_COMPLETE {
            let text = "token is replayed or old";
            return Err(GssError::own(call, GssErrorKind::Refused, text));
        }
        // SAFETY: the library reports one of its own static descriptors, or null.
        if self.done && !unsafe { is_krb5(mech) } {
            return Err(GssError::own(
                call,
                GssErrorKind::DefectiveToken,
                "not Kerberos",
            ));
        }
        Ok((output.to_vec(), self.done))
    }

    /// Flags of the complete context.
    #[must_use]
    pub fn flags(&self) -> ContextFlags {
        self.flags
    }

    /// The client's principal, on a complete acceptor.
    ///
    /// # Errors
    /// [`GssError`] if there is none.
    pub fn peer(&self) -> Result<String, GssError> {
        if self.peer.is_null() {
            let text = "peer has no name";
            return Err(GssError::own(
                "gss_display_name",
                GssErrorKind::Refused,
                text,
            ));
        }
        self.peer.display()
    }

    /// The service principal that the client's ticket is for.
    ///
    /// # Errors
    /// [`GssError`] if the context is not complete.
    pub fn target(&self) -> Result<String, GssError> {
        self.check_usable("gss_inquire_context")?;
        let mut target = Name::null();
        let mut minor = 0;
        // SAFETY: the context is live; null outputs are allowed; Name releases the target.
        let major = unsafe {
            sys::gss_inquire_context(
                &raw mut minor,
                self.raw,
                ptr::null_mut(),
                target.as_mut_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check("gss_inquire_context", major, minor)?;
        if target.is_null() {
            Ok(String::new())
        } else {
            target.display()
        }
    }

    /// An attribute of the peer's name, if the peer has it and the mechanism vouches for it.
    ///
    /// # Errors
    /// [`GssErrorKind::Refused`] if it is there and nobody vouches for it.
    pub fn peer_attribute(&self, name: &str) -> Result<Option<AuthenticatedValue>, GssError> {
        const CALL: &str = "gss_get_name_attribute";
        if self.peer.is_null() {
            return Ok(None);
        }
        let (mut value, mut display_value) = (Buffer::default(), Buffer::default());
        let mut attribute = borrowed(name.as_bytes());
        let (mut minor, mut authenticated, mut complete, mut more) = (0, 0, 0, -1);
        // SAFETY: the name is live; the library allocates both values, Buffers release them.
        let major = unsafe {
            sys::gss_get_name_attribute(
                &raw mut minor,
                self.peer.as_raw(),
                &raw mut attribute,
                &raw mut authenticated,
                &raw mut complete,
                value.as_mut_ptr(),
                display_value.as_mut_ptr(),
                &raw mut more,
            )
        };
        if major & 0x00ff_0000 == sys::_GSS_S_UNAVAILABLE {
            return Ok(None);
        }
        check(CALL, major, minor)?;
        if authenticated == 0 {
            return Err(GssError::own(
                CALL,
                GssErrorKind::Refused,
                "attribute has no authority",
            ));
        }
        Ok(Some(AuthenticatedValue(value.to_vec())))
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// [`GssError`] if the context is not complete.
    pub fn mic(&mut self, message: &[u8]) -> Result<Vec<u8>, GssError> {
        self.check_usable("gss_get_mic")?;
        let mut token = Buffer::default();
        let (mut minor, mut message) = (0, borrowed(message));
        // SAFETY: context and message are live; Buffer releases the token.
        let major = unsafe {
            sys::gss_get_mic(
                &raw mut minor,
                self.raw,
                0,
                &raw mut message,
                token.as_mut_ptr(),
            )
        };
        check_in_sequence("gss_get_mic", major, minor)?;
        Ok(token.to_vec())
    }

    /// Checks a signature over `message`, and that it is the next one.
    ///
    /// # Errors
    /// [`GssErrorKind::BadSignature`] or [`GssErrorKind::DefectiveToken`].
    pub fn verify_mic(&mut self, message: &[u8], mic: &[u8]) -> Result<(), GssError> {
        self.check_usable("gss_verify_mic")?;
        let (mut minor, mut qop) = (0, 0);
        let (mut message, mut mic) = (borrowed(message), borrowed(mic));
        // SAFETY: context, message and token are live and only read.
        let major = unsafe {
            sys::gss_verify_mic(
                &raw mut minor,
                self.raw,
                &raw mut message,
                &raw mut mic,
                &raw mut qop,
            )
        };
        check_in_sequence("gss_verify_mic", major, minor)
    }

    /// Length of a [`Context::mic`].
    ///
    /// # Errors
    /// [`GssError`] if the context is not complete.
    pub fn mic_len(&self, message_len: usize) -> Result<usize, GssError> {
        const CALL: &str = "gss_get_mic_iov_length";
        self.check_usable(CALL)?;
        let mut message = vec![0_u8; message_len];
        let mut buffers = [
            iov(sys::GSS_IOV_BUFFER_TYPE_DATA, &mut message),
            iov(sys::GSS_IOV_BUFFER_TYPE_MIC_TOKEN, &mut []),
        ];
        let mut minor = 0;
        // SAFETY: the context is live and two buffers are given; only lengths are written.
        let major = unsafe {
            sys::gss_get_mic_iov_length(&raw mut minor, self.raw, 0, buffers.as_mut_ptr(), 2)
        };
        check(CALL, major, minor)?;
        let [_, token] = buffers;
        Ok(token.buffer.length)
    }

    /// Length of the token of a [`Context::wrap`] of `body_len` bytes.
    ///
    /// # Errors
    /// [`GssError`] if the context is not complete.
    pub fn wrap_len(&self, body_len: usize) -> Result<usize, GssError> {
        const CALL: &str = "gss_wrap_iov_length";
        self.check_usable(CALL)?;
        let mut body = vec![0_u8; body_len];
        let mut buffers = [
            iov(sys::GSS_IOV_BUFFER_TYPE_HEADER, &mut []),
            iov(sys::GSS_IOV_BUFFER_TYPE_DATA, &mut body),
        ];
        let (mut minor, mut sealed) = (0, 0);
        // SAFETY: as in mic_len.
        let major = unsafe {
            sys::gss_wrap_iov_length(
                &raw mut minor,
                self.raw,
                1,
                0,
                &raw mut sealed,
                buffers.as_mut_ptr(),
                2,
            )
        };
        check(CALL, major, minor)?;
        let [token, _] = buffers;
        Ok(token.buffer.length)
    }

    /// Encrypts `pdu[body]` in place and returns the token; `sign_around` also signs what stands
    /// before and behind the body.
    ///
    /// # Errors
    /// [`GssError`] if the context is not complete or `body` lies outside `pdu`.
    pub fn wrap(
        &mut self,
        pdu: &mut [u8],
        body: Range<usize>,
        sign_around: bool,
    ) -> Result<Vec<u8>, GssError> {
        const CALL: &str = "gss_wrap_iov";
        let mut token = vec![0_u8; self.wrap_len(body.len())?];
        let mut buffers = layout(CALL, &mut token, pdu, body, sign_around)?;
        let (mut minor, mut sealed) = (0, 0);
        // SAFETY: the context is live; the four buffers are disjoint and outlive the call.
        let major = unsafe {
            sys::gss_wrap_iov(
                &raw mut minor,
                self.raw,
                1,
                0,
                &raw mut sealed,
                buffers.as_mut_ptr(),
                4,
            )
        };
        check_in_sequence(CALL, major, minor)?;
        let [header, ..] = buffers;
        if sealed == 0 || header.buffer.length != token.len() {
            return Err(GssError::own(
                CALL,
                GssErrorKind::Refused,
                "message was not sealed",
            ));
        }
        Ok(token)
    }

    /// Decrypts `pdu[body]` in place and checks `token`, and that it is the next one.
    ///
    /// # Errors
    /// [`GssErrorKind::BadSignature`] or [`GssErrorKind::DefectiveToken`].
    pub fn unwrap(
        &mut self,
        pdu: &mut [u8],
        body: Range<usize>,
        sign_around: bool,
        token: &[u8],
    ) -> Result<(), GssError> {
        const CALL: &str = "gss_unwrap_iov";
        self.check_usable(CALL)?;
        let mut token = token.to_vec();
        let mut buffers = layout(CALL, &mut token, pdu, body, sign_around)?;
        let (mut minor, mut sealed, mut qop) = (0, 0, 0);
        // SAFETY: as in wrap.
        let major = unsafe {
            sys::gss_unwrap_iov(
                &raw mut minor,
                self.raw,
                &raw mut sealed,
                &raw mut qop,
                buffers.as_mut_ptr(),
                4,
            )
        };
        check_in_sequence(CALL, major, minor)?;
        if sealed == 0 {
            return Err(GssError::own(
                CALL,
                GssErrorKind::BadSignature,
                "message is not sealed",
            ));
        }
        Ok(())
    }

    fn check_usable(&self, call: &'static str) -> Result<(), GssError> {
        if self.done && !self.raw.is_null() {
            return Ok(());
        }
        Err(GssError::own(
            call,
            GssErrorKind::Refused,
            "context is not complete",
        ))
    }
}

/// The IOV of a DCE/RPC PDU: token, header, body, sec_trailer.
fn layout(
    call: &'static str,
    token: &mut [u8],
    pdu: &mut [u8],
    body: Range<usize>,
    sign_around: bool,
) -> Result<[sys::gss_iov_buffer_desc; 4], GssError> {
    let outside = || GssError::own(call, GssErrorKind::Refused, "body lies outside the message");
    if body.start > body.end {
        return Err(outside());
    }
    let (before, rest) = pdu.split_at_mut_checked(body.start).ok_or_else(outside)?;
    let (body, after) = rest.split_at_mut_checked(body.len()).ok_or_else(outside)?;
    let around = if sign_around {
        sys::GSS_IOV_BUFFER_TYPE_SIGN_ONLY
    } else {
        sys::GSS_IOV_BUFFER_TYPE_EMPTY
    };
    Ok([
        iov(sys::GSS_IOV_BUFFER_TYPE_HEADER, token),
        iov(around, before),
        iov(sys::GSS_IOV_BUFFER_TYPE_DATA, body),
        iov(around, after),
    ])
}

impl Drop for Context {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            let mut minor = 0;
            // SAFETY: the context came from the library and is deleted once.
            unsafe {
                sys::gss_delete_sec_context(&raw mut minor, &raw mut self.raw, ptr::null_mut());
            }
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
