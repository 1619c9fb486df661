//! How PDUs travel: as messages of a pipe, or as they are on a stream.

use crate::ClientError;
use bytes::{Bytes, BytesMut};
use fsrvp_samba::npa::{AuthRequest, REPLY_LEN, check_auth_reply};
use fsrvp_samba::pipe::{MessageReader, MessageWriter};
use std::fmt;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs, UnixStream};

type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// First size of a stream's receive buffer, in bytes: the largest fragment of TCP fits.
const READ_BUFFER: usize = 8 * 1024;

/// A connected transport.
pub(crate) enum Transport {
    /// Each PDU is a message with its length.
    Messages {
        reader: MessageReader<Reading>,
        writer: MessageWriter<Writing>,
    },
    /// PDUs follow one another.
    Stream { reader: Reading, writer: Writing },
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Messages { .. } => "Messages",
            Self::Stream { .. } => "Stream",
        })
    }
}

impl Transport {
    /// Connects to a socket of smbd's `np` directory and hands a pipe over as smbd does.
    pub(crate) async fn connect_pipe(
        socket: &Path,
        session: &AuthRequest,
    ) -> Result<Self, ClientError> {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&session.encode()).await?;
        let mut reply = [0; REPLY_LEN];
        stream.read_exact(&mut reply).await?;
        check_auth_reply(&reply, session.level)?;
        let (reader, writer) = stream.into_split();
        Ok(Self::messages(Box::new(reader), Box::new(writer)))
    }

    pub(crate) async fn connect_tcp(address: impl ToSocketAddrs) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self::Stream {
            reader: Box::new(reader),
            writer: Box::new(writer),
        })
    }

    pub(crate) fn messages(reader: Reading, writer: Writing) -> Self {
        Self::Messages {
            reader: MessageReader::new(reader),
            writer: MessageWriter::new(writer),
        }
    }

    /// Sends PDUs. Not cancel safe.
    pub(crate) async fn send(&mut self, pdus: &[Bytes]) -> Result<(), ClientError> {
        match self {
            Self::Messages { writer, .. } => Ok(writer.write(pdus).await?),
            Self::Stream { writer, .. } => Ok(writer.write_all(&pdus.concat()).await?),
        }
    }

    /// What the server has sent, in any portions; `None` when it has closed.
    pub(crate) async fn receive(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self {
            Self::Messages { reader, .. } => Ok(reader.read().await?),
            Self::Stream { reader, .. } => {
                let mut bytes = BytesMut::with_capacity(READ_BUFFER);
                let count = reader.read_buf(&mut bytes).await?;
                Ok((count != 0).then(|| bytes.freeze()))
            }
        }
    }
}
