//! PDUs of the connection-oriented protocol: one file each; nom in, bytes out.

mod alter_context;
mod alter_context_resp;
mod auth3;
mod bind;
mod bind_ack;
mod bind_nak;
mod cancel;
mod error;
mod fault;
mod header;
mod orphaned;
mod presentation;
pub(crate) mod reader;
mod request;
mod response;
mod sec_trailer;
mod shutdown;
pub(crate) mod writer;

pub use alter_context::AlterContext;
pub use alter_context_resp::AlterContextResp;
pub use auth3::Auth3;
pub use bind::Bind;
pub use bind_ack::BindAck;
pub use bind_nak::{BindNak, RejectReason};
pub use cancel::CoCancel;
pub use error::{DecodeError, EncodeError};
pub use fault::Fault;
pub use header::{Header, PacketType, PfcFlags};
pub use orphaned::Orphaned;
pub use presentation::{BindTimeFeatures, ContextElement, ContextResult};
pub use request::Request;
pub use response::Response;
pub use sec_trailer::{AuthVerifier, SecTrailer};
pub use shutdown::Shutdown;

use bytes::BytesMut;
use writer::Writer;

/// A whole PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The common fields; encoding ignores the lengths.
    pub header: Header,
    /// What kind of PDU, with its fields.
    pub body: Body<'a>,
    /// The sec_trailer and its token. An empty token is sent with auth_length 0.
    pub auth: Option<AuthVerifier<'a>>,
}

/// What a PDU says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the type it holds")]
pub enum Body<'a> {
    Request(Request<'a>),
    Response(Response<'a>),
    Fault(Fault),
    Bind(Bind),
    BindAck(BindAck<'a>),
    BindNak(BindNak),
    AlterContext(AlterContext),
    AlterContextResp(AlterContextResp<'a>),
    Auth3(Auth3),
    CoCancel(CoCancel),
    Orphaned(Orphaned),
    Shutdown(Shutdown),
}

impl Body<'_> {
    /// The PTYPE of such a PDU.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Request(_) => PacketType::REQUEST,
            Self::Response(_) => PacketType::RESPONSE,
            Self::Fault(_) => PacketType::FAULT,
            Self::Bind(_) => PacketType::BIND,
            Self::BindAck(_) => PacketType::BIND_ACK,
            Self::BindNak(_) => PacketType::BIND_NAK,
            Self::AlterContext(_) => PacketType::ALTER_CONTEXT,
            Self::AlterContextResp(_) => PacketType::ALTER_CONTEXT_RESP,
            Self::Auth3(_) => PacketType::AUTH3,
            Self::CoCancel(_) => PacketType::CO_CANCEL,
            Self::Orphaned(_) => PacketType::ORPHANED,
            Self::Shutdown(_) => PacketType::SHUTDOWN,
        }
    }
}

impl<'a> Packet<'a> {
    /// A PDU in our own form: little-endian, call `call_id`.
    #[must_use]
    pub fn new(flags: PfcFlags, call_id: u32, body: Body<'a>) -> Self {
        Self {
            header: Header::new(body.packet_type(), flags, call_id),
            body,
            auth: None,
        }
    }

    /// The same with a sec_trailer.
    #[must_use]
    pub fn with_auth(mut self, trailer: SecTrailer, token: &'a [u8]) -> Self {
        self.auth = Some(AuthVerifier { trailer, token });
        self
    }

    /// Reads one PDU, which must fill `pdu`.
    ///
    /// # Errors
    /// Any field that is missing or cannot be.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let header = Header::decode(pdu)?;
        header.check()?;
        if usize::from(header.frag_length) != pdu.len() {
            return Err(DecodeError::Truncated {
                field: "frag_length",
                needed: header.frag_length.into(),
                found: pdu.len(),
            });
        }
        let fixed = match header.packet_type {
            PacketType::REQUEST => Request::body_start(header.flags),
            PacketType::RESPONSE => Response::FIXED_LEN,
            PacketType::AUTH3 => Auth3::FIXED_LEN,
            _ => Header::LEN,
        };
        let trailer = SecTrailer::locate(&header, pdu, fixed)?;
        let end = trailer.unwrap_or(pdu.len());
        let body = match header.packet_type {
            PacketType::REQUEST => Body::Request(Request::decode(&header, pdu, end)?),
            PacketType::RESPONSE => Body::Response(Response::decode(&header, pdu, end)?),
            PacketType::FAULT => Body::Fault(Fault::decode(&header, pdu)?),
            PacketType::BIND => Body::Bind(Bind::decode(&header, pdu)?),
            PacketType::BIND_ACK => Body::BindAck(BindAck::decode(&header, pdu)?),
            PacketType::BIND_NAK => Body::BindNak(BindNak::decode(&header, pdu)?),
            PacketType::ALTER_CONTEXT => Body::AlterContext(AlterContext::decode(&header, pdu)?),
            PacketType::ALTER_CONTEXT_RESP => {
                Body::AlterContextResp(AlterContextResp::decode(&header, pdu)?)
            }
            PacketType::AUTH3 => Body::Auth3(Auth3::decode(&header, pdu)?),
            PacketType::CO_CANCEL => Body::CoCancel(CoCancel),
            PacketType::ORPHANED => Body::Orphaned(Orphaned),
            PacketType::SHUTDOWN => Body::Shutdown(Shutdown),
            PacketType(other) => {
                return Err(DecodeError::Invalid {
                    field: "PTYPE",
                    needed: "a connection-oriented PDU",
                    found: other.into(),
                });
            }
        };
        let auth = trailer
            .map(|start| SecTrailer::decode(&header, pdu, start))
            .transpose()?;
        Ok(Self { header, body, auth })
    }

    /// Appends the PDU to `out`, with its lengths.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`]; `out` then ends in an unusable PDU.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        let order = self.header.byte_order();
        let mut writer = Writer::new(out, order);
        self.header.encode(&mut writer);
        match &self.body {
            Body::Request(body) => body.encode(&mut writer),
            Body::Response(body) => body.encode(&mut writer),
            Body::Fault(body) => body.encode(&mut writer),
            Body::Bind(body) => body.encode(&mut writer)?,
            Body::BindAck(body) => body.encode(&mut writer)?,
            Body::BindNak(body) => body.encode(&mut writer)?,
            Body::AlterContext(body) => body.0.encode(&mut writer)?,
            Body::AlterContextResp(body) => body.0.encode(&mut writer)?,
            Body::Auth3(body) => body.encode(&mut writer),
            Body::CoCancel(_) | Body::Orphaned(_) | Body::Shutdown(_) => {}
        }
        let mut auth_length = 0;
        if let Some(auth) = &self.auth {
            writer.align4();
            auth.trailer.encode(&mut writer);
            writer.bytes(auth.token);
            auth_length = auth.token.len();
        }
        let pdu = out.get_mut(start..).unwrap_or_default();
        Header::patch_lengths(pdu, order, auth_length)
    }
}
