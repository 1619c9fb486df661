//! Writes NDR32 as Samba does, referent ids included.

use super::sid::Sid;

/// Samba numbers the referents of one frame from here, in steps of 4.
const FIRST_REFERENT: u32 = 0x0002_0000;

/// Builds a frame; alignment counts from its start.
pub(super) struct Writer {
    frame: Vec<u8>,
    next_referent: u32,
}

impl Writer {
    pub(super) const fn new() -> Self {
        Self {
            frame: Vec::new(),
            next_referent: FIRST_REFERENT,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.frame.len()
    }

    /// The frame, its first four bytes overwritten with the length of what follows them.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = self.frame.len().saturating_sub(4);
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(head) = self.frame.first_chunk_mut() {
            *head = length;
        }
        self.frame
    }

    pub(super) fn align(&mut self, to: usize) {
        let position = self.frame.len().next_multiple_of(to);
        self.frame.resize(position, 0);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.frame.extend_from_slice(bytes);
    }

    /// Overwrites four bytes that were written before: a relative pointer, once its target is
    /// known.
    pub(super) fn patch(&mut self, position: usize, value: u32) {
        let target = self
            .frame
            .get_mut(position..)
            .and_then(<[u8]>::first_chunk_mut);
        if let Some(target) = target {
            *target = value.to_le_bytes();
        }
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.frame.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.align(2);
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn hyper(&mut self, value: u64) {
        self.align(8);
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn nttime(&mut self, value: u64) {
        self.align(4);
        self.bytes(&value.to_le_bytes());
    }

    /// A count; ours are small, because they count elements that are in memory.
    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn pointer<T>(&mut self, referent: Option<&T>) {
        match referent {
            None => self.u32(0),
            Some(_) => {
                self.u32(self.next_referent);
                self.next_referent = self.next_referent.wrapping_add(4);
            }
        }
    }

    pub(super) fn blob(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes(bytes);
    }

    pub(super) fn string(&mut self, text: Option<&String>) {
        let Some(text) = text else { return };
        let count = text.len().saturating_add(1);
        self.count(count);
        self.u32(0);
        self.count(count);
        self.bytes(text.as_bytes());
        self.u8(0);
    }

    pub(super) fn sid(&mut self, sid: &Sid) {
        self.align(4);
        self.u8(sid.revision);
        self.u8(u8::try_from(sid.sub_authorities.len()).unwrap_or(u8::MAX));
        let [_, _, authority @ ..] = sid.authority.to_be_bytes();
        self.bytes(&authority);
        for sub in &sid.sub_authorities {
            self.u32(*sub);
        }
    }
}
