//! Interfaces of others that the laboratory's TCP listener answers, so that clients which look for
//! an endpoint mapper or for NETLOGON first can judge our RPC runtime. They know nothing of shadow
//! copies, decide nothing, and exist only where `[listen.tcp] laboratory_interfaces = true`.

use bytes::Bytes;
use dcerpc_proto::FaultStatus;
use dcerpc_proto::SyntaxId;
use dcerpc_proto::assoc::{IncomingCall, Interface};
use dcerpc_proto::ndr::{NdrError, NdrReader, NdrWriter};
use uuid::uuid;

/// \[C706 appendix O\] The endpoint mapper.
const ENDPOINT_MAPPER: SyntaxId =
    SyntaxId::new(uuid!("e1af8308-5d1f-11c9-91a4-08002b14a0fa"), 3, 0);
/// \[MS-NRPC 2.1\] The Netlogon Remote Protocol, which takes arguments of any length without
/// authentication.
const NETLOGON: SyntaxId = SyntaxId::new(uuid!("12345678-1234-abcd-ef00-01234567cffb"), 1, 0);

/// ept_map (Opnum 3), the last that is answered.
const EPT_MAP: u16 = 3;
/// \[MS-NRPC 3.5.4.4.1\] NetrServerReqChallenge (Opnum 4), the last that is answered.
const NETR_SERVER_REQ_CHALLENGE: u16 = 4;
/// What NetrServerReqChallenge returns: a server challenge of 8 bytes and a status. Nobody can go on
/// with it.
const EMPTY_CHALLENGE: [u8; 12] = [0; 12];

/// EPT_S_NOT_REGISTERED.
const NOT_REGISTERED: u32 = 0x16C9_A0D6;
/// Longest tower that is looked at; that of TCP has 75 bytes.
const MAX_TOWER: u32 = 512;
/// \[C706 appendix I\] Protocol identifiers of a tower's floors.
const FLOOR_UUID: u8 = 0x0D;
const FLOOR_TCP: u8 = 0x07;

/// The interfaces, for the configuration of an association.
pub(crate) fn interfaces() -> [Interface; 2] {
    let interface = |id, last: u16| Interface {
        id,
        opnum_count: last + 1,
        min_auth_level: None,
    };
    [
        interface(ENDPOINT_MAPPER, EPT_MAP),
        interface(NETLOGON, NETR_SERVER_REQ_CHALLENGE),
    ]
}

/// Answers a call of an interface of others; `None` if it is none. `port` is the listener's.
pub(crate) fn answer(call: &IncomingCall, port: u16) -> Option<Result<Bytes, FaultStatus>> {
    let answer = match (call.interface, call.opnum) {
        (ENDPOINT_MAPPER, EPT_MAP) => ept_map(call, port).map_err(|_| FaultStatus::BAD_STUB_DATA),
        (NETLOGON, NETR_SERVER_REQ_CHALLENGE) => Ok(Bytes::from_static(&EMPTY_CHALLENGE)),
        (ENDPOINT_MAPPER | NETLOGON, _) => Err(FaultStatus::OP_RANGE),
        _ => return None,
    };
    Some(answer)
}

/// ept_map: the tower that was asked for, with our port, if it leads over TCP to an interface that
/// this listener serves.
fn ept_map(call: &IncomingCall, port: u16) -> Result<Bytes, NdrError> {
    let mut reader = NdrReader::new(&call.stub, call.byte_order);
    if reader.unique("object")? {
        reader.guid("object")?;
    }
    let mut tower = Vec::new();
    if reader.unique("map_tower")? {
        reader.u32("map_tower max_count")?;
        let length = reader.u32("tower_length")?.min(MAX_TOWER);
        for _ in 0..length {
            tower.push(reader.u8("tower_octet_string")?);
        }
    }
    reader.u32("entry_handle attributes")?;
    reader.guid("entry_handle")?;
    let max_towers = reader.u32("max_towers")?;
    let found = with_port(tower, port).filter(|_| max_towers > 0);

    let mut writer = NdrWriter::new();
    // The handle is null: there is nothing more to ask for.
    (0..5).for_each(|_| writer.u32(0));
    let count = u32::from(found.is_some());
    writer.u32(count);
    writer.u32(max_towers);
    writer.u32(0);
    writer.u32(count);
    if let Some(tower) = &found {
        let length = u32::try_from(tower.len()).unwrap_or(u32::MAX);
        writer.referent();
        writer.u32(length);
        writer.u32(length);
        tower.iter().for_each(|octet| writer.u8(*octet));
    }
    let status = found.map_or(NOT_REGISTERED, |_| 0);
    writer.u32(status);
    Ok(writer.finish())
}

/// The tower with the port of its TCP floor replaced; `None` without such a floor, or if its first
/// floor names an interface that is not served here.
fn with_port(mut tower: Vec<u8>, port: u16) -> Option<Vec<u8>> {
    let floors = u16::from_le_bytes(tower.get(..2)?.try_into().ok()?);
    let mut at = 2_usize;
    let mut interface = None;
    let mut has_port = false;
    for _ in 0..floors {
        let left = field(&tower, &mut at)?;
        let right = field(&tower, &mut at)?;
        match tower.get(left)? {
            [FLOOR_UUID, syntax @ ..] if interface.is_none() => {
                interface = Some(<[u8; 18]>::try_from(syntax).ok()?);
            }
            [FLOOR_TCP] => {
                let place: &mut [u8; 2] = tower.get_mut(right)?.try_into().ok()?;
                *place = port.to_be_bytes();
                has_port = true;
            }
            _ => {}
        }
    }
    (has_port && is_served(&interface?)).then_some(tower)
}

/// A counted field of a floor; `at` goes behind it.
fn field(tower: &[u8], at: &mut usize) -> Option<std::ops::Range<usize>> {
    let start = at.checked_add(2)?;
    let length = u16::from_le_bytes(tower.get(*at..start)?.try_into().ok()?);
    let end = start.checked_add(usize::from(length))?;
    *at = end;
    tower.get(start..end).map(|_| start..end)
}

/// UUID and major version of an interface that this listener serves.
fn is_served(syntax: &[u8; 18]) -> bool {
    let serves = |id: &SyntaxId| {
        let (uuid, major) = syntax.split_at(16);
        uuid == id.uuid.to_bytes_le() && major == id.major().to_le_bytes()
    };
    [
        crate::server::fsrvp_interface().id,
        SyntaxId::MGMT,
        ENDPOINT_MAPPER,
        NETLOGON,
    ]
    .iter()
    .any(serves)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tower of \[C706 appendix I\]: interface, NDR, ncacn, TCP, IP.
    fn tower(interface: &SyntaxId) -> Vec<u8> {
        let uuid_floor = |id: &SyntaxId| {
            let mut floor = vec![19, 0, FLOOR_UUID];
            floor.extend(id.uuid.to_bytes_le());
            floor.extend(id.major().to_le_bytes());
            floor.extend([2, 0, 0, 0]);
            floor
        };
        let mut tower = vec![5, 0];
        tower.extend(uuid_floor(interface));
        tower.extend(uuid_floor(&SyntaxId::NDR20));
        tower.extend([1, 0, 0x0B, 2, 0, 0, 0]);
        tower.extend([1, 0, FLOOR_TCP, 2, 0, 0, 135]);
        tower.extend([1, 0, 0x09, 4, 0, 127, 0, 0, 1]);
        tower
    }

    #[test]
    fn a_tower_gets_our_port_and_keeps_the_rest() {
        let asked = tower(&NETLOGON);
        assert_eq!(asked.len(), 75);
        let answer = with_port(asked.clone(), 0x1234).unwrap();
        let differs: Vec<_> = (0..75).filter(|&at| asked[at] != answer[at]).collect();
        assert_eq!(differs, [64, 65]);
        assert_eq!(answer[64..66], [0x12, 0x34]);
    }

    #[test]
    fn towers_to_others_and_towers_that_lie_lead_nowhere() {
        let other = SyntaxId::new(uuid!("12345778-1234-abcd-ef00-0123456789ab"), 0, 0);
        assert_eq!(with_port(tower(&other), 1), None);
        let good = tower(&NETLOGON);
        for length in 0..good.len() - 9 {
            assert_eq!(with_port(good[..length].to_vec(), 1), None, "{length}");
        }
        for at in 0..good.len() {
            let mut lie = good.clone();
            lie[at] = 0xFF;
            // Whatever comes out, it is no panic.
            let _ = with_port(lie, 1);
        }
    }
}
