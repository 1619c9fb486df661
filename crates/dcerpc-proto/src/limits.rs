//! Every bound that a peer can push against, with its reason.

use std::time::Duration;

/// Association groups of one listener: one a connection, and connections are capped far below.
pub const MAX_ASSOCIATION_GROUPS: usize = 65_536;

/// Smallest fragment size that each side must take: the MustRecvFragSize of C706 is 1432, but
/// Windows never negotiates below 2048.
pub const MIN_NEGOTIATED_FRAG: u16 = 2048;

/// Largest fragment of a named pipe, what Windows and Samba offer there. Whatever is negotiated, a
/// PDU up to the transport's limit is taken, as Windows does; binds and alter_contexts, which carry
/// Kerberos tickets, may have the 65,535 bytes that frag_length can say.
pub const MAX_FRAG_PIPE: u16 = 4280;

/// Largest fragment of TCP, what Windows and Samba offer there.
pub const MAX_FRAG_TCP: u16 = 5840;

/// Arguments of one call, all fragments together. The longest FSRVP request has two GUIDs and a
/// name of at most 16,384 units; twice that leaves room for a verification trailer and for `mgmt`.
/// (Windows takes 4 MiB.)
pub const MAX_STUB: usize = 65_536;

/// An alloc_hint above this is a lie that only probes for an allocation; Windows' and Samba's own
/// limit for a whole stub. It is never used to allocate.
pub const MAX_ALLOC_HINT: u32 = 4 << 20;

/// Results of one call that a client puts together; Windows' and Samba's own limit.
pub const MAX_RESPONSE: usize = 4 << 20;

/// \[C706 12.6.3.1\] MustRecvFragSize: a server that takes less is not one.
pub const MIN_PEER_FRAG: u16 = 1432;

/// Presentation contexts of one association: Windows binds three; more only costs memory.
pub const MAX_CONTEXTS: usize = 16;

/// Presentation contexts offered in one bind or alter_context. All are answered, 24 bytes each, and
/// the answer must fit into the smallest fragment.
pub const MAX_CONTEXT_ELEMENTS: usize = 64;

/// Token of one leg of NTLM: names, target information and responses take well under 1 KiB.
/// (Kerberos tokens carry group lists and may fill a whole bind.)
pub const MAX_TOKEN_NTLM: usize = 4096;

/// Security contexts of one association. Each holds keys and cost a logon; Samba's own limit is
/// 2049, clients use one to three.
pub const MAX_SECURITY_CONTEXTS: usize = 16;

/// Bytes buffered while the association waits for the driver (a step or a call): four largest
/// fragments, enough for a client that sends a cancel or its next request early.
pub const MAX_BUFFERED: usize = 4 * 65_536;

/// A connection on which nothing is in progress may be idle for this long before its first bind.
pub const BIND_TIMEOUT: Duration = Duration::from_secs(60);

/// Once the first byte of a PDU is there the rest must follow.
pub const PDU_TIMEOUT: Duration = Duration::from_secs(30);

/// Once the first fragment of a request is there the last must follow.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Once a security exchange has begun it must complete, the verifier's own time included. A client
/// that has bound interfaces of which it can call nothing yet has as much time to reach their level.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(60);
