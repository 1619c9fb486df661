//! Errors of the PDU codec.

/// Bytes that are not the PDU they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the field does.
    #[error("{field}: needed {needed} bytes, found {found}")]
    Truncated {
        /// PDU and field, in the specification's words.
        field: &'static str,
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that were left.
        found: usize,
    },
    /// A field has a value that it cannot have.
    #[error("{field}: needed {needed}, found {found:#x}")]
    Invalid {
        /// PDU and field, in the specification's words.
        field: &'static str,
        /// What would have been right.
        needed: &'static str,
        /// What was there.
        found: u64,
    },
}

/// A PDU that cannot be put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A field is longer than its length field can say.
    #[error("{field}: at most {limit}, found {found}")]
    TooLong {
        /// PDU and field, in the specification's words.
        field: &'static str,
        /// The most that fits.
        limit: usize,
        /// What was to be sent.
        found: usize,
    },
}
