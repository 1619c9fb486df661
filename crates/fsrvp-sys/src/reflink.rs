//! What a file clone needs besides FICLONE: ranges, the number of extents, and the id of a file
//! system (`linux/fs.h`, `linux/fiemap.h`, `xfs/xfs_fs.h`).

use crate::btrfs;
use crate::ioctl::{Argument, call};
use rustix::io::Result;
use rustix::ioctl::opcode;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

#[repr(C)]
struct FileCloneRange {
    source: i64,
    source_offset: u64,
    source_length: u64,
    target_offset: u64,
}

#[repr(C)]
struct FsXattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

#[repr(C)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

#[repr(C)]
struct FsUuid {
    length: u8,
    uuid: [u8; 16],
}

/// `struct xfs_fsop_geom_v1`: only the id is of interest.
#[repr(C)]
struct XfsGeometry {
    sizes: [u32; 8],
    blocks: [u64; 4],
    uuid: [u8; 16],
    rest: [u32; 7],
    pad: u32,
}

// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for Fiemap {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for FileCloneRange {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for FsUuid {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for FsXattr {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for XfsGeometry {}

const _: () = {
    assert!(size_of::<FileCloneRange>() == 32);
    assert!(size_of::<FsXattr>() == 28);
    assert!(size_of::<Fiemap>() == 32);
    assert!(size_of::<FsUuid>() == 17);
    assert!(size_of::<XfsGeometry>() == 112);
};

/// FS_XFLAG_REALTIME: the data is on the real-time device of an XFS.
const XFLAG_REALTIME: u32 = 1;

/// What FS_IOC_FSGETXATTR says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Extents of its data; zero where the file system does not count them.
    pub extents: u32,
    /// Whether its data is on a real-time device, from which nothing is cloned to another one.
    pub real_time: bool,
}

/// FICLONERANGE: `length` bytes from `offset` of `source` become the same bytes of `target`; a
/// length of zero means all up to the end of `source`. Both offsets are multiples of a block.
///
/// # Errors
/// `OPNOTSUPP`, `XDEV`, `INVAL`, `NOSPC`, `DQUOT`, `TXTBSY` for a swap file.
pub fn clone_range(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    offset: u64,
    length: u64,
) -> Result<()> {
    let mut args = FileCloneRange {
        source: i64::from(source.as_raw_fd()),
        source_offset: offset,
        source_length: length,
        target_offset: offset,
    };
    let code = opcode::write::<FileCloneRange>(0x94, 13);
    call(target, code, &mut args)
}

/// FS_IOC_FSGETXATTR. Reads nothing from the disk.
///
/// # Errors
/// `NOTTY` where the file system does not know it.
pub fn file_facts(file: BorrowedFd<'_>) -> Result<FileFacts> {
    let mut args = FsXattr {
        xflags: 0,
        extsize: 0,
        nextents: 0,
        projid: 0,
        cowextsize: 0,
        pad: [0; 8],
    };
    call(file, opcode::read::<FsXattr>(b'X', 31), &mut args)?;
    Ok(FileFacts {
        extents: args.nextents,
        real_time: args.xflags & XFLAG_REALTIME != 0,
    })
}

/// FS_IOC_FIEMAP with no room for extents, which only counts them. Takes time in proportion.
///
/// # Errors
/// `OPNOTSUPP` where the file system does not know it.
pub fn count_extents(file: BorrowedFd<'_>) -> Result<u32> {
    let mut args = Fiemap {
        start: 0,
        length: u64::MAX,
        flags: 0,
        mapped_extents: 0,
        extent_count: 0,
        reserved: 0,
    };
    call(file, opcode::read_write::<Fiemap>(b'f', 11), &mut args)?;
    Ok(args.mapped_extents)
}

/// The id of the file system that `fd` lies on, which stays the same whatever device it is found
/// on: FS_IOC_GETFSUUID (Linux 6.9), or what btrfs and XFS had before it.
///
/// # Errors
/// `NOTTY` where there is no such id.
pub fn file_system_id(fd: BorrowedFd<'_>) -> Result<[u8; 16]> {
    let mut args = FsUuid {
        length: 0,
        uuid: [0; 16],
    };
    if call(fd, opcode::read::<FsUuid>(0x15, 0), &mut args).is_ok() && args.length == 16 {
        return Ok(args.uuid);
    }
    if btrfs::is_btrfs(fd)? {
        return btrfs::file_system_id(fd);
    }
    xfs_id(fd)
}

/// XFS_IOC_FSGEOMETRY_V1.
fn xfs_id(fd: BorrowedFd<'_>) -> Result<[u8; 16]> {
    let mut args = XfsGeometry {
        sizes: [0; 8],
        blocks: [0; 4],
        uuid: [0; 16],
        rest: [0; 7],
        pad: 0,
    };
    call(fd, opcode::read::<XfsGeometry>(b'X', 100), &mut args)?;
    Ok(args.uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn codes_of_the_headers() {
        // From the headers by a C program that prints them.
        for (code, expected) in [
            (opcode::write::<FileCloneRange>(0x94, 13), 0x4020_940D),
            (opcode::read::<FsXattr>(b'X', 31), 0x801C_581F),
            (opcode::read_write::<Fiemap>(b'f', 11), 0xC020_660B),
            (opcode::read::<FsUuid>(0x15, 0), 0x8011_1500),
            (opcode::read::<XfsGeometry>(b'X', 100), 0x8070_5864),
        ] {
            assert_eq!(u64::from(code), expected, "{expected:#x}");
        }
    }

    #[test]
    fn a_file_has_extents_or_says_that_it_does_not_count() {
        let mut file = tempfile_in_target();
        file.write_all(&[1; 8192]).unwrap();
        file.sync_all().unwrap();
        match count_extents(file.as_fd()) {
            Ok(extents) => assert!(extents >= 1),
            Err(errno) => assert_eq!(errno, Errno::OPNOTSUPP),
        }
    }

    fn tempfile_in_target() -> std::fs::File {
        let path = std::env::temp_dir().join(format!("fsrvp-extents-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }
}
