//! `named_pipe_auth_rep`

use super::{DecodeError, Level};

/// Length of a reply in bytes; smbd drops one of any other length.
pub const REPLY_LEN: usize = 36;

/// FILE_TYPE_MESSAGE_MODE_PIPE: messages with two length bytes.
const MESSAGE_MODE: u16 = 2;
/// Device state that Samba's own services answer with.
const DEVICE_STATE: u16 = 0x05FF;
/// Allocation size that Samba's own services answer with.
const ALLOCATION_SIZE: u64 = 4096;

/// The reply that accepts a hand-over of `level`.
///
/// There is no refusing reply: smbd ignores the status, so a caller is refused by RPC.
#[must_use]
pub fn auth_reply(level: Level) -> [u8; REPLY_LEN] {
    let mut reply = [0; REPLY_LEN];
    let level = (level as u32).to_le_bytes();
    let fields: [&[u8]; 9] = [
        &32_u32.to_be_bytes(),
        b"NPAM",
        &level,
        &level,
        &MESSAGE_MODE.to_le_bytes(),
        &DEVICE_STATE.to_le_bytes(),
        &[0; 4],
        &ALLOCATION_SIZE.to_le_bytes(),
        &0_u32.to_le_bytes(),
    ];
    for (slot, byte) in reply.iter_mut().zip(fields.iter().copied().flatten()) {
        *slot = *byte;
    }
    reply
}

/// Checks a reply as smbd does: for clients that stand in for smbd.
///
/// # Errors
/// Another level, a status that is not zero, or anything that is no reply.
pub fn check_auth_reply(reply: &[u8; REPLY_LEN], level: Level) -> Result<(), DecodeError> {
    let mut reader = super::reader::Reader::new(reply);
    let announced = u32::from_be_bytes(reader.array("length")?);
    if announced != 32 {
        return Err(DecodeError::Length {
            announced,
            found: 32,
        });
    }
    let magic = reader.array("magic")?;
    if &magic != b"NPAM" {
        return Err(DecodeError::Magic(magic));
    }
    for field in ["level", "union level"] {
        let found = reader.u32(field)?;
        if found != level as u32 {
            return Err(DecodeError::Level(found));
        }
    }
    reader.u16("file_type")?;
    reader.u16("device_state")?;
    reader.hyper("allocation_size")?;
    match reader.u32("status")? {
        0 => Ok(()),
        status => Err(DecodeError::Status(status)),
    }
}
