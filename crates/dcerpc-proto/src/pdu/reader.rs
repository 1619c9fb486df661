//! Reading fields of a PDU: nom's parsers, with errors that name the field.

use super::DecodeError;
use crate::{ByteOrder, SyntaxId};
use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{u8 as byte, u16 as short, u32 as long};
use uuid::Uuid;

/// A place in a PDU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
    order: ByteOrder,
}

impl<'a> Reader<'a> {
    /// Reads `pdu` from `offset` on; offsets and alignment count from the PDU's first byte.
    pub(crate) fn new(pdu: &'a [u8], offset: usize, order: ByteOrder) -> Self {
        Self {
            input: pdu.get(offset..).unwrap_or_default(),
            offset,
            order,
        }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.input
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.parse(field, 1, byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.parse(field, 2, short(self.order.endianness()))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.parse(field, 4, long(self.order.endianness()))
    }

    pub(crate) fn bytes(
        &mut self,
        field: &'static str,
        length: usize,
    ) -> Result<&'a [u8], DecodeError> {
        self.parse(field, length, take(length))
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(field, N)?);
        Ok(array)
    }

    pub(crate) fn uuid(&mut self, field: &'static str) -> Result<Uuid, DecodeError> {
        let (time_low, time_mid, time_hi) = (self.u32(field)?, self.u16(field)?, self.u16(field)?);
        Ok(Uuid::from_fields(
            time_low,
            time_mid,
            time_hi,
            &self.array(field)?,
        ))
    }

    pub(crate) fn syntax(&mut self, field: &'static str) -> Result<SyntaxId, DecodeError> {
        Ok(SyntaxId {
            uuid: self.uuid(field)?,
            version: self.u32(field)?,
        })
    }

    pub(crate) fn align4(&mut self, field: &'static str) -> Result<(), DecodeError> {
        self.bytes(field, self.offset.wrapping_neg() % 4).map(drop)
    }

    fn parse<O>(
        &mut self,
        field: &'static str,
        needed: usize,
        mut parser: impl Parser<&'a [u8], Output = O, Error = ()>,
    ) -> Result<O, DecodeError> {
        let (rest, value) = parser
            .parse(self.input)
            .map_err(|_| DecodeError::Truncated {
                field,
                needed,
                found: self.input.len(),
            })?;
        self.offset = self
            .offset
            .saturating_add(self.input.len().saturating_sub(rest.len()));
        self.input = rest;
        Ok(value)
    }
}
