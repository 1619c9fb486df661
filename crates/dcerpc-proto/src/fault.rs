//! Status of a fault PDU.

use std::fmt;

/// \[C706 appendix E, MS-RPCE 2.2.2.6\] Why a call was not answered by a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultStatus(pub u32);

impl FaultStatus {
    /// The caller, its level or its verifier is refused (`nca_s_fault_access_denied`).
    pub const ACCESS_DENIED: Self = Self(0x0000_0005);
    /// The stub does not decode (`RPC_X_BAD_STUB_DATA`).
    pub const BAD_STUB_DATA: Self = Self(0x0000_06F7);
    /// The security package failed: a signature does not match (`RPC_S_SEC_PKG_ERROR`).
    pub const SECURITY_PACKAGE: Self = Self(0x0000_0721);
    /// The call that a cancel is for does not exist (`RPC_S_NO_CALL_ACTIVE`).
    pub const NO_CALL_ACTIVE: Self = Self(0x0000_06BD);
    /// What Windows answers to a malformed auth3 (`nca_s_fault_remote_no_memory`).
    pub const REMOTE_NO_MEMORY: Self = Self(0x1C00_001B);
    /// The server has no room for the call (`nca_s_server_too_busy`).
    pub const SERVER_TOO_BUSY: Self = Self(0x1C01_0014);
    /// The operation number is out of range (`nca_s_op_rng_error`).
    pub const OP_RANGE: Self = Self(0x1C01_0002);
    /// The presentation context is not known (`nca_s_unk_if`).
    pub const UNKNOWN_INTERFACE: Self = Self(0x1C01_0003);
    /// The peer broke the rules of the protocol (`nca_s_proto_error`).
    pub const PROTOCOL: Self = Self(0x1C01_000B);
    /// The call was cancelled (`nca_s_fault_cancel`).
    pub const CANCELLED: Self = Self(0x1C00_000D);
    /// The server failed for a reason that has no better code (`nca_s_fault_unspec`).
    pub const UNSPECIFIED: Self = Self(0x1C00_0012);
}

impl fmt::Debug for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStatus({:#010x})", self.0)
    }
}

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}
