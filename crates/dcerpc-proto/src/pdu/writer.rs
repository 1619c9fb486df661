//! Writing fields of a PDU in either byte order.

use super::EncodeError;
use crate::{ByteOrder, SyntaxId};
use bytes::{BufMut, BytesMut};
use uuid::Uuid;

/// The end of a PDU that is being written.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
    start: usize,
    order: ByteOrder,
}

impl<'a> Writer<'a> {
    /// Appends a PDU to `out`.
    pub(crate) fn new(out: &'a mut BytesMut, order: ByteOrder) -> Self {
        let start = out.len();
        Self { out, start, order }
    }

    /// Bytes of this PDU so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.put_u8(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        match self.order {
            ByteOrder::Little => self.out.put_u16_le(value),
            ByteOrder::Big => self.out.put_u16(value),
        }
    }

    pub(crate) fn u32(&mut self, value: u32) {
        match self.order {
            ByteOrder::Little => self.out.put_u32_le(value),
            ByteOrder::Big => self.out.put_u32(value),
        }
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.out.put_slice(value);
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.out.put_bytes(0, count);
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        let (time_low, time_mid, time_hi, rest) = value.as_fields();
        self.u32(time_low);
        self.u16(time_mid);
        self.u16(time_hi);
        self.bytes(rest);
    }

    pub(crate) fn syntax(&mut self, value: SyntaxId) {
        self.uuid(value.uuid);
        self.u32(value.version);
    }

    pub(crate) fn align4(&mut self) {
        self.zeros(self.len().wrapping_neg() % 4);
    }

    /// A length that must fit its field.
    pub(crate) fn length_u8(
        &mut self,
        field: &'static str,
        length: usize,
    ) -> Result<(), EncodeError> {
        let value = u8::try_from(length).map_err(|_| EncodeError::TooLong {
            field,
            limit: usize::from(u8::MAX),
            found: length,
        })?;
        self.u8(value);
        Ok(())
    }

    /// A length that must fit its field.
    pub(crate) fn length_u16(
        &mut self,
        field: &'static str,
        length: usize,
    ) -> Result<(), EncodeError> {
        self.u16(short_length(field, length)?);
        Ok(())
    }
}

/// A length as 16 bits.
pub(crate) fn short_length(field: &'static str, length: usize) -> Result<u16, EncodeError> {
    u16::try_from(length).map_err(|_| EncodeError::TooLong {
        field,
        limit: usize::from(u16::MAX),
        found: length,
    })
}
