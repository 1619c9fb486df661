//! Round trips in both byte orders, and input that no client sends.

use crate::items::{Item, request_items, response_items};
use dcerpc_proto::ByteOrder::{self, Big, Little};
use dcerpc_proto::ndr::NdrError;
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, DecodeError, FileTime, Opnum, Request, Response,
    ShadowCopyId, ShadowCopySetId, ShareMapping, ShareName, Status, UncPath,
};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn set_id() -> impl Strategy<Value = ShadowCopySetId> {
    id().prop_map(ShadowCopySetId)
}

fn copy_id() -> impl Strategy<Value = ShadowCopyId> {
    id().prop_map(ShadowCopyId)
}

/// Any text that can stand in an `LPWSTR`.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        r"\\\\[a-z0-9.]{1,12}\\[a-zA-Zäß$]{1,12}\\?",
        proptest::collection::vec(any::<char>().prop_filter("NUL", |&c| c != '\0'), 0..40)
            .prop_map(String::from_iter),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::GetSupportedVersion),
        any::<u32>().prop_map(|context| Request::SetContext { context }),
        id().prop_map(|id| Request::StartShadowCopySet {
            client_shadow_copy_set_id: ClientShadowCopySetId(id)
        }),
        (id(), set_id(), text()).prop_map(|(client, shadow_copy_set_id, share_name)| {
            Request::AddToShadowCopySet {
                client_shadow_copy_id: ClientShadowCopyId(client),
                shadow_copy_set_id,
                share_name,
            }
        }),
        (set_id(), any::<u32>()).prop_map(|(shadow_copy_set_id, timeout_ms)| {
            Request::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
        }),
        (set_id(), any::<u32>()).prop_map(|(shadow_copy_set_id, timeout_ms)| {
            Request::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
        }),
        set_id().prop_map(
            |shadow_copy_set_id| Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id }
        ),
        set_id().prop_map(|shadow_copy_set_id| Request::AbortShadowCopySet { shadow_copy_set_id }),
        text().prop_map(|share_name| Request::IsPathSupported { share_name }),
        text().prop_map(|share_name| Request::IsPathShadowCopied { share_name }),
        (copy_id(), set_id(), text(), any::<u32>()).prop_map(
            |(shadow_copy_id, shadow_copy_set_id, share_name, level)| Request::GetShareMapping {
                shadow_copy_id,
                shadow_copy_set_id,
                share_name,
                level,
            }
        ),
        (set_id(), copy_id(), text()).prop_map(
            |(shadow_copy_set_id, shadow_copy_id, share_name)| Request::DeleteShareMapping {
                shadow_copy_set_id,
                shadow_copy_id,
                share_name,
            }
        ),
        (set_id(), any::<u32>()).prop_map(|(shadow_copy_set_id, timeout_ms)| {
            Request::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            }
        }),
    ]
}

fn mapping() -> impl Strategy<Value = ShareMapping> {
    (
        set_id(),
        copy_id(),
        text(),
        option::of(text()),
        any::<u64>(),
    )
        .prop_map(
            |(shadow_copy_set_id, shadow_copy_id, share_name_unc, shadow_copy_share_name, time)| {
                ShareMapping {
                    shadow_copy_set_id,
                    shadow_copy_id,
                    share_name_unc,
                    shadow_copy_share_name,
                    creation_timestamp: FileTime(time),
                }
            },
        )
}

fn response() -> impl Strategy<Value = Response> {
    any::<u32>().prop_map(Status).prop_flat_map(|status| {
        prop_oneof![
            (any::<u32>(), any::<u32>()).prop_map(move |(min_version, max_version)| {
                Response::GetSupportedVersion {
                    min_version,
                    max_version,
                    status,
                }
            }),
            set_id().prop_map(move |shadow_copy_set_id| Response::StartShadowCopySet {
                shadow_copy_set_id,
                status
            }),
            copy_id().prop_map(move |shadow_copy_id| Response::AddToShadowCopySet {
                shadow_copy_id,
                status
            }),
            (any::<bool>(), option::of(text())).prop_map(move |(supported, name)| {
                Response::IsPathSupported {
                    supported_by_this_provider: supported,
                    owner_machine_name: name,
                    status,
                }
            }),
            (any::<bool>(), any::<i32>()).prop_map(move |(present, compatibility)| {
                Response::IsPathShadowCopied {
                    shadow_copy_present: present,
                    shadow_copy_compatibility: compatibility,
                    status,
                }
            }),
            option::of(mapping()).prop_map(move |mapping| Response::GetShareMapping {
                level: 1,
                mapping,
                status
            }),
            (2..=u32::MAX).prop_map(move |level| Response::GetShareMapping {
                level,
                mapping: None,
                status
            }),
            (0_u16..13).prop_map(move |opnum| {
                Response::failed(Opnum::try_from(opnum).unwrap(), status)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn requests_survive_both_byte_orders(request in request()) {
        let opnum = u16::from(request.opnum());
        let items = request_items(&request);
        prop_assert_eq!(&request.encode()[..], Item::encode(&items, Little));
        for order in [Little, Big] {
            let stub = Item::encode(&items, order);
            let (decoded, rest) = Request::decode(opnum, &stub, order).unwrap();
            prop_assert_eq!(&decoded, &request);
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn responses_survive_both_byte_orders(response in response()) {
        let items = response_items(&response);
        prop_assert_eq!(&response.encode()[..], Item::encode(&items, Little));
        for order in [Little, Big] {
            let stub = Item::encode(&items, order);
            let (decoded, rest) = Response::decode(response.opnum(), &stub, order).unwrap();
            prop_assert_eq!(&decoded, &response);
            prop_assert!(rest.is_empty());
        }
    }

    /// What follows the arguments is handed out, whatever it is; a stub that is cut never decodes.
    #[test]
    fn requests_end_where_they_end(
        request in request(),
        tail in proptest::collection::vec(any::<u8>(), 0..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let opnum = u16::from(request.opnum());
        let stub = request.encode();
        let longer = [&stub[..], &tail].concat();
        let (decoded, rest) = Request::decode(opnum, &longer, Little).unwrap();
        prop_assert_eq!((&decoded, rest), (&request, &tail[..]));
        if !stub.is_empty() {
            let shorter = &stub[..cut.index(stub.len())];
            let is_truncated = matches!(
                Request::decode(opnum, shorter, Little),
                Err(DecodeError::Stub { error: NdrError::Truncated { .. }, .. })
            );
            prop_assert!(is_truncated);
        }
    }

    /// Random bytes decode or fail; what decodes encodes to something that decodes to the same.
    #[test]
    fn random_bytes_never_panic(
        opnum in 0_u16..15,
        is_big in any::<bool>(),
        stub in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let order = if is_big { Big } else { Little };
        if let Ok((request, _)) = Request::decode(opnum, &stub, order) {
            again(&request)?;
        }
        if let Ok(opnum) = Opnum::try_from(opnum)
            && let Ok((response, _)) = Response::decode(opnum, &stub, order)
        {
            let again = response.encode();
            let again = Response::decode(opnum, &again, Little);
            prop_assert_eq!(again.map(|(response, _)| response), Ok(response));
        }
    }

    /// Valid stubs with a few bytes changed get further into the decoder than noise does.
    #[test]
    fn damaged_stubs_never_panic(
        request in request(),
        response in response(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let damaged = |stub: &[u8]| {
            let mut stub = stub.to_vec();
            for (index, byte) in &damage {
                if !stub.is_empty() {
                    let index = index.index(stub.len());
                    stub[index] = *byte;
                }
            }
            stub
        };
        for order in [Little, Big] {
            let stub = damaged(&Item::encode(&request_items(&request), order));
            if let Ok((request, _)) = Request::decode(request.opnum().into(), &stub, order) {
                again(&request)?;
            }
            let stub = damaged(&Item::encode(&response_items(&response), order));
            let _ = Response::decode(response.opnum(), &stub, order);
        }
    }

    /// Parsing takes any text, and what it accepts has the parts that were given.
    #[test]
    fn any_text_parses_or_is_refused(
        text in prop_oneof![any::<String>(), r#"[\\/a.?$:\u{1}]{0,12}"#],
    ) {
        if let Ok(path) = UncPath::parse(&text) {
            let bare = text.strip_suffix('\\').unwrap_or(&text);
            prop_assert_eq!(path.to_string(), bare);
            let copy = ShadowCopyId(Uuid::from_u128(1));
            let exposed = path.share.exposed(copy);
            let unc = format!(r"\\{}\{exposed}", path.host);
            prop_assert_eq!(UncPath::parse(&unc).unwrap().share, ShareName::new(exposed));
        }
    }

    #[test]
    fn folding_order_and_hash_agree(a in "[aAbBßẞİıΣσς$]{0,4}", b in "[aAbBßẞİıΣσς$]{0,4}") {
        use std::hash::{BuildHasher, RandomState};
        let hasher = RandomState::new();
        let (a, b) = (ShareName::new(a), ShareName::new(b));
        prop_assert_eq!(a == b, a.folded() == b.folded());
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        if a == b {
            prop_assert_eq!(hasher.hash_one(&a), hasher.hash_one(&b));
        }
    }
}

fn again(request: &Request) -> Result<(), TestCaseError> {
    let stub = request.encode();
    let decoded = Request::decode(request.opnum().into(), &stub, Little);
    prop_assert_eq!(decoded.map(|(request, _)| request), Ok(request.clone()));
    Ok(())
}

/// Each count of a name replaced by a lie, in both byte orders: the stub is refused by what its
/// counts say, before its text is looked at.
#[test]
fn lying_counts_are_refused() {
    let limit = 16_384;
    let field = "ShareName";
    let check = |order: ByteOrder, counts: [u32; 3], error| {
        let mut stub = Item::encode(&counts.map(Item::Long), order);
        stub.extend([0x61, 0, 0, 0]);
        for opnum in [Opnum::IsPathSupported, Opnum::IsPathShadowCopied] {
            let decoded = Request::decode(opnum.into(), &stub, order);
            assert_eq!(decoded, Err(DecodeError::Stub { opnum, error }));
        }
    };
    for order in [Little, Big] {
        for found in [limit + 1, 0x8000_0000, u32::MAX] {
            let error = NdrError::TooLong {
                field,
                limit,
                found,
            };
            check(order, [found, 0, 2], error);
            check(order, [found, 0, found], error);
            check(order, [found, found, 0], error);
        }
        for [maximum, offset, actual] in [
            [2, 0, 3],
            [2, 0, u32::MAX],
            [2, 1, 1],
            [2, u32::MAX, 2],
            [2, 0, 0],
            [0, 0, 0],
        ] {
            let error = NdrError::Variance {
                field,
                maximum,
                offset,
                actual,
            };
            check(order, [maximum, offset, actual], error);
        }
        let error = NdrError::Truncated {
            field,
            needed: 32_768,
            found: 4,
        };
        check(order, [limit, 0, limit], error);
    }
}

/// The longest name that decodes has 16,383 characters and its terminator; whether it is a name at
/// all is another question.
#[test]
fn a_name_of_16384_units_decodes_and_one_more_does_not() {
    let request = |length: usize| Request::IsPathSupported {
        share_name: "a".repeat(length),
    };
    let decode = |request: &Request| {
        let stub = request.encode();
        Request::decode(8, &stub, Little).map(|(request, _)| request)
    };
    assert_eq!(decode(&request(16_383)), Ok(request(16_383)));
    let error = NdrError::TooLong {
        field: "ShareName",
        limit: 16_384,
        found: 16_385,
    };
    let opnum = Opnum::IsPathSupported;
    assert_eq!(
        decode(&request(16_384)),
        Err(DecodeError::Stub { opnum, error })
    );
}

/// The union of \[2.2.3.1\] has no arm but that of level 1, and the reply says the level that was
/// asked for.
#[test]
fn a_refused_level_is_answered_at_that_level() {
    let request = Request::GetShareMapping {
        shadow_copy_id: ShadowCopyId(Uuid::from_u128(1)),
        shadow_copy_set_id: ShadowCopySetId(Uuid::from_u128(2)),
        share_name: r"\\h\s".to_owned(),
        level: 7,
    };
    let response = request.failed(Status::E_INVALIDARG);
    assert_eq!(response.encode()[..], [7, 0, 0, 0, 0x57, 0, 7, 0x80]);
    let opnum = Opnum::GetShareMapping;
    let response = Response::failed(opnum, Status::E_INVALIDARG);
    let golden = [1, 0, 0, 0, 0, 0, 0, 0, 0x57, 0, 7, 0x80];
    assert_eq!(response.encode()[..], golden);
    let set = Request::AbortShadowCopySet {
        shadow_copy_set_id: ShadowCopySetId::NULL,
    };
    let response = set.failed(Status::FSRVP_E_BAD_STATE);
    assert_eq!(
        response,
        Response::AbortShadowCopySet {
            status: Status::FSRVP_E_BAD_STATE
        }
    );
}
