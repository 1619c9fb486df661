//! DCE/RPC connection-oriented protocol, sans-IO: NDR, PDUs, associations and the security seam.

pub mod security;
