//! A typed client of the FileServerVssAgent interface \[MS-FSRVP 3.2\].
//!
//! [`FsrvpClient`] speaks to any agent over two transports: the socket on which smbd hands pipes
//! over ([`FsrvpClient::connect_pipe`], with the identity that smbd would have given), and plain
//! `ncacn_ip_tcp` ([`FsrvpClient::connect_tcp`]). [`FsrvpClient::over_messages`] and
//! [`FsrvpClient::over_stream`] take a stream that is already there.
//!
//! One client is one connection, and it makes one call at a time. The interface keeps its state at
//! the server and not in the connection, so that several clients may work on the same set.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use fsrvp_client::{FsrvpClient, Options, PipeIdentity};
//! use fsrvp_idl::{ClientShadowCopyId, ClientShadowCopySetId};
//! use std::time::Duration;
//! use uuid::Uuid;
//!
//! let identity = PipeIdentity {
//!     sids: vec!["S-1-5-21-1-2-3-1000".parse()?, "S-1-5-32-551".parse()?],
//!     ..PipeIdentity::default()
//! };
//! let socket = "/run/samba/ncalrpc/np/fssagentrpc";
//! let options = Options::default();
//! let mut client = FsrvpClient::connect_pipe(socket, &identity.into(), options).await?;
//! client.set_context(0x0040_0009_u32).await?;
//! let set = client.start_shadow_copy_set(ClientShadowCopySetId(Uuid::new_v4())).await?;
//! let share = r"\\server\share";
//! let copy = client.add_to_shadow_copy_set(ClientShadowCopyId(Uuid::new_v4()), set, share).await?;
//! client.prepare_shadow_copy_set(set, Duration::from_secs(1800)).await?;
//! client.commit_shadow_copy_set(set, Duration::from_secs(60)).await?;
//! client.expose_shadow_copy_set(set, Duration::from_secs(180)).await?;
//! let mapping = client.share_mapping(copy, set, share).await?;
//! client.recovery_complete_shadow_copy_set(set).await?;
//! # Ok(())
//! # }
//! ```

mod client;
mod connection;
mod error;
mod identity;
#[cfg(feature = "test-support")]
mod lazy;
mod options;
mod transport;

pub use client::{FsrvpClient, PathShadowCopied, PathSupport, SupportedVersions};
pub use dcerpc_proto::assoc::{ClientSecurity, FeatureNegotiation, HeaderSigning};
pub use error::ClientError;
pub use fsrvp_samba::npa::{AuthRequest, Level, Sid};
pub use identity::PipeIdentity;
#[cfg(feature = "test-support")]
pub use lazy::LazyClient;
pub use options::Options;
