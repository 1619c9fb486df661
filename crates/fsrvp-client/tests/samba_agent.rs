//! The client against an agent that is not ours: Samba's `rpcd_fsrvp`, on its own pipe socket.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy grants this to test functions but not to what they share"
)]

use bytes::Bytes;
use dcerpc_proto::FaultStatus;
use dcerpc_proto::security::{AuthLevel, AuthType};
use dcerpc_security::{InitiatorConfig, NtlmCredentials, Secret, initiator};
use fsrvp_client::{
    AuthRequest, ClientError, ClientSecurity, FeatureNegotiation, FsrvpClient, HeaderSigning,
    Options, PathSupport, PipeIdentity, Sid, SupportedVersions,
};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Context, FileTime, Request, Response, ShadowCopyId,
    ShadowCopySetId, ShareName, Status,
};
use fsrvp_testkit::{AgentKind, Lab, LabOptions, ShareKey, laboratory_required, machine_fits};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// One boot for all, as a laboratory takes seconds.
#[tokio::test]
async fn sambas_agent_understands_us_and_we_understand_it() {
    if let Err(reason) = machine_fits() {
        assert!(!laboratory_required(), "{reason}");
        println!("skipped: {reason}");
        return;
    }
    let lab = Lab::up(LabOptions::for_test(AgentKind::Samba { workers: 1 })).unwrap();
    faults_leave_the_connection(&lab).await;
    every_package_and_level_carries_long_calls(&lab).await;
    // Two volumes, because Samba's names of snapshots collide within a second.
    walk(connect(&lab, Options::default()).await, &lab, ShareKey::A).await;
    let options = secured(
        &lab,
        AuthType::GSS_NEGOTIATE,
        AuthLevel::Privacy,
        HeaderSigning::Offer,
    );
    walk(connect(&lab, options).await, &lab, ShareKey::B).await;
    wrong_password_is_refused(&lab).await;
    // A mount namespace of somebody else may hold copies of our mounts; that is not the client's.
    if let Err(error) = lab.down() {
        println!("laboratory not removed: {error}");
    }
}

/// \[4.1\], \[4.2\], \[4.3\]
async fn walk(mut client: FsrvpClient, lab: &Lab, share: ShareKey) {
    let unc = format!(r"\\127.0.0.1\{}", share.share_name());
    let versions = client.supported_versions().await.unwrap();
    assert_eq!(versions, SupportedVersions { min: 1, max: 1 });
    let support = PathSupport {
        is_supported: true,
        owner_machine_name: Some(lab.server_name().to_owned()),
    };
    assert_eq!(client.is_path_supported(&unc).await.unwrap(), support);
    client
        .set_context(Context::try_from(0x0040_0009).unwrap())
        .await
        .unwrap();
    let set = ClientShadowCopySetId(Uuid::new_v4());
    let set = client.start_shadow_copy_set(set).await.unwrap();
    let copy = ClientShadowCopyId(Uuid::new_v4());
    let copy = client
        .add_to_shadow_copy_set(copy, set, &unc)
        .await
        .unwrap();
    let wait = Duration::from_secs(60);
    client.prepare_shadow_copy_set(set, wait).await.unwrap();
    client.commit_shadow_copy_set(set, wait).await.unwrap();
    client.expose_shadow_copy_set(set, wait).await.unwrap();

    let mapping = client.share_mapping(copy, set, &unc).await.unwrap();
    let name = ShareName::new(share.share_name());
    assert_eq!(mapping.shadow_copy_set_id, set);
    assert_eq!(mapping.shadow_copy_id, copy);
    let base = format!(r"\\{}\{name}", lab.server_name());
    assert_eq!(mapping.share_name_unc, base);
    assert_eq!(mapping.shadow_copy_share_name, Some(name.exposed(copy)));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let age = FileTime::from_unix(now).unix_seconds() - mapping.creation_timestamp.unix_seconds();
    assert!(age < 60, "created {age} s ago");

    other_level_is_answered_at_that_level(&mut client, copy, set, &unc).await;
    client.recovery_complete_shadow_copy_set(set).await.unwrap();
    client.delete_share_mapping(set, copy, &unc).await.unwrap();
    let gone = client.share_mapping(copy, set, &unc).await;
    assert!(
        matches!(gone, Err(ClientError::Status(Status::E_INVALIDARG))),
        "{gone:?}"
    );
}

/// \[2.2.3.1\] At another level the union has no arm: Samba sends what we would send.
async fn other_level_is_answered_at_that_level(
    client: &mut FsrvpClient,
    shadow_copy_id: ShadowCopyId,
    shadow_copy_set_id: ShadowCopySetId,
    unc: &str,
) {
    let request = Request::GetShareMapping {
        shadow_copy_id,
        shadow_copy_set_id,
        share_name: unc.to_owned(),
        level: 2,
    };
    let expected = request.failed(Status::E_INVALIDARG);
    let stub = client.call_raw(10, request.encode()).await.unwrap();
    assert_eq!(stub, expected.encode());
}

async fn faults_leave_the_connection(lab: &Lab) {
    let options = Options {
        feature_negotiation: FeatureNegotiation::Offer,
        ..Options::default()
    };
    let mut client = connect(lab, options).await;
    for (opnum, stub, expected) in [
        (13, &[][..], FaultStatus::OP_RANGE),
        (1, &[1][..], FaultStatus::BAD_STUB_DATA),
    ] {
        let refused = client.call_raw(opnum, Bytes::from_static(stub)).await;
        assert!(
            matches!(refused, Err(ClientError::Fault(is)) if is == expected),
            "{refused:?}"
        );
    }
    let refused = client.set_context(1_u32).await;
    assert!(
        matches!(refused, Err(ClientError::Status(Status::E_INVALIDARG))),
        "{refused:?}"
    );
    client.supported_versions().await.unwrap();
}

/// A name of 32 KiB makes eight fragments, each signed for itself.
async fn every_package_and_level_carries_long_calls(lab: &Lab) {
    let request = Request::IsPathSupported {
        share_name: format!(r"\\127.0.0.1\{}", "x".repeat(16_000)),
    };
    for auth_type in [AuthType::WINNT, AuthType::GSS_NEGOTIATE] {
        for level in [AuthLevel::Integrity, AuthLevel::Privacy] {
            for header_signing in [HeaderSigning::Offer, HeaderSigning::Omit] {
                let options = secured(lab, auth_type, level, header_signing);
                let mut client = connect(lab, options).await;
                for _ in 0..2 {
                    client.supported_versions().await.unwrap();
                    let response = client.call(&request).await.unwrap();
                    assert!(matches!(
                        response,
                        Response::IsPathSupported {
                            owner_machine_name: None,
                            status: Status::E_INVALIDARG,
                            ..
                        }
                    ));
                }
            }
        }
    }
}

async fn wrong_password_is_refused(lab: &Lab) {
    let credentials = NtlmCredentials::with_password(
        lab.admin().user.clone(),
        lab.server_name().to_owned(),
        &Secret::new("wrong".to_owned()),
    );
    let (level, signing) = (AuthLevel::Privacy, HeaderSigning::Offer);
    let options = with_credentials(credentials, AuthType::WINNT, level, signing);
    let connected = FsrvpClient::connect_pipe(lab.pipe(), &root(), options).await;
    // The third leg has no answer, so that the refusal comes with the first call; which fault it is
    // differs between servers.
    let refused = connected.unwrap().supported_versions().await;
    assert!(matches!(refused, Err(ClientError::Fault(_))), "{refused:?}");
}

async fn connect(lab: &Lab, options: Options) -> FsrvpClient {
    FsrvpClient::connect_pipe(lab.pipe(), &root(), options)
        .await
        .unwrap()
}

/// What smbd says of root, with the groups that it gives to everybody.
fn root() -> AuthRequest {
    let sids = [
        "S-1-5-21-1-2-3-1000",
        "S-1-5-21-1-2-3-513",
        "S-1-1-0",
        "S-1-5-2",
        "S-1-5-11",
    ];
    let sids = sids.iter().chain(&["S-1-5-32-544"]);
    let identity = PipeIdentity {
        account: "root".to_owned(),
        sids: sids.map(|sid| sid.parse().unwrap()).collect::<Vec<Sid>>(),
        uid: 0,
        gid: 0,
        ..PipeIdentity::default()
    };
    identity.into()
}

fn secured(
    lab: &Lab,
    auth_type: AuthType,
    level: AuthLevel,
    header_signing: HeaderSigning,
) -> Options {
    let credentials = NtlmCredentials::with_password(
        lab.admin().user.clone(),
        lab.server_name().to_owned(),
        &Secret::new(lab.admin().password.clone()),
    );
    with_credentials(credentials, auth_type, level, header_signing)
}

fn with_credentials(
    credentials: NtlmCredentials,
    auth_type: AuthType,
    level: AuthLevel,
    header_signing: HeaderSigning,
) -> Options {
    let config = InitiatorConfig {
        auth_type,
        level,
        target_host: "127.0.0.1".to_owned(),
        ntlm: Some(credentials),
        kerberos: None,
    };
    Options {
        security: Some(ClientSecurity {
            auth_type,
            level,
            context: initiator(&config).unwrap(),
            context_id: 1,
            header_signing,
        }),
        ..Options::default()
    }
}
