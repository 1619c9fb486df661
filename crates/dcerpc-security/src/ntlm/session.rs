//! \[MS-NLMP 3.4\] Session security with extended session security and 128-bit keys.

use std::fmt;
use std::ops::Range;

use dcerpc_proto::security::{AuthLevel, SecurityError};
use rc4::{Rc4, StreamCipher};

use super::crypto::{equal, hmac_md5, md5, rc4_handle};
use super::flags::NegotiateFlags;
use crate::Key16;

/// Length of an NTLMSSP_MESSAGE_SIGNATURE.
pub(super) const SIGNATURE_LEN: usize = 16;

/// Which side of the exchange we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Initiator,
    Acceptor,
}

/// Keys, handles and sequence numbers of both directions.
#[derive(Debug)]
pub(super) struct Session {
    send: Direction,
    receive: Direction,
    flags: NegotiateFlags,
}

impl Session {
    pub(super) fn new(side: Side, exported_key: &Key16, flags: NegotiateFlags) -> Self {
        let key_exchange = flags.contains(NegotiateFlags::KEY_EXCH);
        // [MS-NLMP 3.4.5.2], [MS-NLMP 3.4.5.3]: the magic constants include their NUL.
        let to_server = Direction::new(
            exported_key,
            b"session key to client-to-server signing key magic constant\0",
            b"session key to client-to-server sealing key magic constant\0",
            key_exchange,
        );
        let to_client = Direction::new(
            exported_key,
            b"session key to server-to-client signing key magic constant\0",
            b"session key to server-to-client sealing key magic constant\0",
            key_exchange,
        );
        let (send, receive) = match side {
            Side::Initiator => (to_server, to_client),
            Side::Acceptor => (to_client, to_server),
        };
        Self {
            send,
            receive,
            flags,
        }
    }

    /// Signs, and seals at privacy, one PDU. NTLM covers the whole PDU whether or not header
    /// signing was negotiated.
    pub(super) fn protect(
        &mut self,
        level: AuthLevel,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        let seal = self.check_level(level)?;
        let (seq, mac) = self.send.mac(pdu);
        if seal {
            let body = pdu.get_mut(body).ok_or(SecurityError::OutOfTurn)?;
            self.send.handle.apply_keystream(body);
        }
        Ok(self.send.signature(seq, mac).to_vec())
    }

    /// Opens one PDU and checks its signature.
    pub(super) fn unprotect(
        &mut self,
        level: AuthLevel,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        let seal = self.check_level(level)?;
        if seal {
            let body = pdu.get_mut(body).ok_or(SecurityError::OutOfTurn)?;
            self.receive.handle.apply_keystream(body);
        }
        let (seq, mac) = self.receive.mac(pdu);
        let expected = self.receive.signature(seq, mac);
        if equal(&expected, signature) {
            Ok(())
        } else {
            Err(SecurityError::BadSignature)
        }
    }

    /// \[MS-SPNG 3.2.5.1\] Signs the mechTypes. The handle goes back to its start afterwards, the
    /// sequence number goes on.
    pub(super) fn mech_list_mic(&mut self, mech_types: &[u8]) -> Vec<u8> {
        let (seq, mac) = self.send.mac(mech_types);
        let signature = self.send.signature(seq, mac);
        self.send.reset_handle();
        signature.to_vec()
    }

    /// Checks the peer's signature over the mechTypes.
    pub(super) fn verify_mech_list_mic(
        &mut self,
        mech_types: &[u8],
        mic: &[u8],
    ) -> Result<(), SecurityError> {
        let (seq, mac) = self.receive.mac(mech_types);
        let expected = self.receive.signature(seq, mac);
        self.receive.reset_handle();
        if equal(&expected, mic) {
            Ok(())
        } else {
            Err(SecurityError::BadSignature)
        }
    }

    /// Whether `level` seals; refuses what was not negotiated.
    fn check_level(&self, level: AuthLevel) -> Result<bool, SecurityError> {
        let (seal, needed) = match level {
            AuthLevel::None | AuthLevel::Connect => return Err(SecurityError::OutOfTurn),
            AuthLevel::Call | AuthLevel::Packet | AuthLevel::Integrity => {
                (false, NegotiateFlags::SIGN)
            }
            AuthLevel::Privacy => (true, NegotiateFlags::SIGN.union(NegotiateFlags::SEAL)),
        };
        if self.flags.contains(needed) {
            Ok(seal)
        } else {
            Err(SecurityError::OutOfTurn)
        }
    }
}

/// One direction.
struct Direction {
    signing_key: Key16,
    sealing_key: Key16,
    handle: Rc4,
    sequence: u32,
    key_exchange: bool,
}

impl Direction {
    fn new(exported: &Key16, sign: &[u8], seal: &[u8], key_exchange: bool) -> Self {
        let sealing_key = Key16::from(md5(&[exported.expose(), seal]));
        Self {
            signing_key: Key16::from(md5(&[exported.expose(), sign])),
            handle: rc4_handle(sealing_key.expose()),
            sealing_key,
            sequence: 0,
            key_exchange,
        }
    }

    /// Takes the next sequence number and computes the MAC of `message` with it, not yet
    /// encrypted: sealing the body takes the key stream first.
    fn mac(&mut self, message: &[u8]) -> ([u8; 4], [u8; 8]) {
        let sequence = self.sequence.to_le_bytes();
        self.sequence = self.sequence.wrapping_add(1);
        let [a, b, c, d, e, f, g, h, ..] =
            hmac_md5(self.signing_key.expose(), &[&sequence, message]);
        (sequence, [a, b, c, d, e, f, g, h])
    }

    /// \[MS-NLMP 3.4.4.2\] NTLMSSP_MESSAGE_SIGNATURE.
    fn signature(&mut self, sequence: [u8; 4], mut mac: [u8; 8]) -> [u8; SIGNATURE_LEN] {
        if self.key_exchange {
            self.handle.apply_keystream(&mut mac);
        }
        let ([a, b, c, d, e, f, g, h], [s, t, u, v]) = (mac, sequence);
        [1, 0, 0, 0, a, b, c, d, e, f, g, h, s, t, u, v]
    }

    fn reset_handle(&mut self) {
        self.handle = rc4_handle(self.sealing_key.expose());
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direction")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// The client's half of a recorded session, whose key is known.
#[cfg(test)]
pub(crate) struct Replayed(Session);

#[cfg(test)]
impl Replayed {
    pub(crate) fn initiator(exported_key: &Key16, flags: NegotiateFlags) -> Self {
        Self(Session::new(Side::Initiator, exported_key, flags))
    }

    /// Both sides have signed the mechTypes.
    pub(crate) fn skip_mech_list_mics(&mut self) {
        self.0.mech_list_mic(&[]);
        self.0.receive.sequence = 1;
    }

    pub(crate) fn unprotect(
        &mut self,
        level: AuthLevel,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        self.0.unprotect(level, pdu, body, signature)
    }
}
