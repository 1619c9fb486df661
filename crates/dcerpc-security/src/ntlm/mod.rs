//! NTLM (MS-NLMP): NTLMv2 with extended session security and 128-bit keys, nothing older.

mod acceptor;
mod av_pair;
mod challenge;
pub(crate) mod crypto;
mod flags;
mod initiator;
mod messages;
mod session;
#[cfg(test)]
mod tests;

pub use acceptor::{AcceptorConfig, NtlmAcceptor};
pub use av_pair::{AV_FLAG_MIC, AV_FLAG_UNTRUSTED_TARGET, AvId, AvPairs};
pub use challenge::{ChallengeSource, FreshChallenges};
pub use flags::NegotiateFlags;
pub use initiator::NtlmInitiator;
pub use messages::{Authenticate, Challenge, Negotiate};
#[cfg(test)]
pub(crate) use session::Replayed;
