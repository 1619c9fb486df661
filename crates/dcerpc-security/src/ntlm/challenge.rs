//! Where the acceptor's CHALLENGE_MESSAGE comes from.

use std::fmt;
use std::sync::Arc;

use dcerpc_proto::security::SecurityError;

use super::av_pair::{AvId, AvPairs};
use super::crypto::utf16le;
use super::flags::NegotiateFlags;
use super::messages::Challenge;
use crate::ServerNames;
use crate::environment::Environment;

/// Makes the CHALLENGE_MESSAGE for a client's flags.
pub trait ChallengeSource: Send + Sync + fmt::Debug {
    /// The encoded message. Its ServerChallenge must never repeat.
    ///
    /// # Errors
    /// [`SecurityError::Unavailable`] without random numbers.
    fn challenge(&self, requested: NegotiateFlags) -> Result<Vec<u8>, SecurityError>;
}

/// Fresh challenges with the server's names.
#[derive(Debug, Clone)]
pub struct FreshChallenges {
    /// The server's names.
    pub names: ServerNames,
    /// Randomness and time.
    pub environment: Arc<dyn Environment>,
}

impl ChallengeSource for FreshChallenges {
    /// \[MS-NLMP 3.2.5.1.1\] with MsvAvTimestamp, so that clients add a MIC.
    fn challenge(&self, requested: NegotiateFlags) -> Result<Vec<u8>, SecurityError> {
        let grantable = NegotiateFlags::UNICODE
            | NegotiateFlags::SIGN
            | NegotiateFlags::SEAL
            | NegotiateFlags::NTLM
            | NegotiateFlags::ALWAYS_SIGN
            | NegotiateFlags::EXTENDED_SESSIONSECURITY
            | NegotiateFlags::NEGOTIATE_128
            | NegotiateFlags::NEGOTIATE_56
            | NegotiateFlags::KEY_EXCH
            | NegotiateFlags::VERSION;
        let mut server_challenge = [0_u8; 8];
        self.environment.random(&mut server_challenge)?;
        let mut target_info = AvPairs::default();
        for (id, name) in [
            (AvId::NB_DOMAIN_NAME, &self.names.netbios_domain),
            (AvId::NB_COMPUTER_NAME, &self.names.netbios_name),
            (AvId::DNS_DOMAIN_NAME, &self.names.dns_domain),
            (AvId::DNS_COMPUTER_NAME, &self.names.dns_name),
        ] {
            target_info.set(id, utf16le(name));
        }
        target_info.set(
            AvId::TIMESTAMP,
            self.environment.filetime().to_le_bytes().to_vec(),
        );
        Challenge {
            flags: (requested & grantable)
                | NegotiateFlags::REQUEST_TARGET
                | NegotiateFlags::TARGET_TYPE_SERVER
                | NegotiateFlags::TARGET_INFO,
            server_challenge,
            target_name: utf16le(&self.names.netbios_name),
            target_info: target_info.encode()?,
        }
        .encode()
    }
}
