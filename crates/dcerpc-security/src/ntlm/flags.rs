//! \[MS-NLMP 2.2.2.5\] NEGOTIATE flags.

bitflags::bitflags! {
    /// \[MS-NLMP 2.2.2.5\] NEGOTIATE.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct NegotiateFlags: u32 {
        /// Strings are UTF-16.
        const UNICODE = 0x0000_0001;
        /// The CHALLENGE_MESSAGE must carry TargetName.
        const REQUEST_TARGET = 0x0000_0004;
        /// Signing.
        const SIGN = 0x0000_0010;
        /// Sealing.
        const SEAL = 0x0000_0020;
        /// NTLM session security.
        const NTLM = 0x0000_0200;
        /// The connection is anonymous.
        const ANONYMOUS = 0x0000_0800;
        /// A signature block on all messages.
        const ALWAYS_SIGN = 0x0000_8000;
        /// TargetName is a domain.
        const TARGET_TYPE_DOMAIN = 0x0001_0000;
        /// TargetName is a server.
        const TARGET_TYPE_SERVER = 0x0002_0000;
        /// Extended session security.
        const EXTENDED_SESSIONSECURITY = 0x0008_0000;
        /// TargetInfo is present.
        const TARGET_INFO = 0x0080_0000;
        /// Version is present.
        const VERSION = 0x0200_0000;
        /// 128-bit session keys.
        const NEGOTIATE_128 = 0x2000_0000;
        /// Key exchange.
        const KEY_EXCH = 0x4000_0000;
        /// 56-bit session keys.
        const NEGOTIATE_56 = 0x8000_0000;
        const _ = !0;
    }
}

impl NegotiateFlags {
    /// Without these a context is refused: NTLMv1 session security has no integrity worth its
    /// name, and shorter keys can be searched.
    pub const OBLIGATORY: Self = Self::UNICODE
        .union(Self::NTLM)
        .union(Self::EXTENDED_SESSIONSECURITY);
}
