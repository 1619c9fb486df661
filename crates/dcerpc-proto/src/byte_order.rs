//! Byte order of a PDU and its stub.

/// \[C706 14.2.5\] Integer representation of the data representation label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ByteOrder {
    /// Big-endian (label 0x00).
    Big,
    /// Little-endian (label 0x10); the only order that we send.
    #[default]
    Little,
}

impl ByteOrder {
    /// The same, for nom's endian-parametric parsers.
    #[must_use]
    pub const fn endianness(self) -> nom::number::Endianness {
        match self {
            Self::Big => nom::number::Endianness::Big,
            Self::Little => nom::number::Endianness::Little,
        }
    }
}
