//! The thirteen operations.

use crate::connection::Connection;
use crate::options::{INTERFACE, Options};
use crate::transport::Transport;
use crate::{AuthRequest, ClientError};
use bytes::Bytes;
use dcerpc_proto::{ByteOrder, SyntaxId};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Request, Response, ShadowCopyId, ShadowCopySetId,
    ShareMapping,
};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::ToSocketAddrs;
use tokio::time::timeout;

/// \[2.2.1.1\] The only information level of GetShareMapping.
const LEVEL_1: u32 = 1;

/// A connection to an agent.
///
/// Each method answers [`ClientError::Status`] if the server's HRESULT is not zero. A call whose
/// future is dropped, or that passes [`Options::call_timeout`], closes the connection, as \[3.2.5\]
/// wants it; the server goes on with what it has begun.
#[derive(Debug)]
pub struct FsrvpClient {
    connection: Option<Connection>,
    call_timeout: Duration,
}

/// \[3.1.4.1\] What GetSupportedVersion answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedVersions {
    /// MinVersion.
    pub min: u32,
    /// MaxVersion.
    pub max: u32,
}

/// \[3.1.4.9\] What IsPathSupported answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSupport {
    /// SupportedByThisProvider.
    pub is_supported: bool,
    /// OwnerMachineName: the server to connect to for shadow copies of the share.
    pub owner_machine_name: Option<String>,
}

/// \[3.1.4.10\] What IsPathShadowCopied answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathShadowCopied {
    /// ShadowCopyPresent.
    pub is_present: bool,
    /// \[2.2.2.3\] ShadowCopyCompatibility.
    pub compatibility: i32,
}

impl FsrvpClient {
    /// Connects to the socket on which smbd hands pipes over, `np/fssagentrpc` below Samba's
    /// ncalrpc directory, as the session that `session` describes, and binds.
    ///
    /// # Errors
    /// [`ClientError`]; every one of them before the connection is there.
    pub async fn connect_pipe(
        socket: impl AsRef<Path>,
        session: &AuthRequest,
        options: Options,
    ) -> Result<Self, ClientError> {
        Self::establish(options, Transport::connect_pipe(socket.as_ref(), session)).await
    }

    /// Connects to an agent's `ncacn_ip_tcp` port and binds.
    ///
    /// # Errors
    /// As for [`FsrvpClient::connect_pipe`].
    pub async fn connect_tcp(
        address: impl ToSocketAddrs,
        options: Options,
    ) -> Result<Self, ClientError> {
        Self::establish(options, Transport::connect_tcp(address)).await
    }

    /// Binds on a pipe that has already been handed over: each PDU is a message with its length.
    ///
    /// # Errors
    /// As for [`FsrvpClient::connect_pipe`].
    pub async fn over_messages(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        options: Options,
    ) -> Result<Self, ClientError> {
        let (reader, writer) = tokio::io::split(stream);
        let transport = Transport::messages(Box::new(reader), Box::new(writer));
        Self::establish(options, async { Ok(transport) }).await
    }

    /// Binds on a stream on which PDUs follow one another.
    ///
    /// # Errors
    /// As for [`FsrvpClient::connect_pipe`].
    pub async fn over_stream(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        options: Options,
    ) -> Result<Self, ClientError> {
        let (reader, writer) = tokio::io::split(stream);
        let transport = Transport::Stream {
            reader: Box::new(reader),
            writer: Box::new(writer),
        };
        Self::establish(options, async { Ok(transport) }).await
    }

    async fn establish(
        options: Options,
        connected: impl Future<Output = Result<Transport, ClientError>>,
    ) -> Result<Self, ClientError> {
        let call_timeout = options.call_timeout;
        let bound = async { Connection::bind(connected.await?, options).await };
        let connection = timeout(call_timeout, bound)
            .await
            .map_err(|_| ClientError::Timeout(call_timeout))??;
        Ok(Self {
            connection: Some(connection),
            call_timeout,
        })
    }

    /// \[3.1.4.1\] GetSupportedVersion (Opnum 0)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn supported_versions(&mut self) -> Result<SupportedVersions, ClientError> {
        match self.succeed(&Request::GetSupportedVersion).await? {
            Response::GetSupportedVersion {
                min_version,
                max_version,
                ..
            } => Ok(SupportedVersions {
                min: min_version,
                max: max_version,
            }),
            _ => Err(ClientError::Missing("MinVersion")),
        }
    }

    /// \[3.1.4.2\] SetContext (Opnum 1). Takes a [`fsrvp_idl::Context`] or any number.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_context(&mut self, context: impl Into<u32>) -> Result<(), ClientError> {
        let context = context.into();
        self.succeed(&Request::SetContext { context })
            .await
            .map(drop)
    }

    /// \[3.1.4.3\] StartShadowCopySet (Opnum 2)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn start_shadow_copy_set(
        &mut self,
        client_shadow_copy_set_id: ClientShadowCopySetId,
    ) -> Result<ShadowCopySetId, ClientError> {
        let request = Request::StartShadowCopySet {
            client_shadow_copy_set_id,
        };
        match self.succeed(&request).await? {
            Response::StartShadowCopySet {
                shadow_copy_set_id, ..
            } => Ok(shadow_copy_set_id),
            _ => Err(ClientError::Missing("pShadowCopySetId")),
        }
    }

    /// \[3.1.4.4\] AddToShadowCopySet (Opnum 3)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_to_shadow_copy_set(
        &mut self,
        client_shadow_copy_id: ClientShadowCopyId,
        shadow_copy_set_id: ShadowCopySetId,
        share_name: &str,
    ) -> Result<ShadowCopyId, ClientError> {
        let request = Request::AddToShadowCopySet {
            client_shadow_copy_id,
            shadow_copy_set_id,
            share_name: share_name.to_owned(),
        };
        match self.succeed(&request).await? {
            Response::AddToShadowCopySet { shadow_copy_id, .. } => Ok(shadow_copy_id),
            _ => Err(ClientError::Missing("pShadowCopyId")),
        }
    }

    /// \[3.1.4.5\] CommitShadowCopySet (Opnum 4). The server waits at most `wait`, in milliseconds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn commit_shadow_copy_set(
        &mut self,
        shadow_copy_set_id: ShadowCopySetId,
        wait: Duration,
    ) -> Result<(), ClientError> {
        let timeout_ms = milliseconds(wait);
        let request = Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        };
        self.succeed(&request).await.map(drop)
    }

    /// \[3.1.4.6\] ExposeShadowCopySet (Opnum 5). The server waits at most `wait`, in milliseconds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn expose_shadow_copy_set(
        &mut self,
        shadow_copy_set_id: ShadowCopySetId,
        wait: Duration,
    ) -> Result<(), ClientError> {
        let timeout_ms = milliseconds(wait);
        let request = Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        };
        self.succeed(&request).await.map(drop)
    }

    /// \[3.1.4.7\] RecoveryCompleteShadowCopySet (Opnum 6)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn recovery_complete_shadow_copy_set(
        &mut self,
        shadow_copy_set_id: ShadowCopySetId,
    ) -> Result<(), ClientError> {
        let request = Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id };
        self.succeed(&request).await.map(drop)
    }

    /// \[3.1.4.8\] AbortShadowCopySet (Opnum 7)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn abort_shadow_copy_set(
        &mut self,
        shadow_copy_set_id: ShadowCopySetId,
    ) -> Result<(), ClientError> {
        let request = Request::AbortShadowCopySet { shadow_copy_set_id };
        self.succeed(&request).await.map(drop)
    }

    /// \[3.1.4.9\] IsPathSupported (Opnum 8)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn is_path_supported(
        &mut self,
        share_name: &str,
    ) -> Result<PathSupport, ClientError> {
        let request = Request::IsPathSupported {
            share_name: share_name.to_owned(),
        };
        match self.succeed(&request).await? {
            Response::IsPathSupported {
                supported_by_this_provider,
                owner_machine_name,
                ..
            } => Ok(PathSupport {
                is_supported: supported_by_this_provider,
                owner_machine_name,
            }),
            _ => Err(ClientError::Missing("SupportedByThisProvider")),
        }
    }

    /// \[3.1.4.10\] IsPathShadowCopied (Opnum 9)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn is_path_shadow_copied(
        &mut self,
        share_name: &str,
    ) -> Result<PathShadowCopied, ClientError> {
        let request = Request::IsPathShadowCopied {
            share_name: share_name.to_owned(),
        };
        match self.succeed(&request).await? {
            Response::IsPathShadowCopied {
                shadow_copy_present,
                shadow_copy_compatibility,
                ..
            } => Ok(PathShadowCopied {
                is_present: shadow_copy_present,
                compatibility: shadow_copy_compatibility,
            }),
            _ => Err(ClientError::Missing("ShadowCopyPresent")),
        }
    }

    /// \[3.1.4.11\] GetShareMapping (Opnum 10) at level 1.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn share_mapping(
        &mut self,
        shadow_copy_id: ShadowCopyId,
        shadow_copy_set_id: ShadowCopySetId,
        share_name: &str,
    ) -> Result<ShareMapping, ClientError> {
        let request = Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name: share_name.to_owned(),
            level: LEVEL_1,
        };
        match self.succeed(&request).await? {
            Response::GetShareMapping {
                mapping: Some(mapping),
                ..
            } => Ok(mapping),
            _ => Err(ClientError::Missing("ShareMapping1")),
        }
    }

    /// \[3.1.4.12\] DeleteShareMapping (Opnum 11)
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_share_mapping(
        &mut self,
        shadow_copy_set_id: ShadowCopySetId,
        shadow_copy_id: ShadowCopyId,
        share_name: &str,
    ) -> Result<(), ClientError> {
        let request = Request::DeleteShareMapping {
            shadow_copy_set_id,
            shadow_copy_id,
            share_name: share_name.to_owned(),
        };
        self.succeed(&request).await.map(drop)
    }

    /// \[3.1.4.13\] PrepareShadowCopySet (Opnum 12). The server waits at most `wait`, in
    /// milliseconds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn prepare_shadow_copy_set(
        &mut self,
        shadow_copy_set_id: ShadowCopySetId,
        wait: Duration,
    ) -> Result<(), ClientError> {
        let timeout_ms = milliseconds(wait);
        let request = Request::PrepareShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        };
        self.succeed(&request).await.map(drop)
    }

    /// Any call, and its reply whatever its HRESULT is.
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::Status`].
    pub async fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        let opnum = request.opnum();
        let stub = self.call_raw(opnum.into(), request.encode()).await?;
        let (response, _) = Response::decode(opnum, &stub, ByteOrder::Little)?;
        Ok(response)
    }

    /// Any stub to any operation number of FileServerVssAgent, and the stub of its reply.
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::Status`].
    pub async fn call_raw(&mut self, opnum: u16, stub: Bytes) -> Result<Bytes, ClientError> {
        self.call_interface(INTERFACE, opnum, stub).await
    }

    /// Any stub to any operation of an interface of [`Options::more_interfaces`].
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::Status`].
    pub async fn call_interface(
        &mut self,
        interface: SyntaxId,
        opnum: u16,
        stub: Bytes,
    ) -> Result<Bytes, ClientError> {
        // While it is out, whatever ends this future early also closes the connection.
        let mut connection = self.connection.take().ok_or(ClientError::Closed)?;
        let outcome = timeout(self.call_timeout, connection.call(interface, opnum, stub))
            .await
            .unwrap_or(Err(ClientError::Timeout(self.call_timeout)));
        if matches!(outcome, Ok(_) | Err(ClientError::Fault(_))) {
            self.connection = Some(connection);
        }
        outcome
    }

    async fn succeed(&mut self, request: &Request) -> Result<Response, ClientError> {
        let response = self.call(request).await?;
        match response.status() {
            status if status.is_ok() => Ok(response),
            status => Err(ClientError::Status(status)),
        }
    }
}

/// TimeOutInMilliseconds; what does not fit is the longest wait there is.
fn milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}
