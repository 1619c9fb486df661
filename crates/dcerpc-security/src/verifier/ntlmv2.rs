//! Checking an NTLMv2 response against an NT hash that we hold.

use super::Logon;
use crate::Key16;
use crate::ntlm::crypto::{equal, ntlmv2, ntowfv2, upper_case};

/// The session base key if the response proves knowledge of `nt_hash`.
///
/// Like Samba's, the check takes the domain as it came, in upper case, and none at all: clients
/// differ in what they hash. All three are computed always, so that time tells nothing.
pub(super) fn prove(nt_hash: &Key16, logon: &Logon<'_>) -> Option<Key16> {
    let (proof, client_challenge) = logon.nt_response.split_first_chunk::<16>()?;
    let upper = upper_case(logon.domain);
    let mut proven = None;
    for domain in [logon.domain, &upper, ""] {
        let response_key = ntowfv2(nt_hash, logon.user, domain);
        let (expected, base_key) = ntlmv2(&response_key, &logon.challenge, client_challenge);
        if equal(&expected, proof) {
            proven = Some(base_key);
        }
    }
    proven
}
