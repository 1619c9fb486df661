//! The header that all PDUs share.

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, EncodeError};
use crate::ByteOrder;
use bitflags::bitflags;

/// \[C706 12.6.4\] PTYPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PacketType(pub u8);

impl PacketType {
    /// A fragment of a call's arguments.
    pub const REQUEST: Self = Self(0);
    /// A fragment of a call's results.
    pub const RESPONSE: Self = Self(2);
    /// A call that failed.
    pub const FAULT: Self = Self(3);
    /// Opens an association.
    pub const BIND: Self = Self(11);
    /// Accepts a bind.
    pub const BIND_ACK: Self = Self(12);
    /// Refuses a bind.
    pub const BIND_NAK: Self = Self(13);
    /// Adds presentation contexts or carries a leg of authentication.
    pub const ALTER_CONTEXT: Self = Self(14);
    /// Answers alter_context.
    pub const ALTER_CONTEXT_RESP: Self = Self(15);
    /// \[MS-RPCE 2.2.2.10\] The last leg of authentication, without an answer.
    pub const AUTH3: Self = Self(16);
    /// The server is about to close.
    pub const SHUTDOWN: Self = Self(17);
    /// Asks the server to end a call.
    pub const CO_CANCEL: Self = Self(18);
    /// Nobody waits for a call any more.
    pub const ORPHANED: Self = Self(19);
}

bitflags! {
    /// \[C706 12.6.3.1, MS-RPCE 2.2.2.3\] pfc_flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct PfcFlags: u8 {
        /// First fragment.
        const FIRST_FRAG = 0x01;
        /// Last fragment.
        const LAST_FRAG = 0x02;
        /// In bind and alter_context and their answers: header signing. Elsewhere:
        /// [`PfcFlags::PENDING_CANCEL`].
        const SUPPORT_HEADER_SIGN = 0x04;
        /// In requests and auth3: a cancel was pending when it was sent.
        const PENDING_CANCEL = 0x04;
        /// Not defined; ignored.
        const RESERVED_1 = 0x08;
        /// Several calls at a time.
        const CONC_MPX = 0x10;
        /// In faults: the call was not executed.
        const DID_NOT_EXECUTE = 0x20;
        /// Maybe semantics; ignored, calls are always answered.
        const MAYBE = 0x40;
        /// An object UUID follows the request's fixed part.
        const OBJECT_UUID = 0x80;
    }
}

impl PfcFlags {
    /// Both: the PDU is not fragmented.
    pub const WHOLE: Self = Self::FIRST_FRAG.union(Self::LAST_FRAG);
}

/// \[C706 12.6.3.1\] The common fields of all connection-oriented PDUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// rpc_vers and rpc_vers_minor.
    pub version: (u8, u8),
    /// PTYPE.
    pub packet_type: PacketType,
    /// pfc_flags.
    pub flags: PfcFlags,
    /// packed_drep.
    pub data_representation: [u8; 4],
    /// Bytes of the whole PDU.
    pub frag_length: u16,
    /// Bytes of the token after the sec_trailer; 0: no sec_trailer.
    pub auth_length: u16,
    /// Which call.
    pub call_id: u32,
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 16;

    /// A header in our own form; the lengths are filled in when the PDU is complete.
    #[must_use]
    pub const fn new(packet_type: PacketType, flags: PfcFlags, call_id: u32) -> Self {
        Self {
            version: (5, 0),
            packet_type,
            flags,
            data_representation: [0x10, 0, 0, 0],
            frag_length: 0,
            auth_length: 0,
            call_id,
        }
    }

    /// Byte order of the PDU.
    #[must_use]
    pub const fn byte_order(&self) -> ByteOrder {
        let [integers, ..] = self.data_representation;
        if integers & 0xF0 == 0x10 {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        }
    }

    /// Sets the byte order.
    #[must_use]
    pub const fn with_byte_order(mut self, order: ByteOrder) -> Self {
        self.data_representation = match order {
            ByteOrder::Little => [0x10, 0, 0, 0],
            ByteOrder::Big => [0, 0, 0, 0],
        };
        self
    }

    /// Reads the header at the start of `input`. [`Header::check`] says whether it makes sense.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] below [`Header::LEN`] bytes.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut head = Reader::new(input, 0, ByteOrder::Little);
        let version = (head.u8("rpc_vers")?, head.u8("rpc_vers_minor")?);
        let packet_type = PacketType(head.u8("PTYPE")?);
        let flags = PfcFlags::from_bits_retain(head.u8("pfc_flags")?);
        let mut header = Self::new(packet_type, flags, 0);
        header.version = version;
        header.data_representation = head.array("packed_drep")?;
        let mut head = Reader::new(input, head.offset(), header.byte_order());
        header.frag_length = head.u16("frag_length")?;
        header.auth_length = head.u16("auth_length")?;
        header.call_id = head.u32("call_id")?;
        Ok(header)
    }

    /// Whether this is a header of version 5 in a representation that we speak (either byte
    /// order, ASCII, IEEE), with a length that holds itself.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] with the first field that is wrong.
    pub fn check(&self) -> Result<(), DecodeError> {
        let invalid = |field, needed, found| DecodeError::Invalid {
            field,
            needed,
            found,
        };
        let (major, minor) = self.version;
        if major != 5 {
            return Err(invalid("rpc_vers", "5", major.into()));
        }
        if minor > 1 {
            return Err(invalid("rpc_vers_minor", "0 or 1", minor.into()));
        }
        let [integers, floats, ..] = self.data_representation;
        if !matches!(integers, 0x00 | 0x10) {
            return Err(invalid(
                "packed_drep[0]",
                "ASCII, big or little",
                integers.into(),
            ));
        }
        if floats != 0 {
            return Err(invalid("packed_drep[1]", "IEEE", floats.into()));
        }
        if usize::from(self.frag_length) < Self::LEN {
            return Err(invalid(
                "frag_length",
                "at least 16",
                self.frag_length.into(),
            ));
        }
        Ok(())
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        let (major, minor) = self.version;
        out.bytes(&[major, minor, self.packet_type.0, self.flags.bits()]);
        out.bytes(&self.data_representation);
        out.u16(self.frag_length);
        out.u16(self.auth_length);
        out.u32(self.call_id);
    }

    /// Fills the lengths into the PDU that starts `pdu`.
    pub(crate) fn patch_lengths(
        pdu: &mut [u8],
        order: ByteOrder,
        auth_length: usize,
    ) -> Result<(), EncodeError> {
        let frag = super::writer::short_length("frag_length", pdu.len())?;
        Self::patch(
            pdu,
            order,
            frag,
            super::writer::short_length("auth_length", auth_length)?,
        );
        Ok(())
    }

    /// Fills given lengths into the PDU that starts `pdu`.
    pub(crate) fn patch(pdu: &mut [u8], order: ByteOrder, frag_length: u16, auth_length: u16) {
        let to_bytes = |value: u16| match order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        };
        if let Some(field) = pdu.get_mut(8..10) {
            field.copy_from_slice(&to_bytes(frag_length));
        }
        if let Some(field) = pdu.get_mut(10..12) {
            field.copy_from_slice(&to_bytes(auth_length));
        }
    }
}
