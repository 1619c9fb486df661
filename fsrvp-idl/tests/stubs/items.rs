//! A second, independent writer of NDR: a flat list of items laid out in either byte order.

use dcerpc_proto::ByteOrder;
use fsrvp_idl::{Request, Response};
use uuid::Uuid;

/// Which way an argument goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

/// One thing on the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Long(u32),
    Hyper(u64),
    Guid(Uuid),
    Text(String),
}

impl Item {
    /// Lays `items` out one after the other, each at its natural alignment.
    pub(crate) fn encode(items: &[Self], order: ByteOrder) -> Vec<u8> {
        let mut stub = Vec::new();
        for item in items {
            let alignment = if matches!(item, Self::Hyper(_)) { 8 } else { 4 };
            while stub.len() % alignment != 0 {
                stub.push(0);
            }
            for field in item.fields() {
                match order {
                    ByteOrder::Little => stub.extend(field.iter().rev()),
                    ByteOrder::Big => stub.extend(field),
                }
            }
        }
        stub
    }

    /// The parts whose bytes are in the order of the stub, most significant first.
    fn fields(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Long(value) => vec![value.to_be_bytes().to_vec()],
            Self::Hyper(value) => vec![value.to_be_bytes().to_vec()],
            Self::Guid(id) => {
                let (a, b, c, d) = id.as_fields();
                let numbers = [
                    a.to_be_bytes().to_vec(),
                    b.to_be_bytes().to_vec(),
                    c.to_be_bytes().to_vec(),
                ];
                numbers
                    .into_iter()
                    .chain(d.iter().map(|&byte| vec![byte]))
                    .collect()
            }
            Self::Text(text) => {
                let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
                let count = (units.len() as u32).to_be_bytes().to_vec();
                [count.clone(), vec![0; 4], count]
                    .into_iter()
                    .chain(units.iter().map(|unit| unit.to_be_bytes().to_vec()))
                    .collect()
            }
        }
    }
}

/// The arguments of a call, read off the interface definition.
pub(crate) fn request_items(request: &Request) -> Vec<Item> {
    use Item::{Guid, Long, Text};
    match request.clone() {
        Request::GetSupportedVersion => vec![],
        Request::SetContext { context } => vec![Long(context)],
        Request::StartShadowCopySet {
            client_shadow_copy_set_id,
        } => vec![Guid(client_shadow_copy_set_id.0)],
        Request::AddToShadowCopySet {
            client_shadow_copy_id,
            shadow_copy_set_id,
            share_name,
        } => vec![
            Guid(client_shadow_copy_id.0),
            Guid(shadow_copy_set_id.0),
            Text(share_name),
        ],
        Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        }
        | Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        }
        | Request::PrepareShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        } => vec![Guid(shadow_copy_set_id.0), Long(timeout_ms)],
        Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id }
        | Request::AbortShadowCopySet { shadow_copy_set_id } => vec![Guid(shadow_copy_set_id.0)],
        Request::IsPathSupported { share_name } | Request::IsPathShadowCopied { share_name } => {
            vec![Text(share_name)]
        }
        Request::GetShareMapping {
            shadow_copy_id,
            shadow_copy_set_id,
            share_name,
            level,
        } => vec![
            Guid(shadow_copy_id.0),
            Guid(shadow_copy_set_id.0),
            Text(share_name),
            Long(level),
        ],
        Request::DeleteShareMapping {
            shadow_copy_set_id,
            shadow_copy_id,
            share_name,
        } => vec![
            Guid(shadow_copy_set_id.0),
            Guid(shadow_copy_id.0),
            Text(share_name),
        ],
    }
}

/// The results of a call, read off the interface definition. Referents count up by four from
/// 0x20000, as Samba's do.
pub(crate) fn response_items(response: &Response) -> Vec<Item> {
    use Item::{Guid, Hyper, Long, Text};
    let mut items = match response.clone() {
        Response::GetSupportedVersion {
            min_version,
            max_version,
            ..
        } => vec![Long(min_version), Long(max_version)],
        Response::StartShadowCopySet {
            shadow_copy_set_id, ..
        } => vec![Guid(shadow_copy_set_id.0)],
        Response::AddToShadowCopySet { shadow_copy_id, .. } => vec![Guid(shadow_copy_id.0)],
        Response::IsPathSupported {
            supported_by_this_provider: supported,
            owner_machine_name,
            ..
        } => match owner_machine_name {
            Some(name) => vec![Long(supported.into()), Long(0x2_0000), Text(name)],
            None => vec![Long(supported.into()), Long(0)],
        },
        Response::IsPathShadowCopied {
            shadow_copy_present,
            shadow_copy_compatibility,
            ..
        } => vec![
            Long(shadow_copy_present.into()),
            Long(shadow_copy_compatibility as u32),
        ],
        Response::GetShareMapping {
            level: 1,
            mapping: Some(mapping),
            ..
        } => {
            let exposed = mapping.shadow_copy_share_name;
            let pointer = exposed.as_ref().map_or(0, |_| 0x2_0008);
            let mut items = vec![
                Long(1),
                Long(0x2_0000),
                Guid(mapping.shadow_copy_set_id.0),
                Guid(mapping.shadow_copy_id.0),
                Long(0x2_0004),
                Long(pointer),
                Hyper(mapping.creation_timestamp.0),
                Text(mapping.share_name_unc),
            ];
            items.extend(exposed.map(Text));
            items
        }
        Response::GetShareMapping { level: 1, .. } => vec![Long(1), Long(0)],
        Response::GetShareMapping { level, .. } => vec![Long(level)],
        Response::SetContext { .. }
        | Response::CommitShadowCopySet { .. }
        | Response::ExposeShadowCopySet { .. }
        | Response::RecoveryCompleteShadowCopySet { .. }
        | Response::AbortShadowCopySet { .. }
        | Response::DeleteShareMapping { .. }
        | Response::PrepareShadowCopySet { .. } => vec![],
    };
    items.push(Long(response.status().0));
    items
}
