//! \[MS-DTYP 2.4.10.1\] CLAIM_SECURITY_ATTRIBUTE_RELATIVE_V1, which a level 8 token may carry.
//!
//! Nothing here decides by claims; they are decoded because what follows them in the frame (the
//! Unix token, the account) can only be found by going through them.

use super::DecodeError;
use super::reader::Reader;
use super::writer::Writer;

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Name; `None` is a NULL pointer.
    pub name: Option<String>,
    /// CLAIM_SECURITY_ATTRIBUTE flags.
    pub flags: u32,
    /// Type and values.
    pub values: ClaimValues,
}

/// The values of a claim; `None` is a NULL pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimValues {
    /// 0x0001
    Int64(Vec<Option<u64>>),
    /// 0x0002
    Uint64(Vec<Option<u64>>),
    /// 0x0003
    String(Vec<Option<String>>),
    /// 0x0005
    Sid(Vec<Option<Vec<u8>>>),
    /// 0x0006
    Boolean(Vec<Option<u64>>),
    /// 0x0010
    OctetString(Vec<Option<Vec<u8>>>),
}

/// A claim whose relative pointers have been read and whose referents have not.
pub(super) struct Pending {
    name: u32,
    value_type: u16,
    flags: u32,
    values: Vec<u32>,
}

/// Reads the fixed part of an array of claims.
pub(super) fn read_scalars(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<Vec<Pending>, DecodeError> {
    (0..count)
        .map(|_| {
            let name = reader.u32("claim name")?;
            let value_type = reader.u16("claim type")?;
            let flags = reader.u32("claim flags")?;
            let count = reader.count("claim values", 4)?;
            let values = (0..count)
                .map(|_| reader.u32("claim value"))
                .collect::<Result<_, _>>()?;
            Ok(Pending {
                name,
                value_type,
                flags,
                values,
            })
        })
        .collect()
}

/// Reads what the relative pointers of `pending` point at.
///
/// Samba writes the referents one after the other, in the order of their pointers. That order is
/// demanded, which keeps the work linear in the length of the frame.
pub(super) fn read_referents(
    reader: &mut Reader<'_>,
    pending: Pending,
) -> Result<Claim, DecodeError> {
    let name = relative(reader, pending.name, utf16)?;
    let values = &pending.values;
    let values = match pending.value_type {
        0x0001 => ClaimValues::Int64(each(reader, values, number)?),
        0x0002 => ClaimValues::Uint64(each(reader, values, number)?),
        0x0003 => ClaimValues::String(each(reader, values, utf16)?),
        0x0005 => ClaimValues::Sid(each(reader, values, octets)?),
        0x0006 => ClaimValues::Boolean(each(reader, values, number)?),
        0x0010 => ClaimValues::OctetString(each(reader, values, octets)?),
        other => return Err(DecodeError::ClaimType(other)),
    };
    Ok(Claim {
        name,
        flags: pending.flags,
        values,
    })
}

fn each<T>(
    reader: &mut Reader<'_>,
    pointers: &[u32],
    read: fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<Option<T>>, DecodeError> {
    pointers
        .iter()
        .map(|pointer| relative(reader, *pointer, read))
        .collect()
}

fn relative<T>(
    reader: &mut Reader<'_>,
    pointer: u32,
    read: fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if pointer == 0 {
        return Ok(None);
    }
    let position = usize::try_from(pointer).unwrap_or(usize::MAX);
    reader.skip_to("claim pointer", position)?;
    read(reader).map(Some)
}

fn number(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    reader.array("claim value").map(u64::from_le_bytes)
}

fn octets(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let length = reader.array("claim value").map(u32::from_le_bytes)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    reader.bytes("claim value", length).map(<[u8]>::to_vec)
}

fn utf16(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let mut units = Vec::new();
    loop {
        match reader.array("claim text").map(u16::from_le_bytes)? {
            0 => break,
            unit => units.push(unit),
        }
    }
    String::from_utf16(&units).map_err(|_| DecodeError::Text {
        field: "claim text",
    })
}

/// Writes the fixed part of a claim; gives the positions of its relative pointers.
pub(super) fn write_scalars(writer: &mut Writer, claim: &Claim) -> Vec<usize> {
    let (value_type, count) = match &claim.values {
        ClaimValues::Int64(values) => (0x0001, values.len()),
        ClaimValues::Uint64(values) => (0x0002, values.len()),
        ClaimValues::String(values) => (0x0003, values.len()),
        ClaimValues::Sid(values) => (0x0005, values.len()),
        ClaimValues::Boolean(values) => (0x0006, values.len()),
        ClaimValues::OctetString(values) => (0x0010, values.len()),
    };
    writer.align(4);
    let mut pointers = vec![writer.position()];
    writer.u32(0);
    writer.u16(value_type);
    writer.u32(claim.flags);
    writer.count(count);
    for _ in 0..count {
        pointers.push(writer.position());
        writer.u32(0);
    }
    pointers
}

/// Writes what the pointers at `positions` point at, in their order.
pub(super) fn write_referents(writer: &mut Writer, claim: &Claim, positions: &[usize]) {
    let Some((name, values)) = positions.split_first() else {
        return;
    };
    write_each(
        writer,
        std::slice::from_ref(&claim.name),
        &[*name],
        put_utf16,
    );
    match &claim.values {
        ClaimValues::Int64(numbers)
        | ClaimValues::Uint64(numbers)
        | ClaimValues::Boolean(numbers) => {
            for (number, position) in numbers.iter().zip(values) {
                if let Some(number) = number {
                    point_here(writer, *position);
                    writer.bytes(&number.to_le_bytes());
                }
            }
        }
        ClaimValues::String(texts) => write_each(writer, texts, values, put_utf16),
        ClaimValues::Sid(blobs) | ClaimValues::OctetString(blobs) => {
            write_each(writer, blobs, values, put_octets);
        }
    }
}

fn write_each<T: AsRef<U>, U: ?Sized>(
    writer: &mut Writer,
    values: &[Option<T>],
    positions: &[usize],
    put: fn(&mut Writer, &U, usize),
) {
    for (value, position) in values.iter().zip(positions) {
        if let Some(value) = value {
            put(writer, value.as_ref(), *position);
        }
    }
}

fn point_here(writer: &mut Writer, pointer: usize) {
    let target = u32::try_from(writer.position()).unwrap_or(u32::MAX);
    writer.patch(pointer, target);
}

fn put_utf16(writer: &mut Writer, text: &str, pointer: usize) {
    writer.align(2);
    point_here(writer, pointer);
    for unit in text.encode_utf16().chain([0]) {
        writer.bytes(&unit.to_le_bytes());
    }
}

fn put_octets(writer: &mut Writer, value: &[u8], pointer: usize) {
    point_here(writer, pointer);
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    writer.bytes(&length.to_le_bytes());
    writer.bytes(value);
}
