//! The remote management interface (C706 appendix Q), which every server offers.

use super::Interface;
use crate::FaultStatus;
use crate::ndr::{NdrReader, NdrWriter};
use crate::verification::VerificationFacts;
use bytes::Bytes;

/// Number of operations.
pub(super) const OPNUM_COUNT: u16 = 5;

/// error_status_ok.
const STATUS_OK: u32 = 0;
/// `RPC_S_ACCESS_DENIED`.
const ACCESS_DENIED: u32 = 5;
/// `RPC_S_UNKNOWN_AUTHN_SERVICE`.
const UNKNOWN_AUTHN_SERVICE: u32 = 1747;

/// What inq_stats counts, for this association.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Statistics {
    pub(super) calls_in: u32,
    pub(super) packets_in: u32,
    pub(super) packets_out: u32,
}

/// Answers a call; opnums were checked against [`OPNUM_COUNT`].
pub(super) fn answer(
    opnum: u16,
    stub: &[u8],
    facts: &VerificationFacts,
    interfaces: &[Interface],
    statistics: &Statistics,
) -> Result<Bytes, FaultStatus> {
    let mut reader = NdrReader::new(stub, facts.byte_order);
    let mut writer = NdrWriter::new();
    match opnum {
        0 => inq_if_ids(&mut writer, interfaces),
        1 => {
            let wanted = argument(&mut reader, "count")?;
            inq_stats(&mut writer, wanted, statistics);
        }
        2 => is_server_listening(&mut writer),
        3 => writer.u32(ACCESS_DENIED),
        4 => {
            argument(&mut reader, "authn_proto")?;
            let size = argument(&mut reader, "princ_name_size")?;
            inq_princ_name(&mut writer, size)?;
        }
        _ => return Err(FaultStatus::OP_RANGE),
    }
    facts
        .check(reader.rest())
        .map_err(|_| FaultStatus::ACCESS_DENIED)?;
    Ok(writer.finish())
}

fn argument(reader: &mut NdrReader<'_>, field: &'static str) -> Result<u32, FaultStatus> {
    reader.u32(field).map_err(|_| FaultStatus::BAD_STUB_DATA)
}

/// rpc__mgmt_inq_if_ids: the interfaces offered, `mgmt` itself left out as by Windows.
fn inq_if_ids(writer: &mut NdrWriter<'_>, interfaces: &[Interface]) {
    let count = u32::try_from(interfaces.len()).unwrap_or(u32::MAX);
    writer.referent();
    writer.u32(count);
    writer.u32(count);
    for _ in interfaces {
        writer.referent();
    }
    for Interface { id, .. } in interfaces {
        writer.guid(id.uuid);
        writer.u16(id.major());
        writer.u16(id.minor());
    }
    writer.u32(STATUS_OK);
}

/// rpc__mgmt_inq_stats: calls in and out, PDUs in and out.
fn inq_stats(writer: &mut NdrWriter<'_>, wanted: u32, statistics: &Statistics) {
    let Statistics {
        calls_in,
        packets_in,
        packets_out,
    } = *statistics;
    let all = [calls_in, 0, packets_in, packets_out];
    let count = wanted.min(4);
    writer.u32(count);
    writer.u32(count);
    for value in all.iter().take(count as usize) {
        writer.u32(*value);
    }
    writer.u32(STATUS_OK);
}

/// rpc__mgmt_is_server_listening: it is.
fn is_server_listening(writer: &mut NdrWriter<'_>) {
    writer.u32(STATUS_OK);
    writer.u32(1);
}

/// rpc__mgmt_inq_princ_name: no package has a principal name to give away.
fn inq_princ_name(writer: &mut NdrWriter<'_>, size: u32) -> Result<(), FaultStatus> {
    if size == 0 {
        return Err(FaultStatus::BAD_STUB_DATA);
    }
    writer.u32(size);
    writer.u32(0);
    writer.u32(1);
    writer.u8(0);
    writer.u32(UNKNOWN_AUTHN_SERVICE);
    Ok(())
}
