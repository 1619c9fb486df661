//! Calls and what becomes of them.

use crate::server::{Answer, Framing, INTERFACE, Server, connect, pipe};
use bytes::Bytes;
use dcerpc_proto::{FaultStatus, SyntaxId};
use fsrvp_client::{
    ClientError, FeatureNegotiation, FsrvpClient, Options, PathShadowCopied, PathSupport,
    SupportedVersions,
};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Context, FileTime, Opnum, Request, Response,
    ShadowCopyId, ShadowCopySetId, ShareMapping, Status,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const SET: ShadowCopySetId = ShadowCopySetId(Uuid::from_u128(1));
const COPY: ShadowCopyId = ShadowCopyId(Uuid::from_u128(2));
const CLIENT_SET: ClientShadowCopySetId = ClientShadowCopySetId(Uuid::from_u128(3));
const CLIENT_COPY: ClientShadowCopyId = ClientShadowCopyId(Uuid::from_u128(4));
const SHARE: &str = r"\\server\share";

fn mapping() -> ShareMapping {
    ShareMapping {
        shadow_copy_set_id: SET,
        shadow_copy_id: COPY,
        share_name_unc: SHARE.to_owned(),
        shadow_copy_share_name: Some("share@{…}".to_owned()),
        creation_timestamp: FileTime(5),
    }
}

fn succeed(request: &Request) -> Response {
    let status = Status::ZERO;
    match request {
        Request::GetSupportedVersion => Response::GetSupportedVersion {
            min_version: 1,
            max_version: 2,
            status,
        },
        Request::StartShadowCopySet { .. } => Response::StartShadowCopySet {
            shadow_copy_set_id: SET,
            status,
        },
        Request::AddToShadowCopySet { .. } => Response::AddToShadowCopySet {
            shadow_copy_id: COPY,
            status,
        },
        Request::IsPathSupported { .. } => Response::IsPathSupported {
            supported_by_this_provider: true,
            owner_machine_name: Some("SERVER".to_owned()),
            status,
        },
        Request::IsPathShadowCopied { .. } => Response::IsPathShadowCopied {
            shadow_copy_present: true,
            shadow_copy_compatibility: 2,
            status,
        },
        Request::GetShareMapping { .. } => Response::GetShareMapping {
            level: 1,
            mapping: Some(mapping()),
            status,
        },
        request => request.failed(status),
    }
}

#[tokio::test]
async fn all_thirteen_operations_carry_their_arguments_and_results() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let server = Server::replying(move |request| {
        seen.lock().unwrap().push(request.clone());
        succeed(request)
    });
    let mut client = connect(server, Options::default()).await.unwrap();

    let versions = client.supported_versions().await.unwrap();
    assert_eq!(versions, SupportedVersions { min: 1, max: 2 });
    let context = Context::try_from(0x19).unwrap();
    client.set_context(context).await.unwrap();
    assert_eq!(client.start_shadow_copy_set(CLIENT_SET).await.unwrap(), SET);
    let copy = client.add_to_shadow_copy_set(CLIENT_COPY, SET, SHARE).await;
    assert_eq!(copy.unwrap(), COPY);
    client
        .commit_shadow_copy_set(SET, Duration::from_secs(60))
        .await
        .unwrap();
    client
        .expose_shadow_copy_set(SET, Duration::ZERO)
        .await
        .unwrap();
    client.recovery_complete_shadow_copy_set(SET).await.unwrap();
    client.abort_shadow_copy_set(SET).await.unwrap();
    let support = PathSupport {
        is_supported: true,
        owner_machine_name: Some("SERVER".to_owned()),
    };
    assert_eq!(client.is_path_supported(SHARE).await.unwrap(), support);
    let copied = PathShadowCopied {
        is_present: true,
        compatibility: 2,
    };
    assert_eq!(client.is_path_shadow_copied(SHARE).await.unwrap(), copied);
    assert_eq!(
        client.share_mapping(COPY, SET, SHARE).await.unwrap(),
        mapping()
    );
    client.delete_share_mapping(SET, COPY, SHARE).await.unwrap();
    client
        .prepare_shadow_copy_set(SET, Duration::MAX)
        .await
        .unwrap();

    let shadow_copy_set_id = SET;
    let shadow_copy_id = COPY;
    let share_name = || SHARE.to_owned();
    let expected = [
        Request::GetSupportedVersion,
        Request::SetContext { context: 0x19 },
        Request::StartShadowCopySet {
            client_shadow_copy_set_id: CLIENT_SET,
        },
        Request::AddToShadowCopySet {
            client_shadow_copy_id: CLIENT_COPY,
            shadow_copy_set_id,
            share_name: share_name(),
        },
        Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms: 60_000,
        },
        Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms: 0,
        },
        Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id },
        Request::AbortShadowCopySet { shadow_copy_set_id },
        Request::IsPathSupported {
            share_name: share_name(),
        },
        Request::IsPathShadowCopied {
            share_name: share_name(),
        },
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name: share_name(),
            level: 1,
        },
        Request::DeleteShareMapping {
            shadow_copy_set_id,
            shadow_copy_id,
            share_name: share_name(),
        },
        Request::PrepareShadowCopySet {
            shadow_copy_set_id,
            timeout_ms: u32::MAX,
        },
    ];
    let calls = calls.lock().unwrap();
    assert_eq!(*calls, expected);
    let opnums: Vec<_> = calls.iter().map(Request::opnum).collect();
    assert_eq!(opnums, Opnum::ALL);
}

/// 0x102 has a clear sign bit and is a failure nevertheless.
#[tokio::test]
async fn a_status_that_is_not_zero_is_an_error_and_the_connection_lives() {
    let server = Server::replying(|request| request.failed(Status::FSRVP_E_WAIT_TIMEOUT));
    let mut client = connect(server, Options::default()).await.unwrap();
    for _ in 0..2 {
        let refused = client.prepare_shadow_copy_set(SET, Duration::ZERO).await;
        let status = Status::FSRVP_E_WAIT_TIMEOUT;
        assert!(
            matches!(refused, Err(ClientError::Status(is)) if is == status),
            "{refused:?}"
        );
    }
    let request = Request::AbortShadowCopySet {
        shadow_copy_set_id: SET,
    };
    let response = client.call(&request).await.unwrap();
    assert_eq!(response, request.failed(Status::FSRVP_E_WAIT_TIMEOUT));
}

#[tokio::test]
async fn a_fault_is_an_error_and_the_connection_lives() {
    let server = Server::new(|call| match call.opnum {
        0 => Answer::Reply(succeed(&Request::GetSupportedVersion).encode()),
        _ => Answer::Fault(FaultStatus::BAD_STUB_DATA),
    });
    let mut client = connect(server, Options::default()).await.unwrap();
    for (opnum, fault) in [(1, FaultStatus::BAD_STUB_DATA), (13, FaultStatus::OP_RANGE)] {
        let refused = client.call_raw(opnum, Bytes::new()).await;
        assert!(
            matches!(refused, Err(ClientError::Fault(is)) if is == fault),
            "{refused:?}"
        );
        client.supported_versions().await.unwrap();
    }
}

#[tokio::test]
async fn a_reply_that_does_not_decode_is_an_error_and_the_connection_lives() {
    let mut replies = 0;
    let server = Server::new(move |_| {
        replies += 1;
        Answer::Reply(match replies {
            1 => Bytes::from_static(&[1, 0, 0]),
            _ => succeed(&Request::GetSupportedVersion).encode(),
        })
    });
    let mut client = connect(server, Options::default()).await.unwrap();
    let short = client.supported_versions().await;
    assert!(matches!(short, Err(ClientError::Decode(_))), "{short:?}");
    client.supported_versions().await.unwrap();
}

/// A success has to bring the mapping.
#[tokio::test]
async fn a_success_without_its_result_is_an_error() {
    let server = Server::replying(|request| request.failed(Status::ZERO));
    let mut client = connect(server, Options::default()).await.unwrap();
    let empty = client.share_mapping(COPY, SET, SHARE).await;
    assert!(
        matches!(empty, Err(ClientError::Missing("ShareMapping1"))),
        "{empty:?}"
    );
}

/// 32 KiB of name is eight fragments there and eight back.
#[tokio::test]
async fn long_stubs_travel_in_fragments() {
    let server = Server::new(|call| Answer::Reply(call.stub.clone()));
    let mut client = connect(server, Options::default()).await.unwrap();
    let request = Request::IsPathSupported {
        share_name: "x".repeat(16_000),
    };
    for _ in 0..3 {
        let stub = request.encode();
        assert_eq!(client.call_raw(8, stub.clone()).await.unwrap(), stub);
    }
}

#[tokio::test]
async fn an_interface_that_is_not_served_is_rejected_at_the_bind() {
    let mut server = Server::new(|_| Answer::Silence);
    server.interface = SyntaxId::new(Uuid::from_u128(9), 1, 0);
    let refused = connect(server, Options::default()).await;
    // provider_rejection, abstract_syntax_not_supported
    let expected = (2, 1);
    match refused {
        Err(ClientError::Rejected { result, reason }) => assert_eq!((result, reason), expected),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn other_interfaces_and_features_can_be_bound_beside() {
    let server = Server::new(|call| {
        assert_eq!(call.interface, INTERFACE);
        Answer::Reply(succeed(&Request::GetSupportedVersion).encode())
    });
    let options = Options {
        more_interfaces: vec![SyntaxId::MGMT],
        feature_negotiation: FeatureNegotiation::Offer,
        ..Options::default()
    };
    let mut client = connect(server, options).await.unwrap();
    client.supported_versions().await.unwrap();
    // [C706 appendix Q] inq_if_ids answers with a status of zero at its end.
    let ids = client
        .call_interface(SyntaxId::MGMT, 0, Bytes::new())
        .await
        .unwrap();
    assert_eq!(ids[ids.len() - 4..], [0; 4]);
    let unknown = SyntaxId::new(Uuid::from_u128(7), 1, 0);
    let refused = client.call_interface(unknown, 0, Bytes::new()).await;
    assert!(
        matches!(refused, Err(ClientError::Association(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_closes_ends_the_call() {
    let mut client = connect(Server::new(|_| Answer::Close), Options::default())
        .await
        .unwrap();
    for _ in 0..2 {
        let closed = client.supported_versions().await;
        assert!(matches!(closed, Err(ClientError::Closed)), "{closed:?}");
    }
}

/// \[3.2.5\] "the client MUST close the RPC connection"
#[tokio::test(start_paused = true)]
async fn a_call_without_answer_times_out_and_closes() {
    let mut client = connect(Server::new(|_| Answer::Silence), Options::default())
        .await
        .unwrap();
    let start = Instant::now();
    let late = client.supported_versions().await;
    let limit = Duration::from_secs(180);
    assert!(
        matches!(late, Err(ClientError::Timeout(is)) if is == limit),
        "{late:?}"
    );
    assert_eq!(start.elapsed(), limit);
    let closed = client.supported_versions().await;
    assert!(matches!(closed, Err(ClientError::Closed)), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_acknowledges_the_bind_times_out() {
    let (ours, _theirs) = pipe();
    let options = Options {
        call_timeout: Duration::from_secs(3),
        ..Options::default()
    };
    let late = FsrvpClient::over_stream(ours, options).await;
    assert!(matches!(late, Err(ClientError::Timeout(_))), "{late:?}");
}

/// The server sees the end of the connection at once and not with the client.
#[tokio::test]
async fn a_dropped_call_closes_the_connection() {
    let (ours, theirs) = pipe();
    let served = tokio::spawn(Server::new(|_| Answer::Silence).serve(theirs, Framing::Stream));
    let mut client = FsrvpClient::over_stream(ours, Options::default())
        .await
        .unwrap();
    {
        let call = client.supported_versions();
        tokio::pin!(call);
        let pending = poll_once(call.as_mut()).await;
        assert!(pending.is_none());
    }
    served.await.unwrap();
    let closed = client.supported_versions().await;
    assert!(matches!(closed, Err(ClientError::Closed)), "{closed:?}");
}

/// Polls once; `None` while it is pending.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let poll = std::pin::Pin::new(&mut future).poll(context);
        std::task::Poll::Ready(match poll {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
