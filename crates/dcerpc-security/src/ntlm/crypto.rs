//! \[MS-NLMP 6\] The one-way functions, over RustCrypto.

use hmac::{Hmac, KeyInit, Mac};
use md4::Md4;
use md5::{Digest, Md5};
use rc4::{Rc4, StreamCipher};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Key16;

/// HMAC_MD5 over the concatenation of `parts`.
pub(crate) fn hmac_md5(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    // A key shorter than the block is padded with zeros: 16 bytes always fit.
    let mut block = Zeroizing::new([0_u8; 64]);
    if let Some(start) = block.first_chunk_mut::<16>() {
        *start = *key;
    }
    let mut mac = Hmac::<Md5>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// MD5 over the concatenation of `parts`.
pub(crate) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// An RC4 handle with a 16-byte key.
pub(crate) fn rc4_handle(key: &[u8; 16]) -> Rc4 {
    // RC4 repeats its key: 32 bytes of the same key twice give the same schedule.
    let mut twice = Zeroizing::new([0_u8; 32]);
    for (target, source) in twice.iter_mut().zip(key.iter().cycle()) {
        *target = *source;
    }
    Rc4::new((&*twice).into())
}

/// RC4K: encrypts or decrypts `data` in place with a fresh handle.
pub(crate) fn rc4k(key: &[u8; 16], data: &mut [u8]) {
    rc4_handle(key).apply_keystream(data);
}

/// Whether two byte strings are equal, in time that depends on their lengths only.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// UTF-16LE without terminator.
pub(crate) fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// \[MS-NLMP 3.3.1\] NTOWFv1: MD4 of the UTF-16 password.
pub(crate) fn nt_hash(password: &str) -> Key16 {
    let units = Zeroizing::new(utf16le(password));
    let hash: [u8; 16] = Md4::digest(&*units).into();
    Key16::from(hash)
}

/// \[MS-NLMP 3.3.2\] NTOWFv2.
pub(crate) fn ntowfv2(nt_hash: &Key16, user: &str, domain: &str) -> Key16 {
    let identity = [utf16le(&upper_case(user)), utf16le(domain)].concat();
    Key16::from(hmac_md5(nt_hash.expose(), &[&identity]))
}

/// Upper case as Windows and Samba do it: character by character, never lengthening the text.
pub(crate) fn upper_case(text: &str) -> String {
    text.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(single), None) => single,
                _ => c,
            }
        })
        .collect()
}

/// \[MS-NLMP 3.3.2\] NTProofStr and SessionBaseKey of an NTLMv2 response whose
/// NTLMv2_CLIENT_CHALLENGE is `client_challenge`.
pub(crate) fn ntlmv2(
    response_key: &Key16,
    server_challenge: &[u8; 8],
    client_challenge: &[u8],
) -> ([u8; 16], Key16) {
    let proof = hmac_md5(response_key.expose(), &[server_challenge, client_challenge]);
    let base_key = hmac_md5(response_key.expose(), &[&proof]);
    (proof, Key16::from(base_key))
}
