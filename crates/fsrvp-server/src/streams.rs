//! The two kinds of stream that carry PDUs: Samba's pipe socket and the laboratory's TCP.

use crate::connection::PduStream;
use bytes::{Bytes, BytesMut};
use fsrvp_samba::pipe::{MessageError, PipeConnection};
use std::io;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for one read of a TCP stream, in bytes.
const TCP_READ: usize = 4_096;
/// Longest time that a peer may take to notice that we are done.
const LINGER: Duration = Duration::from_secs(2);
/// What a peer may still send meanwhile.
const LINGER_BYTES: usize = 1 << 20;

impl PduStream for PipeConnection {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        self.reader.read().await.map_err(into_io)
    }

    fn look(&mut self, until: Instant) -> io::Result<Option<Bytes>> {
        self.reader.look(until).map_err(into_io)
    }

    async fn send(&mut self, pdus: &[Bytes]) -> io::Result<()> {
        self.writer.write(pdus).await.map_err(into_io)
    }

    /// A Unix socket delivers what was sent even when it is closed with unread bytes.
    async fn close(self) {}
}

fn into_io(error: MessageError) -> io::Error {
    match error {
        MessageError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// ncacn_ip_tcp: PDUs one after the other.
#[derive(Debug)]
pub struct TcpPdus {
    stream: TcpStream,
    buffer: BytesMut,
}

impl TcpPdus {
    /// Over an accepted connection.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }
}

impl PduStream for TcpPdus {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        self.buffer.reserve(TCP_READ);
        let read = self.stream.read_buf(&mut self.buffer).await?;
        Ok((read != 0).then(|| self.buffer.split().freeze()))
    }

    async fn send(&mut self, pdus: &[Bytes]) -> io::Result<()> {
        for pdu in pdus {
            self.stream.write_all(pdu).await?;
        }
        Ok(())
    }

    /// TCP resets a connection that is closed with unread bytes, and the peer may then never see
    /// our last words: what it still sends is read for a while and thrown away.
    async fn close(mut self) {
        let drained = async {
            self.stream.shutdown().await.ok()?;
            let mut left = LINGER_BYTES;
            while left > 0 {
                self.buffer.clear();
                self.buffer.reserve(TCP_READ);
                let read = self.stream.read_buf(&mut self.buffer).await.ok()?;
                left = left.checked_sub(read).filter(|_| read != 0)?;
            }
            Some(())
        };
        let _ = tokio::time::timeout(LINGER, drained).await;
    }
}
