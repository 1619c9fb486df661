//! `fsrvp.idl` and the code name the same operations with the same arguments.

use crate::items::{Direction, Item, request_items, response_items};
use dcerpc_proto::ndr::NdrError;
use dcerpc_proto::{ByteOrder, SyntaxId};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, DecodeError, FileTime, INTERFACE_UUID,
    INTERFACE_VERSION, Opnum, Request, Response, ShadowCopyId, ShadowCopySetId, ShareMapping,
    Status,
};
use uuid::Uuid;

const IDL: &str = include_str!("../../fsrvp.idl");

struct Method {
    name: String,
    arguments: Vec<(Direction, String)>,
}

/// The methods of the interface in their order, without binding handles.
fn methods() -> Vec<Method> {
    let code: Vec<_> = IDL
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect();
    let code = code.join("\n");
    code.split("\n    DWORD ")
        .filter_map(|declaration| {
            let (name, rest) = declaration.split_once('(')?;
            let (arguments, _) = rest.split_once(");")?;
            let arguments = arguments.split(',').filter_map(argument).collect();
            Some(Method {
                name: name.to_owned(),
                arguments,
            })
        })
        .collect()
}

fn argument(text: &str) -> Option<(Direction, String)> {
    let direction = match text {
        text if text.contains("handle_t") => return None,
        text if text.contains("[in]") => Direction::In,
        text if text.contains("[out]") => Direction::Out,
        _ => panic!("an argument without direction: {text}"),
    };
    let name = text.rsplit([' ', '*']).next()?;
    Some((direction, name.to_owned()))
}

#[test]
fn opnums_are_the_order_of_the_interface() {
    let methods = methods();
    let names: Vec<_> = methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!(names, Opnum::ALL.map(Opnum::name));
    for (number, opnum) in (0..).zip(Opnum::ALL) {
        assert_eq!(u16::from(opnum), number);
        assert_eq!(Opnum::try_from(number), Ok(opnum));
        let comment = format!(
            "// 3.1.4.{}, opnum {number}\n    DWORD {opnum}(",
            number + 1
        );
        assert!(IDL.contains(&comment), "{comment:?}");
    }
    for beyond in [13, 14, 256, u16::MAX] {
        let unknown = DecodeError::UnknownOpnum(beyond);
        assert_eq!(Opnum::try_from(beyond), Err(unknown));
        let call = Request::decode(beyond, &[0; 64], ByteOrder::Little);
        assert_eq!(call, Err(unknown));
    }
}

#[test]
fn the_interface_is_the_one_that_is_declared() {
    let interface = SyntaxId::new(INTERFACE_UUID, INTERFACE_VERSION.0, INTERFACE_VERSION.1);
    assert!(IDL.contains(&format!("uuid({})", interface.uuid)));
    let (major, minor) = (interface.major(), interface.minor());
    assert!(IDL.contains(&format!("version({major}.{minor})")));
}

/// The decoder wants the arguments of the interface, in its order and under its names: of a stub
/// that is cut off after each of them it names the next.
#[test]
fn arguments_are_decoded_in_the_order_of_the_interface() {
    for method in methods() {
        let opnum = *Opnum::ALL
            .iter()
            .find(|opnum| opnum.name() == method.name)
            .unwrap();
        let (request, response) = example(opnum);
        let names = |wanted| {
            let wanted = method.arguments.iter().filter(move |(is, _)| *is == wanted);
            wanted.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
        };
        let decode = |stub: &[u8]| Request::decode(opnum.into(), stub, ByteOrder::Little).err();
        assert_eq!(
            missing(&request_items(&request), decode),
            names(Direction::In)
        );
        let decode = |stub: &[u8]| Response::decode(opnum, stub, ByteOrder::Little).err();
        let mut results = names(Direction::Out);
        if opnum == Opnum::GetShareMapping {
            results.extend([
                "ShareMapping1",
                "ShadowCopySetId",
                "ShadowCopyId",
                "ShareNameUNC",
            ]);
            results.extend(["ShadowCopyShareName", "CreationTimestamp"]);
        }
        results.push("return value");
        assert_eq!(missing(&response_items(&response), decode), results);
    }
}

/// The fields that the decoder finds missing, in the order of their first appearance.
fn missing(items: &[Item], decode: impl Fn(&[u8]) -> Option<DecodeError>) -> Vec<&'static str> {
    let mut fields = Vec::new();
    for count in 0..=items.len() {
        let stub = Item::encode(&items[..count], ByteOrder::Little);
        match decode(&stub) {
            Some(DecodeError::Stub {
                error: NdrError::Truncated { field, .. },
                ..
            }) => {
                if !fields.contains(&field) {
                    fields.push(field);
                }
            }
            None => assert_eq!(
                count,
                items.len(),
                "a stub without its last argument decodes"
            ),
            other => panic!("{other:?}"),
        }
    }
    fields
}

fn example(opnum: Opnum) -> (Request, Response) {
    let status = Status::ZERO;
    let share_name = || r"\\host\share".to_owned();
    let timeout_ms = 180_000;
    let id = Uuid::from_u128;
    let shadow_copy_set_id = ShadowCopySetId(id(1));
    let shadow_copy_id = ShadowCopyId(id(2));
    match opnum {
        Opnum::GetSupportedVersion => (
            Request::GetSupportedVersion,
            Response::GetSupportedVersion {
                min_version: 1,
                max_version: 1,
                status,
            },
        ),
        Opnum::SetContext => (
            Request::SetContext { context: 9 },
            Response::SetContext { status },
        ),
        Opnum::StartShadowCopySet => (
            Request::StartShadowCopySet {
                client_shadow_copy_set_id: ClientShadowCopySetId(id(3)),
            },
            Response::StartShadowCopySet {
                shadow_copy_set_id,
                status,
            },
        ),
        Opnum::AddToShadowCopySet => (
            Request::AddToShadowCopySet {
                client_shadow_copy_id: ClientShadowCopyId(id(4)),
                shadow_copy_set_id,
                share_name: share_name(),
            },
            Response::AddToShadowCopySet {
                shadow_copy_id,
                status,
            },
        ),
        Opnum::CommitShadowCopySet => (
            Request::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
            Response::CommitShadowCopySet { status },
        ),
        Opnum::ExposeShadowCopySet => (
            Request::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
            Response::ExposeShadowCopySet { status },
        ),
        Opnum::RecoveryCompleteShadowCopySet => (
            Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id },
            Response::RecoveryCompleteShadowCopySet { status },
        ),
        Opnum::AbortShadowCopySet => (
            Request::AbortShadowCopySet { shadow_copy_set_id },
            Response::AbortShadowCopySet { status },
        ),
        Opnum::IsPathSupported => (
            Request::IsPathSupported {
                share_name: share_name(),
            },
            Response::IsPathSupported {
                supported_by_this_provider: true,
                owner_machine_name: Some("HOST".to_owned()),
                status,
            },
        ),
        Opnum::IsPathShadowCopied => (
            Request::IsPathShadowCopied {
                share_name: share_name(),
            },
            Response::IsPathShadowCopied {
                shadow_copy_present: true,
                shadow_copy_compatibility: 3,
                status,
            },
        ),
        Opnum::GetShareMapping => (
            Request::GetShareMapping {
                shadow_copy_id,
                shadow_copy_set_id,
                share_name: share_name(),
                level: 1,
            },
            Response::GetShareMapping {
                level: 1,
                mapping: Some(ShareMapping {
                    shadow_copy_set_id,
                    shadow_copy_id,
                    share_name_unc: share_name(),
                    shadow_copy_share_name: Some("share@{…}".to_owned()),
                    creation_timestamp: FileTime(5),
                }),
                status,
            },
        ),
        Opnum::DeleteShareMapping => (
            Request::DeleteShareMapping {
                shadow_copy_set_id,
                shadow_copy_id,
                share_name: share_name(),
            },
            Response::DeleteShareMapping { status },
        ),
        Opnum::PrepareShadowCopySet => (
            Request::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
            Response::PrepareShadowCopySet { status },
        ),
    }
}
