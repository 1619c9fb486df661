//! Writing a stub.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// What Microsoft's and Samba's runtimes give to the first pointer of a stub.
const FIRST_REFERENT: u32 = 0x0002_0000;

/// Writes the arguments of a stub one after the other, always little-endian.
///
/// Pointees of [`NdrWriter::unique_string`] wait until [`NdrWriter::deferred`] is called at the end
/// of the outermost structure.
#[derive(Debug)]
pub struct NdrWriter<'a> {
    stub: BytesMut,
    next_referent: u32,
    deferred: Vec<&'a str>,
}

impl Default for NdrWriter<'_> {
    fn default() -> Self {
        Self {
            stub: BytesMut::new(),
            next_referent: FIRST_REFERENT,
            deferred: Vec::new(),
        }
    }
}

impl<'a> NdrWriter<'a> {
    /// Starts an empty stub.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An `unsigned small` or `byte`.
    pub fn u8(&mut self, value: u8) {
        self.stub.put_u8(value);
    }

    /// An `unsigned short`, 2-aligned.
    pub fn u16(&mut self, value: u16) {
        self.align(2);
        self.stub.put_u16_le(value);
    }

    /// An `unsigned long`, 4-aligned.
    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.stub.put_u32_le(value);
    }

    /// A `hyper`, 8-aligned.
    pub fn u64(&mut self, value: u64) {
        self.align(8);
        self.stub.put_u64_le(value);
    }

    /// \[MS-DTYP 2.3.4\] A GUID, 4-aligned.
    pub fn guid(&mut self, value: Uuid) {
        self.align(4);
        self.stub.put_slice(&value.to_bytes_le());
    }

    /// The identifier of a referent that the caller writes where it belongs.
    pub fn referent(&mut self) {
        let referent = self.next_referent;
        self.next_referent = referent.wrapping_add(4);
        self.u32(referent);
    }

    /// A NULL pointer.
    pub fn null(&mut self) {
        self.u32(0);
    }

    /// A unique pointer to a string, whose text stands where [`NdrWriter::deferred`] is called.
    pub fn unique_string(&mut self, text: Option<&'a str>) {
        match text {
            Some(text) => {
                self.referent();
                self.deferred.push(text);
            }
            None => self.null(),
        }
    }

    /// The pointees that are due, in the order of their pointers.
    pub fn deferred(&mut self) {
        for text in std::mem::take(&mut self.deferred) {
            self.string(text);
        }
    }

    /// \[C706 14.3.4.2\] A conformant varying string of UTF-16 with its terminator. As in any
    /// `LPWSTR` the text ends at its first NUL.
    pub fn string(&mut self, text: &str) {
        self.align(4);
        let units = text.encode_utf16().take_while(|&unit| unit != 0);
        // A count that does not fit belongs to a stub that no association would send.
        let count = u32::try_from(units.clone().count()).unwrap_or(u32::MAX);
        let count = count.saturating_add(1);
        self.stub.reserve(12);
        self.u32(count);
        self.u32(0);
        self.u32(count);
        units.for_each(|unit| self.stub.put_u16_le(unit));
        self.stub.put_u16_le(0);
    }

    /// The stub. Pointees that are still due are written first.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.deferred();
        self.stub.freeze()
    }

    fn align(&mut self, to: usize) {
        let padding = self.stub.len().wrapping_neg() & to.wrapping_sub(1);
        self.stub.put_bytes(0, padding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes follow from \[C706\] 14.3.12.3: identifiers in place, pointees after the whole.
    #[test]
    fn pointees_come_after_the_structure_in_the_order_of_their_pointers() {
        let mut writer = NdrWriter::new();
        writer.unique_string(Some("A"));
        writer.unique_string(None);
        writer.unique_string(Some("B\0C"));
        writer.u64(7);
        writer.deferred();
        writer.u8(9);
        let expected = [
            "00000200",
            "00000000",
            "04000200",
            "00000000",
            "0700000000000000", // structure
            "02000000",
            "00000000",
            "02000000",
            "41000000", // pointee of the first
            "02000000",
            "00000000",
            "02000000",
            "42000000", // pointee of the third
            "09",
        ];
        let stub: String = writer
            .finish()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(stub, expected.concat());
    }

    #[test]
    fn padding_is_zero_and_counts_from_the_start() {
        let mut writer = NdrWriter::new();
        writer.u8(1);
        writer.u16(2);
        writer.u8(3);
        writer.guid(Uuid::from_u128(0x00010203_0405_0607_0809_0a0b0c0d0e0f));
        let expected = [
            [1, 0, 2, 0, 3, 0, 0, 0],
            [3, 2, 1, 0, 5, 4, 7, 6],
            [8, 9, 10, 11, 12, 13, 14, 15],
        ];
        assert_eq!(writer.finish(), expected.concat());
    }
}
