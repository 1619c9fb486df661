//! DCE/RPC connection-oriented protocol, sans-IO: NDR, PDUs, associations and the security seam.

pub mod assoc;
pub mod byte_order;
pub mod fault;
pub mod limits;
pub mod ndr;
pub mod pdu;
pub mod security;
pub mod syntax;
pub mod verification;

pub use byte_order::ByteOrder;
pub use fault::FaultStatus;
pub use syntax::SyntaxId;
