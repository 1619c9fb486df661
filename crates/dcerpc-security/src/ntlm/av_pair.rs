//! \[MS-NLMP 2.2.2.1\] AV_PAIRs.

use dcerpc_proto::security::SecurityError;

use super::messages::malformed;
use crate::limits::MAX_AV_PAIRS;

/// \[MS-NLMP 2.2.2.1\] AvId.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvId(pub u16);

impl AvId {
    /// Last pair of a list.
    pub const EOL: Self = Self(0);
    /// NetBIOS name of the server.
    pub const NB_COMPUTER_NAME: Self = Self(1);
    /// NetBIOS name of its domain.
    pub const NB_DOMAIN_NAME: Self = Self(2);
    /// DNS name of the server.
    pub const DNS_COMPUTER_NAME: Self = Self(3);
    /// DNS name of its domain.
    pub const DNS_DOMAIN_NAME: Self = Self(4);
    /// MsvAvFlags: see [`AV_FLAG_MIC`] and [`AV_FLAG_UNTRUSTED_TARGET`].
    pub const FLAGS: Self = Self(6);
    /// FILETIME of the server.
    pub const TIMESTAMP: Self = Self(7);
    /// Service principal that the client means.
    pub const TARGET_NAME: Self = Self(9);
    /// MD5 of the channel bindings, or zeros.
    pub const CHANNEL_BINDINGS: Self = Self(10);
}

/// Bit of MsvAvFlags: the AUTHENTICATE_MESSAGE has a MIC.
pub const AV_FLAG_MIC: u32 = 0x2;
/// Bit of MsvAvFlags: the target name came from an untrusted source.
pub const AV_FLAG_UNTRUSTED_TARGET: u32 = 0x4;

/// A decoded list, without its end mark.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AvPairs(Vec<(AvId, Vec<u8>)>);

impl AvPairs {
    /// Decodes a list up to MsvAvEOL; what follows is padding.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`] if a pair is cut off, the end mark is missing, or an identifier
    /// occurs twice (whose meaning would depend on who reads it).
    pub fn decode(mut list: &[u8]) -> Result<Self, SecurityError> {
        let mut pairs = Self::default();
        loop {
            let ([a, b, c, d], rest) = list
                .split_first_chunk::<4>()
                .ok_or_else(|| malformed("AV_PAIR is cut off"))?;
            let id = AvId(u16::from_le_bytes([*a, *b]));
            if id == AvId::EOL {
                return Ok(pairs);
            }
            let (value, rest) = rest
                .split_at_checked(usize::from(u16::from_le_bytes([*c, *d])))
                .ok_or_else(|| malformed("AV_PAIR lies outside the message"))?;
            if pairs.0.len() >= MAX_AV_PAIRS {
                return Err(malformed("too many AV_PAIRs"));
            }
            if pairs.value(id).is_some() {
                return Err(malformed("AV_PAIR occurs twice"));
            }
            pairs.0.push((id, value.to_vec()));
            list = rest;
        }
    }

    /// The value of `id`.
    #[must_use]
    pub fn value(&self, id: AvId) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(candidate, _)| *candidate == id)
            .map(|(_, value)| value.as_slice())
    }

    /// MsvAvFlags; none is 0.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`] if it is not 4 bytes.
    pub fn flags(&self) -> Result<u32, SecurityError> {
        let Some(value) = self.value(AvId::FLAGS) else {
            return Ok(0);
        };
        let value = value
            .try_into()
            .map_err(|_| malformed("MsvAvFlags is not 4 bytes"))?;
        Ok(u32::from_le_bytes(value))
    }

    /// Sets or replaces a value.
    pub fn set(&mut self, id: AvId, value: Vec<u8>) {
        self.0.retain(|(candidate, _)| *candidate != id);
        self.0.push((id, value));
    }

    /// Encodes the list with its end mark.
    ///
    /// # Errors
    /// [`SecurityError::Malformed`] if a value is longer than 65,535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, SecurityError> {
        let mut out = Vec::new();
        for (id, value) in &self.0 {
            let len = u16::try_from(value.len()).map_err(|_| malformed("AV_PAIR is too long"))?;
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(value);
        }
        out.extend_from_slice(&[0; 4]);
        Ok(out)
    }
}
