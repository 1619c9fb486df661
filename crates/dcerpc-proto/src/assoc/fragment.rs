//! Fragments: outgoing stubs cut and protected, incoming ones checked and put together.

use crate::ByteOrder;
use crate::pdu::writer::Writer;
use crate::pdu::{AuthVerifier, DecodeError, Header, PacketType, PfcFlags, Request, SecTrailer};
use crate::security::{AuthLevel, AuthType, SecurityContext, SecurityError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::ops::Range;

/// Requests and responses have their stub at the same place.
const FIXED_LEN: usize = Request::FIXED_LEN;

/// \[MS-RPCE 2.2.2.11\] The sec_trailer stands at a multiple of 16 from the start of the stub.
const PAD_TO: usize = 16;

/// A complete security context with the values that its trailers carry.
#[derive(Debug)]
pub(super) struct Protection<'a> {
    pub(super) context: &'a mut dyn SecurityContext,
    pub(super) auth_type: AuthType,
    pub(super) level: AuthLevel,
    pub(super) context_id: u32,
    pub(super) header_signing: bool,
}

/// A request or response to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) packet_type: PacketType,
    pub(super) call_id: u32,
    pub(super) context_id: u16,
    /// A request's opnum; 0 in a response (cancel_count and reserved).
    pub(super) opnum: u16,
    pub(super) stub: &'a [u8],
    /// Largest PDU.
    pub(super) max_frag: u16,
}

impl Outgoing<'_> {
    /// Writes the fragments, signed and sealed if there is a protection, each one PDU.
    pub(super) fn send(
        &self,
        scratch: &mut BytesMut,
        mut protection: Option<Protection<'_>>,
        mut emit: impl FnMut(Bytes),
    ) -> Result<(), SecurityError> {
        let room = usize::from(self.max_frag).saturating_sub(FIXED_LEN);
        let room = match &protection {
            None => room,
            Some(protection) => {
                let token = protection.context.signature_len(protection.level, room);
                let room = room.saturating_sub(SecTrailer::LEN).saturating_sub(token);
                room - room % PAD_TO
            }
        };
        // A token that leaves no room would make endless fragments.
        let room = room.max(PAD_TO);
        let mut rest = self.stub;
        let mut flags = PfcFlags::FIRST_FRAG;
        loop {
            let (chunk, tail) = rest.split_at(rest.len().min(room));
            if tail.is_empty() {
                flags |= PfcFlags::LAST_FRAG;
            }
            emit(self.fragment(scratch, flags, chunk, rest.len(), protection.as_mut())?);
            if tail.is_empty() {
                return Ok(());
            }
            flags = PfcFlags::empty();
            rest = tail;
        }
    }

    fn fragment(
        &self,
        out: &mut BytesMut,
        flags: PfcFlags,
        chunk: &[u8],
        alloc_hint: usize,
        protection: Option<&mut Protection<'_>>,
    ) -> Result<Bytes, SecurityError> {
        let [version, minor] = [5, 0];
        out.reserve(FIXED_LEN + chunk.len() + PAD_TO + SecTrailer::LEN + 128);
        out.put_slice(&[version, minor, self.packet_type.0, flags.bits()]);
        // packed_drep (little-endian, ASCII, IEEE), then the lengths, filled in below.
        out.put_slice(&[0x10, 0, 0, 0, 0, 0, 0, 0]);
        out.put_u32_le(self.call_id);
        out.put_u32_le(u32::try_from(alloc_hint).unwrap_or(u32::MAX));
        out.put_u16_le(self.context_id);
        out.put_u16_le(self.opnum);
        out.put_slice(chunk);
        match protection {
            None => patch(out, out.len(), 0),
            Some(protection) => protection.protect(out)?,
        }
        Ok(out.split().freeze())
    }
}

fn patch(pdu: &mut BytesMut, frag_length: usize, auth_length: usize) {
    // Bounded by max_frag, which is 16 bits; a token beyond it is the package's lie.
    let [frag, auth] =
        [frag_length, auth_length].map(|length| u16::try_from(length).unwrap_or(u16::MAX));
    Header::patch(pdu, ByteOrder::Little, frag, auth);
}

impl Protection<'_> {
    /// Pads `out`, a PDU that ends with its stub, and adds trailer and token.
    fn protect(&mut self, out: &mut BytesMut) -> Result<(), SecurityError> {
        let pad = out.len().saturating_sub(FIXED_LEN).wrapping_neg() % PAD_TO;
        out.put_bytes(0, pad);
        let body = FIXED_LEN..out.len();
        let trailer = SecTrailer {
            auth_type: self.auth_type,
            auth_level: self.level as u8,
            auth_pad_length: u8::try_from(pad).unwrap_or(0),
            auth_context_id: self.context_id,
        };
        trailer.encode(&mut Writer::new(out, ByteOrder::Little));
        let token = self.context.signature_len(self.level, body.len());
        patch(out, out.len().saturating_add(token), token);
        let signature = self
            .context
            .protect(self.level, self.header_signing, out, body)?;
        if signature.len() != token {
            return Err(SecurityError::OutOfTurn);
        }
        out.put_slice(&signature);
        Ok(())
    }

    /// Verifies `pdu`, whose body begins at `body` and whose trailer begins at `trailer`, and
    /// decrypts it in place.
    pub(super) fn unprotect(
        &mut self,
        pdu: &mut [u8],
        body: usize,
        trailer: usize,
    ) -> Result<(), SecurityError> {
        let (signed, signature) = pdu
            .split_at_mut_checked(trailer.saturating_add(SecTrailer::LEN))
            .ok_or(SecurityError::BadSignature)?;
        let range = body..trailer;
        self.context
            .unprotect(self.level, self.header_signing, signed, range, signature)
    }
}

/// Where stub and trailer of an incoming request or response are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Where the body begins.
    pub(super) body: usize,
    /// Where the sec_trailer begins, if there is one, and what it says.
    pub(super) trailer: Option<(usize, SecTrailer)>,
    end: usize,
}

impl Layout {
    /// Finds the parts of `pdu`. All lies about lengths end here.
    pub(super) fn of(header: &Header, pdu: &[u8]) -> Result<Self, DecodeError> {
        let body = match header.packet_type {
            PacketType::REQUEST => Request::body_start(header.flags),
            _ => FIXED_LEN,
        };
        if pdu.len() < body {
            return Err(DecodeError::Truncated {
                field: "fixed part",
                needed: body,
                found: pdu.len(),
            });
        }
        let Some(start) = SecTrailer::locate(header, pdu, body)? else {
            return Ok(Self {
                body,
                trailer: None,
                end: pdu.len(),
            });
        };
        let AuthVerifier { trailer, .. } = SecTrailer::decode(header, pdu, start)?;
        let pad = usize::from(trailer.auth_pad_length);
        let end =
            start
                .checked_sub(pad)
                .filter(|end| *end >= body)
                .ok_or(DecodeError::Truncated {
                    field: "auth_pad_length",
                    needed: pad,
                    found: start.saturating_sub(body),
                })?;
        Ok(Self {
            body,
            trailer: Some((start, trailer)),
            end,
        })
    }

    /// The stub in the PDU, without padding. The padding may be believed only after the PDU was
    /// verified.
    pub(super) fn stub(&self) -> Range<usize> {
        self.body..self.end
    }

    /// Cuts a PDU down to its stub, without a copy.
    pub(super) fn into_stub(self, mut pdu: BytesMut) -> BytesMut {
        pdu.truncate(self.end);
        pdu.advance(self.body.min(pdu.len()));
        pdu
    }
}
