//! One accepted connection: who may connect, and the hand-over.

use super::message::{MessageReader, MessageWriter};
use crate::npa::{AuthRequest, DecodeError, HandOver, MAX_FRAME, auth_reply};
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zeroize::Zeroize;

/// Bytes of the frame's length field.
const LENGTH_FIELD: usize = 4;
/// First size of the receive buffer; a usual frame has 700 to 2,000 bytes.
const FIRST_READ: usize = 4 * 1024;

/// A hand-over did not come about. The connection is closed; the listener goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Only uid 0 may hand over clients.
    #[error("peer with uid {0} is not root")]
    NotRoot(u32),
    /// The whole frame did not come in time.
    #[error("hand-over was not complete after {0:?}")]
    Deadline(Duration),
    /// The peer closed before it had sent anything: somebody looked whether we listen.
    #[error("peer closed before its hand-over")]
    Looked,
    /// The peer closed before the frame was complete.
    #[error("peer closed inside its hand-over")]
    Closed,
    /// The frame does not decode. A level that is not 7 or 8 is a Samba that this program does
    /// not know.
    #[error("hand-over does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// The socket failed.
    #[error("pipe socket: {0}")]
    Io(#[from] std::io::Error),
}

/// A connection that has sent nothing yet.
#[derive(Debug)]
pub struct RawConnection {
    stream: UnixStream,
}

/// A client's pipe.
#[derive(Debug)]
pub struct PipeConnection {
    /// Who the client is.
    pub peer: HandOver,
    /// What the client sends.
    pub reader: MessageReader<OwnedReadHalf>,
    /// What the client gets.
    pub writer: MessageWriter<OwnedWriteHalf>,
}

impl RawConnection {
    /// Wraps an accepted stream.
    #[must_use]
    pub const fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Reads the hand-over and answers it at once: the whole smbd process of this client waits
    /// for the answer.
    ///
    /// # Errors
    /// [`HandOverError`]; the connection is then closed.
    pub async fn hand_over(self, limit: Duration) -> Result<PipeConnection, HandOverError> {
        let uid = self.stream.peer_cred()?.uid();
        // Where the agent itself is no root, in the embedded laboratory, its own user could take it
        // over anyway.
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return Err(HandOverError::NotRoot(uid));
        }
        tokio::time::timeout(limit, self.exchange())
            .await
            .map_err(|_| HandOverError::Deadline(limit))?
    }

    async fn exchange(mut self) -> Result<PipeConnection, HandOverError> {
        let mut frame = Frame::default();
        let request = frame.read(&mut self.stream).await?;
        self.stream.write_all(&auth_reply(request.level)).await?;
        let (reader, writer) = self.stream.into_split();
        Ok(PipeConnection {
            peer: request.into(),
            reader: MessageReader::new(reader),
            writer: MessageWriter::new(writer),
        })
    }
}

/// The received bytes; they hold the SMB session key and are wiped.
#[derive(Default)]
struct Frame(BytesMut);

impl Frame {
    async fn read(&mut self, stream: &mut UnixStream) -> Result<AuthRequest, HandOverError> {
        self.0.reserve(FIRST_READ);
        let mut needed = LENGTH_FIELD;
        while self.0.len() < needed {
            // Reads no further than the frame: what follows belongs to the message stream.
            let missing = needed.saturating_sub(self.0.len());
            let missing = u64::try_from(missing).unwrap_or(u64::MAX);
            if (&mut *stream).take(missing).read_buf(&mut self.0).await? == 0 {
                return Err(match self.0.is_empty() {
                    true => HandOverError::Looked,
                    false => HandOverError::Closed,
                });
            }
            if let Some(length) = self.0.first_chunk::<LENGTH_FIELD>() {
                let announced = u32::from_be_bytes(*length);
                if announced > MAX_FRAME {
                    let found = self.0.len().saturating_sub(LENGTH_FIELD);
                    return Err(DecodeError::Length { announced, found }.into());
                }
                needed = LENGTH_FIELD.saturating_add(usize::try_from(announced).unwrap_or(0));
            }
        }
        Ok(AuthRequest::decode(&self.0)?)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.0.as_mut().zeroize();
    }
}
