//! Every bound that a peer can push against, with its reason.

/// An NTLM message. Windows' and Samba's AUTHENTICATE_MESSAGEs stay below 1 KiB; long names in
/// TargetInfo may double that.
pub(crate) const MAX_NTLM_MESSAGE: usize = 4096;

/// A SPNEGO or Kerberos token. A bind or alter_context PDU cannot carry more, and Kerberos
/// tickets with many groups come near.
pub(crate) const MAX_TOKEN: usize = 65_535;

/// AV_PAIRs in a TargetInfo. MS-NLMP defines 11.
pub(crate) const MAX_AV_PAIRS: usize = 32;

/// UTF-16 units of a user, domain or workstation name. The longest that Windows allows is a user
/// principal name of 256 + 1 + 256.
pub(crate) const MAX_NAME_UNITS: usize = 513;

/// mechTypes in a NegTokenInit. Windows offers 4.
pub(crate) const MAX_MECH_TYPES: usize = 16;
