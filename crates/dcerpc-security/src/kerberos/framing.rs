//! Telling raw Kerberos messages from GSS-framed ones.

use dcerpc_proto::security::SecurityError;

use crate::limits::MAX_TOKEN;

/// `[APPLICATION 14]`: AP-REQ.
pub(super) const AP_REQ: u8 = 0x6e;
/// `[APPLICATION 15]`: AP-REP.
pub(super) const AP_REP: u8 = 0x6f;
/// Tag of a GSS InitialContextToken.
const INITIAL_CONTEXT_TOKEN: u8 = 0x60;
/// DER of 1.2.840.113554.1.2.2
const KRB5: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02,
];
/// DER of 1.2.840.48018.1.2.2
const MS_KRB5: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02,
];
/// TOK_ID of AP-REQ and AP-REP inside the frame (RFC 4121 4.1).
const TOK_IDS: [&[u8]; 2] = [&[0x01, 0x00], &[0x02, 0x00]];

/// The raw Kerberos message of a token, which must be of type `tag`.
///
/// DCE style is raw (RFC 4757 7.1) and MIT takes nothing else, but impacket frames its AP-REQ.
pub(crate) fn raw_message(token: &[u8], tag: u8) -> Result<&[u8], SecurityError> {
    if token.len() > MAX_TOKEN {
        return Err(malformed("token is too long"));
    }
    let raw = match token.split_first() {
        Some((&INITIAL_CONTEXT_TOKEN, rest)) => unframe(rest)?,
        _ => token,
    };
    if raw.first() == Some(&tag) {
        Ok(raw)
    } else {
        Err(malformed("unexpected message type"))
    }
}

/// What stands in a frame behind its tag.
fn unframe(rest: &[u8]) -> Result<&[u8], SecurityError> {
    let (length, contents) = der_length(rest)?;
    if length != contents.len() {
        return Err(malformed("frame length does not match"));
    }
    let inner = [KRB5, MS_KRB5]
        .iter()
        .find_map(|oid| contents.strip_prefix(*oid))
        .ok_or_else(|| malformed("frame of another mechanism"))?;
    TOK_IDS
        .iter()
        .find_map(|id| inner.strip_prefix(*id))
        .ok_or_else(|| malformed("unexpected token identifier"))
}

/// A DER length of at most four octets and what follows it.
fn der_length(bytes: &[u8]) -> Result<(usize, &[u8]), SecurityError> {
    let (&first, rest) = bytes
        .split_first()
        .ok_or_else(|| malformed("frame is cut off"))?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(malformed("frame length is not definite"));
    }
    let (octets, rest) = rest
        .split_at_checked(count)
        .ok_or_else(|| malformed("frame is cut off"))?;
    let length = octets
        .iter()
        .fold(0_u64, |length, octet| (length << 8) | u64::from(*octet));
    Ok((
        usize::try_from(length).map_err(|_| malformed("frame is too long"))?,
        rest,
    ))
}

fn malformed(what: &str) -> SecurityError {
    SecurityError::Malformed(format!("kerberos: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(oid: &[u8], tok_id: &[u8], message: &[u8]) -> Vec<u8> {
        let contents = [oid, tok_id, message].concat();
        let len = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[0x60, 0x82], len.as_slice(), &contents].concat()
    }

    #[test]
    fn raw_and_framed_messages_are_the_same() {
        let message = [AP_REQ, 0x03, 1, 2, 3];
        assert_eq!(raw_message(&message, AP_REQ), Ok(message.as_slice()));
        for oid in [KRB5, MS_KRB5] {
            let token = framed(oid, &[1, 0], &message);
            assert_eq!(raw_message(&token, AP_REQ), Ok(message.as_slice()));
        }
    }

    #[test]
    fn lies_are_refused() {
        let message = [AP_REQ, 0x03, 1, 2, 3];
        let good = framed(KRB5, &[1, 0], &message);
        let other_mech = [0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
        for token in [
            Vec::new(),
            vec![0x60],
            vec![0x60, 0x80],
            vec![0x60, 0x85, 1, 1, 1, 1, 1],
            vec![0x60, 0x84, 0xff, 0xff, 0xff, 0xff],
            good[..good.len() - 1].to_vec(),
            [good.as_slice(), &[0]].concat(),
            framed(&other_mech, &[1, 0], &message),
            framed(KRB5, &[4, 4], &message),
            framed(KRB5, &[1, 0], &[0x7e, 0]),
            vec![AP_REP, 0],
        ] {
            assert!(
                matches!(
                    raw_message(&token, AP_REQ),
                    Err(SecurityError::Malformed(_))
                ),
                "{token:02x?}"
            );
        }
    }
}
