//! Reading a stub.

use super::NdrError;
use crate::ByteOrder;
use uuid::Uuid;

/// Reads the arguments of a stub one after the other.
///
/// Every method names the field it reads, for its error. Nothing is allocated before the bytes that
/// fill it have been seen. After an error the position is unspecified; a caller gives up then.
#[derive(Debug, Clone)]
pub struct NdrReader<'a> {
    rest: &'a [u8],
    stub_len: usize,
    order: ByteOrder,
}

impl<'a> NdrReader<'a> {
    /// Starts at the first byte of `stub`.
    #[must_use]
    pub const fn new(stub: &'a [u8], order: ByteOrder) -> Self {
        Self {
            rest: stub,
            stub_len: stub.len(),
            order,
        }
    }

    /// What has not been read: nothing, padding, or a verification trailer.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Offset from the start of the stub, in bytes.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.stub_len.saturating_sub(self.rest.len())
    }

    /// An `unsigned small` or `byte`.
    ///
    /// # Errors
    /// [`NdrError::Truncated`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, NdrError> {
        Ok(u8::from_ne_bytes(self.take(field)?))
    }

    /// An `unsigned short`, 2-aligned.
    ///
    /// # Errors
    /// [`NdrError::Truncated`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, NdrError> {
        self.align(field, 2, 2)?;
        let bytes = self.take(field)?;
        Ok(unit(self.order, bytes))
    }

    /// An `unsigned long`, 4-aligned.
    ///
    /// # Errors
    /// [`NdrError::Truncated`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, NdrError> {
        self.align(field, 4, 4)?;
        let bytes = self.take(field)?;
        Ok(match self.order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }

    /// A `hyper`, 8-aligned.
    ///
    /// # Errors
    /// [`NdrError::Truncated`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, NdrError> {
        self.align(field, 8, 8)?;
        let bytes = self.take(field)?;
        Ok(match self.order {
            ByteOrder::Little => u64::from_le_bytes(bytes),
            ByteOrder::Big => u64::from_be_bytes(bytes),
        })
    }

    /// \[MS-DTYP 2.3.4\] A GUID: three integers in the order of the stub, then eight bytes; 4-aligned.
    ///
    /// # Errors
    /// [`NdrError::Truncated`].
    pub fn guid(&mut self, field: &'static str) -> Result<Uuid, NdrError> {
        self.align(field, 4, 16)?;
        let bytes: [u8; 16] = self.take(field)?;
        Ok(match self.order {
            ByteOrder::Little => Uuid::from_bytes_le(bytes),
            ByteOrder::Big => Uuid::from_bytes(bytes),
        })
    }

    /// The referent identifier of a unique pointer: whether a pointee follows. No identifier is
    /// compared with another, as unique pointers never alias.
    ///
    /// # Errors
    /// [`NdrError::Truncated`].
    pub fn unique(&mut self, field: &'static str) -> Result<bool, NdrError> {
        Ok(self.u32(field)? != 0)
    }

    /// The referent identifier of a pointer that may not be NULL.
    ///
    /// # Errors
    /// [`NdrError::Truncated`], [`NdrError::Null`].
    pub fn non_null(&mut self, field: &'static str) -> Result<(), NdrError> {
        if self.unique(field)? {
            Ok(())
        } else {
            Err(NdrError::Null { field })
        }
    }

    /// \[C706 14.3.4.2\] A conformant varying string of UTF-16, without its terminator: a top-level
    /// reference pointer, or the pointee of a unique pointer. `limit` counts UTF-16 units with the
    /// terminator.
    ///
    /// # Errors
    /// [`NdrError::TooLong`] above `limit`; [`NdrError::Variance`], [`NdrError::Terminator`] and
    /// [`NdrError::Surrogate`] for counts and texts that contradict themselves;
    /// [`NdrError::Truncated`].
    pub fn string(&mut self, field: &'static str, limit: u32) -> Result<String, NdrError> {
        let maximum = self.u32(field)?;
        let offset = self.u32(field)?;
        let actual = self.u32(field)?;
        if maximum > limit {
            return Err(NdrError::TooLong {
                field,
                limit,
                found: maximum,
            });
        }
        if offset != 0 || actual == 0 || actual > maximum {
            return Err(NdrError::Variance {
                field,
                maximum,
                offset,
                actual,
            });
        }
        let units = self.units(field, actual)?;
        let terminator = units.len().saturating_sub(1);
        let found = self.find_nul(units);
        if found != Some(terminator) {
            return Err(NdrError::Terminator {
                field,
                needed: terminator,
                found,
            });
        }
        let order = self.order;
        let text = units
            .iter()
            .take(terminator)
            .map(|&bytes| unit(order, bytes));
        char::decode_utf16(text)
            .collect::<Result<String, _>>()
            .map_err(|error| NdrError::Surrogate {
                field,
                found: error.unpaired_surrogate(),
            })
    }

    fn units(&mut self, field: &'static str, count: u32) -> Result<&'a [[u8; 2]], NdrError> {
        let needed = u64::from(count).saturating_mul(2);
        let (units, rest) = usize::try_from(needed)
            .ok()
            .and_then(|needed| self.rest.split_at_checked(needed))
            .ok_or(NdrError::Truncated {
                field,
                needed,
                found: self.rest.len(),
            })?;
        self.rest = rest;
        Ok(units.as_chunks().0)
    }

    fn find_nul(&self, units: &[[u8; 2]]) -> Option<usize> {
        units.iter().position(|&bytes| unit(self.order, bytes) == 0)
    }

    fn align(&mut self, field: &'static str, to: usize, needed: u64) -> Result<(), NdrError> {
        let padding = self.position().wrapping_neg() & to.wrapping_sub(1);
        self.rest = self.rest.get(padding..).ok_or(NdrError::Truncated {
            field,
            needed,
            found: 0,
        })?;
        Ok(())
    }

    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], NdrError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(NdrError::Truncated {
            field,
            needed: N as u64,
            found: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(*bytes)
    }
}

const fn unit(order: ByteOrder, bytes: [u8; 2]) -> u16 {
    match order {
        ByteOrder::Little => u16::from_le_bytes(bytes),
        ByteOrder::Big => u16::from_be_bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ByteOrder::{Big, Little};

    fn string(counts: [u32; 3], units: &[u16]) -> Vec<u8> {
        let counts = counts.iter().flat_map(|count| count.to_le_bytes());
        counts
            .chain(units.iter().flat_map(|unit| unit.to_le_bytes()))
            .collect()
    }

    #[test]
    fn integers_are_aligned_from_the_start_of_the_stub() {
        let stub = [
            1, 0xAA, 2, 3, 4, 0xAA, 0xAA, 0xAA, 5, 6, 7, 8, 9, 10, 11, 12, 13,
        ];
        for (order, u16, u64) in [
            (Little, 0x0302, 0x0c0b_0a09_0807_0605),
            (Big, 0x0203, 0x0506_0708_090a_0b0c),
        ] {
            let mut reader = NdrReader::new(&stub, order);
            assert_eq!(reader.u8("a"), Ok(1));
            assert_eq!(reader.u16("b"), Ok(u16));
            assert_eq!(reader.u8("c"), Ok(4));
            assert_eq!(reader.u64("d"), Ok(u64));
            assert_eq!((reader.position(), reader.rest()), (16, &[13][..]));
        }
    }

    #[test]
    fn guids_mix_byte_orders() {
        let text = "a8e0653c-2744-4389-a61d-7373df8b2292";
        let tail = [0xa6, 0x1d, 0x73, 0x73, 0xdf, 0x8b, 0x22, 0x92];
        let little = [0x3c, 0x65, 0xe0, 0xa8, 0x44, 0x27, 0x89, 0x43];
        let big = [0xa8, 0xe0, 0x65, 0x3c, 0x27, 0x44, 0x43, 0x89];
        for (order, head) in [(Little, little), (Big, big)] {
            let stub = [head, tail].concat();
            let guid = NdrReader::new(&stub, order)
                .guid("id")
                .map(|id| id.to_string());
            assert_eq!(guid.as_deref(), Ok(text));
        }
    }

    #[test]
    fn an_integer_that_ends_early_says_how_much_is_missing() {
        let mut reader = NdrReader::new(&[1, 2, 3], Little);
        let truncated = |needed, found| NdrError::Truncated {
            field: "f",
            needed,
            found,
        };
        assert_eq!(reader.clone().u32("f"), Err(truncated(4, 3)));
        assert_eq!(reader.u8("f"), Ok(1));
        assert_eq!(reader.clone().u32("f"), Err(truncated(4, 0)));
        assert_eq!(reader.clone().u64("f"), Err(truncated(8, 0)));
        assert_eq!(reader.guid("f"), Err(truncated(16, 0)));
    }

    #[test]
    fn strings_that_contradict_themselves_are_refused() {
        let field = "s";
        let limit = 4;
        let check = |stub: &[u8], error| {
            assert_eq!(
                NdrReader::new(stub, Little).string(field, limit),
                Err(error)
            );
        };
        let variance = |[maximum, offset, actual]: [u32; 3]| NdrError::Variance {
            field,
            maximum,
            offset,
            actual,
        };
        for counts in [[2, 1, 1], [2, 0, 0], [0, 0, 0], [2, 0, 3], [1, 0, u32::MAX]] {
            check(&string(counts, &[0x61, 0, 0]), variance(counts));
        }
        for found in [5, u32::MAX] {
            check(
                &string([found, 0, found], &[0x61, 0]),
                NdrError::TooLong {
                    field,
                    limit,
                    found,
                },
            );
        }
        let terminator = |needed, found| NdrError::Terminator {
            field,
            needed,
            found,
        };
        check(&string([2, 0, 2], &[0x61, 0x62]), terminator(1, None));
        check(&string([3, 0, 3], &[0x61, 0, 0]), terminator(2, Some(1)));
        check(
            &string([2, 0, 2], &[0xD800, 0]),
            NdrError::Surrogate {
                field,
                found: 0xD800,
            },
        );
        check(
            &string([2, 0, 2], &[0xDC00, 0]),
            NdrError::Surrogate {
                field,
                found: 0xDC00,
            },
        );
        check(
            &string([4, 0, 4], &[0x61, 0]),
            NdrError::Truncated {
                field,
                needed: 8,
                found: 4,
            },
        );
    }

    /// A limit does not make the reader allocate: the bytes have to be there first.
    #[test]
    fn a_count_of_four_billion_without_bytes_is_truncated() {
        let stub = string([u32::MAX, 0, u32::MAX], &[0x61, 0]);
        assert_eq!(
            NdrReader::new(&stub, Little).string("s", u32::MAX),
            Err(NdrError::Truncated {
                field: "s",
                needed: 0x1_FFFF_FFFE,
                found: 4
            })
        );
    }

    #[test]
    fn a_maximum_count_above_the_actual_one_is_room_and_not_text() {
        let stub = string([4, 0, 2], &[0x61, 0, 0xFFFF]);
        let mut reader = NdrReader::new(&stub, Little);
        assert_eq!(reader.string("s", 4).as_deref(), Ok("a"));
        assert_eq!(reader.rest(), [0xFF, 0xFF]);
    }

    #[test]
    fn a_null_where_a_referent_is_due_is_refused() {
        assert_eq!(
            NdrReader::new(&[0; 4], Big).non_null("p"),
            Err(NdrError::Null { field: "p" })
        );
        assert_eq!(NdrReader::new(&[0, 0, 0, 1], Big).non_null("p"), Ok(()));
    }
}
