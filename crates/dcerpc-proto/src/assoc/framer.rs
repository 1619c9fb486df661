//! Cutting a byte stream into PDUs.

use crate::pdu::{DecodeError, Header};
use bytes::BytesMut;

/// Bytes that arrived and were not consumed yet.
#[derive(Debug, Default)]
pub(super) struct Framer {
    input: BytesMut,
}

impl Framer {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.input.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// The header of the next PDU, as soon as it is there.
    pub(super) fn peek(&self) -> Option<Header> {
        Header::decode(&self.input).ok()
    }

    /// The next PDU, whole, once all its bytes are there.
    pub(super) fn take(&mut self, header: &Header) -> Option<BytesMut> {
        let length = usize::from(header.frag_length);
        (self.input.len() >= length).then(|| self.input.split_to(length))
    }

    pub(super) fn clear(&mut self) {
        self.input = BytesMut::new();
    }
}

/// Whether a length that does not even hold the header makes everything after it meaningless.
pub(super) fn is_length_lie(error: &DecodeError) -> bool {
    matches!(
        error,
        DecodeError::Invalid {
            field: "frag_length",
            ..
        }
    )
}
