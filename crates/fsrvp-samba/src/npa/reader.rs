//! Cursor over one frame, with the alignment rules of Samba's NDR32.

use super::sid::{MAX_SUB_AUTHORITIES, Sid};
use super::{DecodeError, Secret};

/// Reads little-endian NDR; alignment counts from the start of the frame. Every error names the
/// field that was read.
pub(super) struct Reader<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(frame: &'a [u8]) -> Self {
        Self { frame, at: 0 }
    }

    pub(super) fn remaining(&self) -> usize {
        self.frame.len().saturating_sub(self.at)
    }

    /// Moves forward to `position`; used for the relative pointers of claims only.
    pub(super) fn skip_to(
        &mut self,
        field: &'static str,
        position: usize,
    ) -> Result<(), DecodeError> {
        if position < self.at || position > self.frame.len() {
            return Err(DecodeError::Pointer { field });
        }
        self.at = position;
        Ok(())
    }

    pub(super) fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    pub(super) fn bytes(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short {
            field,
            needed: count,
            found: self.remaining(),
        };
        let end = self.at.checked_add(count).ok_or(short.clone())?;
        let bytes = self.frame.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(field, N)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.align(2);
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.align(4);
        self.array(field).map(u32::from_le_bytes)
    }

    /// `hyper`, `uid_t`, `gid_t`, privileges: aligned to 8.
    pub(super) fn hyper(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.align(8);
        self.array(field).map(u64::from_le_bytes)
    }

    /// `NTTIME` (`udlong`): aligned to 4.
    pub(super) fn nttime(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.align(4);
        self.array(field).map(u64::from_le_bytes)
    }

    /// A unique pointer: whether its referent follows later.
    pub(super) fn pointer(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.u32(field)? != 0)
    }

    /// A pointer that Samba's IDL declares to be NULL always.
    pub(super) fn null(&mut self, field: &'static str) -> Result<(), DecodeError> {
        if self.pointer(field)? {
            return Err(DecodeError::Pointer { field });
        }
        Ok(())
    }

    /// A count of elements that take at least `element` bytes each: checked against what is left
    /// of the frame, so that no count makes us allocate more than the frame could hold.
    pub(super) fn count(
        &mut self,
        field: &'static str,
        element: usize,
    ) -> Result<usize, DecodeError> {
        let count = self.u32(field)?;
        let limit = self.remaining() / element.max(1);
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or(DecodeError::Count { field, count })
    }

    /// The conformance of an array, which must equal the count that the structure gave.
    pub(super) fn conformance(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<(), DecodeError> {
        let found = self.u32(field)?;
        if usize::try_from(found) != Ok(count) {
            return Err(DecodeError::Count {
                field,
                count: found,
            });
        }
        Ok(())
    }

    /// `DATA_BLOB`: length and bytes.
    pub(super) fn blob(&mut self, field: &'static str) -> Result<Secret, DecodeError> {
        let length = self.count(field, 1)?;
        self.bytes(field, length).map(|bytes| bytes.to_vec().into())
    }

    /// `[string,charset(UTF8)]`: maximum, offset and actual count, then the text with its NUL.
    pub(super) fn string(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let maximum = self.u32(field)?;
        let offset = self.u32(field)?;
        let actual = self.u32(field)?;
        if offset != 0 || actual > maximum {
            return Err(DecodeError::Count {
                field,
                count: actual,
            });
        }
        let length = usize::try_from(actual).unwrap_or(usize::MAX);
        match self.bytes(field, length)? {
            [text @ .., 0] if !text.contains(&0) => std::str::from_utf8(text)
                .map(str::to_owned)
                .map_err(|_| DecodeError::Text { field }),
            _ => Err(DecodeError::Text { field }),
        }
    }

    pub(super) fn sid(&mut self, field: &'static str) -> Result<Sid, DecodeError> {
        self.align(4);
        let revision = self.u8(field)?;
        let count = usize::from(self.u8(field)?);
        if count > MAX_SUB_AUTHORITIES {
            return Err(DecodeError::Sid { field });
        }
        let authority = self
            .array::<6>(field)?
            .iter()
            .fold(0_u64, |high, byte| (high << 8) | u64::from(*byte));
        let sub_authorities = (0..count)
            .map(|_| self.u32(field))
            .collect::<Result<_, _>>()?;
        Ok(Sid {
            revision,
            authority,
            sub_authorities,
        })
    }
}
