//! A security package for tests: three legs, a checksum as signature, xor as encryption.
//!
//! Not secure, but strict: it notices every changed byte, every replay and every reordering.

use dcerpc_proto::security::{
    AuthLevel, AuthType, Identity, Leg, SecurityContext, SecurityError, SecurityProvider,
};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Its auth_type.
pub const TOY: AuthType = AuthType(0x54);
/// The same package, except that the acceptor has a last word (like SPNEGO).
pub const TALKATIVE: AuthType = AuthType(0x55);

/// The same package as [`TOY`], but it cannot encrypt.
pub const BLUNT: AuthType = AuthType(0x56);

const SIGNATURE_LEN: usize = 16;

/// Each acceptor chooses its own key, so that contexts cannot stand in for each other.
static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
pub struct ToyProvider;

impl SecurityProvider for ToyProvider {
    fn acceptor(&self, auth_type: AuthType) -> Option<Box<dyn SecurityContext>> {
        [TOY, TALKATIVE, BLUNT, AuthType::WINNT]
            .contains(&auth_type)
            .then(|| {
                let context: Box<dyn SecurityContext> =
                    Box::new(Toy::new(Role::Acceptor, auth_type));
                context
            })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Initiator,
    Acceptor,
}

#[derive(Debug)]
pub struct Toy {
    role: Role,
    auth_type: AuthType,
    password: String,
    legs: usize,
    is_done: bool,
    identity: Option<Identity>,
    key: u64,
    sent: u64,
    received: u64,
}

/// An initiator that knows the password ("sesame") or not.
pub fn initiator(auth_type: AuthType, password: &str) -> Toy {
    Toy {
        password: password.to_owned(),
        ..Toy::new(Role::Initiator, auth_type)
    }
}

impl Toy {
    fn new(role: Role, auth_type: AuthType) -> Self {
        Self {
            role,
            auth_type,
            password: "sesame".to_owned(),
            legs: 0,
            is_done: false,
            identity: None,
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            sent: 0,
            received: 0,
        }
    }

    fn accept(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match (self.legs, token) {
            (1, b"hello") => Ok(Leg {
                token: [b"who?".to_vec(), self.key.to_le_bytes().to_vec()].concat(),
                done: false,
            }),
            (2, password) if password == self.password.as_bytes() => {
                self.is_done = true;
                self.identity = Some(Identity {
                    account: "TOY\\tester".to_owned(),
                    sids: vec!["S-1-5-32-551".to_owned()],
                    has_authority: true,
                    package: "toy",
                });
                let token = if self.auth_type == TALKATIVE {
                    b"welcome".to_vec()
                } else {
                    vec![]
                };
                Ok(Leg { token, done: true })
            }
            (2, b"broken") => Err(SecurityError::Malformed("broken".to_owned())),
            (2, _) => Err(SecurityError::Refused("wrong password".to_owned())),
            _ => Err(SecurityError::OutOfTurn),
        }
    }

    fn initiate(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        match (self.legs, token) {
            (1, b"") => Ok(Leg {
                token: b"hello".to_vec(),
                done: false,
            }),
            (2, [b'w', b'h', b'o', b'?', key @ ..]) => {
                let key = key.try_into().map_err(|_| SecurityError::OutOfTurn)?;
                self.key = u64::from_le_bytes(key);
                self.is_done = self.auth_type != TALKATIVE;
                Ok(Leg {
                    token: self.password.clone().into_bytes(),
                    done: self.is_done,
                })
            }
            (3, b"welcome") => {
                self.is_done = true;
                Ok(Leg {
                    token: vec![],
                    done: true,
                })
            }
            _ => Err(SecurityError::OutOfTurn),
        }
    }

    fn signature(&self, sequence: u64, sender: Role, bytes: &[u8]) -> Vec<u8> {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64 ^ sequence ^ ((sender as u64) << 32);
        hash = hash.wrapping_add(self.key << 40);
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        [hash.to_le_bytes(), sequence.to_le_bytes()].concat()
    }

    fn covered(header_signing: bool, pdu: &[u8], body: &Range<usize>) -> Vec<u8> {
        if header_signing {
            pdu.to_vec()
        } else {
            pdu[body.clone()].to_vec()
        }
    }

    fn crypt(level: AuthLevel, sequence: u64, body: &mut [u8]) {
        if level == AuthLevel::Privacy {
            for (at, byte) in body.iter_mut().enumerate() {
                *byte ^= 0x5A ^ (sequence as u8) ^ (at as u8);
            }
        }
    }

    fn peer(&self) -> Role {
        match self.role {
            Role::Initiator => Role::Acceptor,
            Role::Acceptor => Role::Initiator,
        }
    }
}

impl SecurityContext for Toy {
    fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        assert!(!self.is_done, "step after the last leg");
        self.legs += 1;
        match self.role {
            Role::Acceptor => self.accept(token),
            Role::Initiator => self.initiate(token),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    fn can_seal(&self) -> bool {
        self.auth_type != BLUNT
    }

    fn signature_len(&self, _level: AuthLevel, _body_len: usize) -> usize {
        SIGNATURE_LEN
    }

    fn protect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
    ) -> Result<Vec<u8>, SecurityError> {
        assert!(self.is_done, "protect before the last leg");
        let signed = Self::covered(header_signing, pdu, &body);
        let signature = self.signature(self.sent, self.role, &signed);
        Self::crypt(level, self.sent, &mut pdu[body]);
        self.sent += 1;
        Ok(signature)
    }

    fn unprotect(
        &mut self,
        level: AuthLevel,
        header_signing: bool,
        pdu: &mut [u8],
        body: Range<usize>,
        signature: &[u8],
    ) -> Result<(), SecurityError> {
        assert!(self.is_done, "unprotect before the last leg");
        Self::crypt(level, self.received, &mut pdu[body.clone()]);
        let signed = Self::covered(header_signing, pdu, &body);
        if self.signature(self.received, self.peer(), &signed) != signature {
            return Err(SecurityError::BadSignature);
        }
        self.received += 1;
        Ok(())
    }
}
