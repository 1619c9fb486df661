//! Message mode: every message goes with its length, two bytes, little-endian.
//!
//! Incoming messages are what the client wrote: a part of a PDU, one PDU, or several. Their
//! payloads are one stream of bytes. Outgoing messages are one PDU each, because smbd answers one
//! read of the client with at most one message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;

/// Longest payload of a message.
pub const MAX_MESSAGE: usize = u16::MAX as usize;

/// Bytes of the length field.
const HEADER: usize = 2;
/// First size of the receive buffer: a PDU of Windows' usual 4,280 bytes with its header fits.
const READ_BUFFER: usize = 8 * 1024;
/// What is taken at a time while looking for the next message.
const LOOK_BUFFER: usize = 1024;

/// The stream of messages is broken; the connection has to be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// smbd never sends an empty message.
    #[error("message of length zero")]
    Empty,
    /// The peer closed inside a message.
    #[error("connection closed inside a message, {missing} bytes are missing")]
    Truncated {
        /// Bytes that did not come.
        missing: usize,
    },
    /// We were asked to send an empty message or one over [`MAX_MESSAGE`].
    #[error("a message of {0} bytes cannot be sent")]
    Unsendable(usize),
    /// The socket failed.
    #[error("pipe socket: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads messages.
#[derive(Debug)]
pub struct MessageReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> MessageReader<R> {
    /// Reads messages from `stream`.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(READ_BUFFER),
        }
    }

    /// The payload of the next message, or `None` when the peer has closed the pipe.
    ///
    /// Cancel safe: a message that was read in part is kept for the next call.
    ///
    /// # Errors
    /// Any error ends the stream.
    pub async fn read(&mut self) -> Result<Option<Bytes>, MessageError> {
        loop {
            if let Some(payload) = self.buffered()? {
                return Ok(Some(payload));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.missing() {
                    0 => Ok(None),
                    missing => Err(MessageError::Truncated { missing }),
                };
            }
        }
    }

    /// The payload of a message that has already been received whole, without waiting.
    ///
    /// # Errors
    /// [`MessageError::Empty`]
    pub fn buffered(&mut self) -> Result<Option<Bytes>, MessageError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_le_bytes(*header));
        if length == 0 {
            return Err(MessageError::Empty);
        }
        let total = HEADER.saturating_add(length);
        if self.buffer.len() < total {
            self.buffer.reserve(total.saturating_sub(self.buffer.len()));
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn missing(&self) -> usize {
        let present = self.buffer.len();
        match self.buffer.first_chunk::<HEADER>() {
            Some(header) => HEADER
                .saturating_add(usize::from(u16::from_le_bytes(*header)))
                .saturating_sub(present),
            None if present == 0 => 0,
            None => HEADER.saturating_sub(present),
        }
    }
}

impl MessageReader<OwnedReadHalf> {
    /// The payload of the next message if it is there or comes before `until`, without going to
    /// sleep. The end of the stream is left to [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn look(&mut self, until: Instant) -> Result<Option<Bytes>, MessageError> {
        let mut part = [0; LOOK_BUFFER];
        loop {
            if let Some(payload) = self.buffered()? {
                return Ok(Some(payload));
            }
            match recv(self.stream.as_ref(), &mut part, RecvFlags::DONTWAIT) {
                // The end, or what tokio has to see too.
                Ok((0, _)) => return Ok(None),
                Ok((length, _)) => {
                    let received = part.get(..length).unwrap_or_default();
                    self.buffer.extend_from_slice(received);
                }
                Err(Errno::AGAIN) if Instant::now() < until => std::hint::spin_loop(),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                Err(errno) => return Err(MessageError::Io(errno.into())),
            }
        }
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct MessageWriter<W> {
    stream: W,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin> MessageWriter<W> {
    /// Writes messages to `stream`.
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Sends PDUs, each as one message, with as few system calls as possible.
    ///
    /// Not cancel safe: a caller that drops the future has to close the connection.
    ///
    /// # Errors
    /// [`MessageError::Unsendable`] before anything is sent, or [`MessageError::Io`].
    pub async fn write<P: AsRef<[u8]>>(
        &mut self,
        pdus: impl IntoIterator<Item = P>,
    ) -> Result<(), MessageError> {
        self.buffer.clear();
        for pdu in pdus {
            let pdu = pdu.as_ref();
            let length = u16::try_from(pdu.len())
                .ok()
                .filter(|length| *length != 0)
                .ok_or(MessageError::Unsendable(pdu.len()))?;
            self.buffer.reserve(HEADER.saturating_add(pdu.len()));
            self.buffer.put_u16_le(length);
            self.buffer.put_slice(pdu);
        }
        self.stream.write_all(&self.buffer).await?;
        Ok(())
    }

    /// Closes the writing half: the peer sees the end of the stream.
    ///
    /// # Errors
    /// [`MessageError::Io`]
    pub async fn shutdown(&mut self) -> Result<(), MessageError> {
        Ok(self.stream.shutdown().await?)
    }
}
