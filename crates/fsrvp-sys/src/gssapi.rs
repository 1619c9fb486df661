//! Kerberos through MIT's libgssapi_krb5 (RFC 2743, RFC 4121, DCE style of RFC 4757 7.1).
//!
//! Only the Kerberos mechanism is ever acquired or asked for: SPNEGO and others that the library
//! also has are not reachable from here.

mod context;
mod credential;
mod error;
mod raw;

pub use context::{AuthenticatedValue, Context, ContextFlags};
pub use credential::{AcceptorSource, Credential, InitiatorSource};
pub use error::{GssError, GssErrorKind};
