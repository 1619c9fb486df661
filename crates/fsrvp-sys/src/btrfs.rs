//! The ioctls of btrfs that a snapshot backend needs (`linux/btrfs.h`), without libbtrfsutil.

use crate::ioctl::{Argument, call};
use rustix::fs::{fstat, fstatfs};
use rustix::io::{Errno, Result};
use rustix::ioctl::opcode;
use std::ffi::OsString;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// `f_type` of statfs(2).
pub const SUPER_MAGIC: u64 = 0x9123_683E;
/// Inode of the root directory of every subvolume.
pub const FIRST_FREE_OBJECTID: u64 = 256;
/// Id of the top-level subvolume.
pub const FS_TREE_OBJECTID: u64 = 5;

const MAGIC: u8 = 0x94;
const SUBVOL_RDONLY: u64 = 1 << 1;
/// BTRFS_SUBVOL_NAME_MAX + 1 and BTRFS_VOL_NAME_MAX + 1: 255 bytes and the final zero.
const NAME_SIZE: usize = 256;
const ROOTREFS: usize = 255;

#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Timespec {
    sec: u64,
    nsec: u32,
}

#[repr(C)]
struct SubvolInfoArgs {
    treeid: u64,
    name: [u8; NAME_SIZE],
    parent_id: u64,
    dirid: u64,
    generation: u64,
    flags: u64,
    uuid: [u8; 16],
    parent_uuid: [u8; 16],
    received_uuid: [u8; 16],
    ctransid: u64,
    otransid: u64,
    stransid: u64,
    rtransid: u64,
    times: [Timespec; 4],
    reserved: [u64; 8],
}

#[repr(C)]
struct RootRefArgs {
    min_treeid: u64,
    rootref: [ChildRef; ROOTREFS],
    num_items: u8,
    align: [u8; 7],
}

#[repr(C)]
struct InoLookupArgs {
    treeid: u64,
    objectid: u64,
    name: [u8; 4080],
}

#[repr(C)]
struct InoLookupUserArgs {
    dirid: u64,
    treeid: u64,
    name: [u8; NAME_SIZE],
    path: [u8; 4080 - NAME_SIZE],
}

#[repr(C)]
struct FsInfoArgs {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u8; 992],
}

// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for FsInfoArgs {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for InoLookupArgs {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for InoLookupUserArgs {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for RootRefArgs {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for SubvolInfoArgs {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for VolArgs {}
// SAFETY: `repr(C)`, its size asserted below.
unsafe impl Argument for VolArgsV2 {}

const _: () = {
    assert!(size_of::<VolArgs>() == 4096);
    assert!(size_of::<VolArgsV2>() == 4096);
    assert!(size_of::<SubvolInfoArgs>() == 504);
    assert!(size_of::<RootRefArgs>() == 4096);
    assert!(size_of::<InoLookupArgs>() == 4096);
    assert!(size_of::<InoLookupUserArgs>() == 4096);
    assert!(size_of::<FsInfoArgs>() == 1024);
};

/// What BTRFS_IOC_GET_SUBVOL_INFO says of a subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubvolumeInfo {
    /// Id of the subvolume.
    pub id: u64,
    /// Id of the subvolume that holds it; zero for the top level and for a deleted one.
    pub parent: u64,
    /// Inode, in the parent, of the directory that holds it; zero like `parent`.
    pub directory: u64,
    /// Its uuid; zero for one made by a kernel before 3.6, and for some top levels.
    pub uuid: [u8; 16],
    /// The uuid of the subvolume that it is a snapshot of, else zero.
    pub parent_uuid: [u8; 16],
    /// Whether it is read-only.
    pub read_only: bool,
}

/// A subvolume directly inside another one.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildRef {
    /// Id of the child.
    pub id: u64,
    /// Inode, in the parent subvolume, of the directory that holds the child.
    pub directory: u64,
}

/// Whether a snapshot can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Read-only from the start.
    ReadOnly,
    /// Writable.
    Writable,
}

/// BTRFS_IOC_SNAP_CREATE_V2: snapshots the subvolume whose root directory is `source` as `name`
/// in `directory`. Dirty pages of the subvolume are flushed; durable on return.
///
/// # Errors
/// `EXIST`, `NOSPC`, `DQUOT`, `ROFS`, `INVAL` if `source` is no subvolume root, `NAMETOOLONG`.
pub fn snapshot_create(
    source: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    name: &str,
    mode: SnapshotMode,
) -> Result<()> {
    let mut args = VolArgsV2 {
        fd: i64::from(source.as_raw_fd()),
        transid: 0,
        flags: match mode {
            SnapshotMode::ReadOnly => SUBVOL_RDONLY,
            SnapshotMode::Writable => 0,
        },
        unused: [0; 4],
        name: [0; 4040],
    };
    put_name(&mut args.name, name)?;
    call(directory, opcode::write::<VolArgsV2>(MAGIC, 23), &mut args)
}

/// BTRFS_IOC_SUBVOL_CREATE: makes an empty subvolume `name` in `directory`. Not durable.
///
/// # Errors
/// As [`snapshot_create`].
pub fn subvolume_create(directory: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mut args = VolArgs {
        fd: 0,
        name: [0; 4088],
    };
    put_name(&mut args.name, name)?;
    call(directory, opcode::write::<VolArgs>(MAGIC, 14), &mut args)
}

/// BTRFS_IOC_SNAP_DESTROY: removes the subvolume `name` from `directory`; open handles go on
/// working. Not durable, and its space comes back later.
///
/// # Errors
/// `NOENT`, `NOTEMPTY` if it holds another subvolume, `PERM` while it is being sent or if it is
/// the default subvolume, `BUSY`.
pub fn subvolume_destroy(directory: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mut args = VolArgs {
        fd: 0,
        name: [0; 4088],
    };
    put_name(&mut args.name, name)?;
    call(directory, opcode::write::<VolArgs>(MAGIC, 15), &mut args)
}

/// BTRFS_IOC_GET_SUBVOL_INFO of the subvolume that `fd` lies in.
///
/// # Errors
/// `NOTTY` off btrfs.
pub fn subvolume_info(fd: BorrowedFd<'_>) -> Result<SubvolumeInfo> {
    let mut args = SubvolInfoArgs {
        treeid: 0,
        name: [0; NAME_SIZE],
        parent_id: 0,
        dirid: 0,
        generation: 0,
        flags: 0,
        uuid: [0; 16],
        parent_uuid: [0; 16],
        received_uuid: [0; 16],
        ctransid: 0,
        otransid: 0,
        stransid: 0,
        rtransid: 0,
        times: [Timespec { sec: 0, nsec: 0 }; 4],
        reserved: [0; 8],
    };
    call(fd, opcode::read::<SubvolInfoArgs>(MAGIC, 60), &mut args)?;
    Ok(SubvolumeInfo {
        id: args.treeid,
        parent: args.parent_id,
        directory: args.dirid,
        uuid: args.uuid,
        parent_uuid: args.parent_uuid,
        // The flags of the root item, not those of SUBVOL_GETFLAGS: bit 0.
        read_only: args.flags & 1 != 0,
    })
}

/// BTRFS_IOC_SUBVOL_SETFLAGS: makes the subvolume whose root is `fd` read-only or writable.
/// Handles that are open for writing go on writing: this is no seal.
///
/// # Errors
/// `INVAL` if `fd` is no subvolume root.
pub fn set_mode(fd: BorrowedFd<'_>, mode: SnapshotMode) -> Result<()> {
    let mut flags = match mode {
        SnapshotMode::ReadOnly => SUBVOL_RDONLY,
        SnapshotMode::Writable => 0,
    };
    call(fd, opcode::write::<u64>(MAGIC, 26), &mut flags)
}

/// BTRFS_IOC_GET_SUBVOL_ROOTREF: all subvolumes directly inside the subvolume that `fd` lies in,
/// wherever in it, in the order of their ids.
///
/// # Errors
/// `NOTTY` off btrfs.
pub fn children(fd: BorrowedFd<'_>) -> Result<Vec<ChildRef>> {
    let mut args = RootRefArgs {
        min_treeid: 0,
        rootref: [ChildRef {
            id: 0,
            directory: 0,
        }; ROOTREFS],
        num_items: 0,
        align: [0; 7],
    };
    let code = opcode::read_write::<RootRefArgs>(MAGIC, 61);
    let mut found = Vec::new();
    loop {
        // The kernel moves `min_treeid` past the last one and says EOVERFLOW if there are more.
        let more = match call(fd, code, &mut args) {
            Ok(()) => false,
            Err(Errno::OVERFLOW) => true,
            Err(error) => return Err(error),
        };
        found.extend(args.rootref.iter().take(usize::from(args.num_items)));
        if !more {
            return Ok(found);
        }
    }
}

/// BTRFS_IOC_INO_LOOKUP_USER: the path of a [`ChildRef`] below the directory `fd`, which lies in
/// the same subvolume.
///
/// # Errors
/// `ACCESS` if the child is not below `fd`, `NOENT` if it has gone, `NAMETOOLONG`.
pub fn child_path(fd: BorrowedFd<'_>, child: ChildRef) -> Result<PathBuf> {
    let mut args = InoLookupUserArgs {
        dirid: child.directory,
        treeid: child.id,
        name: [0; NAME_SIZE],
        path: [0; 4080 - NAME_SIZE],
    };
    let code = opcode::read_write::<InoLookupUserArgs>(MAGIC, 62);
    call(fd, code, &mut args)?;
    Ok(path_of(&args.path).join(path_of(&args.name)))
}

/// BTRFS_IOC_INO_LOOKUP: the path of the directory `inode` below the root of the subvolume
/// `tree`; zero means the subvolume that `fd` lies in.
///
/// # Errors
/// `PERM` without CAP_SYS_ADMIN, `NOENT`, `NAMETOOLONG`.
pub fn inode_path(fd: BorrowedFd<'_>, tree: u64, inode: u64) -> Result<PathBuf> {
    let mut args = InoLookupArgs {
        treeid: tree,
        objectid: inode,
        name: [0; 4080],
    };
    let code = opcode::read_write::<InoLookupArgs>(MAGIC, 18);
    call(fd, code, &mut args)?;
    // The components, without the slash that the kernel ends with.
    Ok(path_of(&args.name).components().collect())
}

/// BTRFS_IOC_FS_INFO: the id of the file system.
///
/// # Errors
/// `NOTTY` off btrfs.
pub fn file_system_id(fd: BorrowedFd<'_>) -> Result<[u8; 16]> {
    let mut args = FsInfoArgs {
        max_id: 0,
        num_devices: 0,
        fsid: [0; 16],
        rest: [0; 992],
    };
    call(fd, opcode::read::<FsInfoArgs>(MAGIC, 31), &mut args)?;
    Ok(args.fsid)
}

/// How long a commit is waited for before it is asked for once more. One that has begun is over
/// before another one begins, so that asking too often costs one commit at most.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// BTRFS_IOC_START_SYNC and BTRFS_IOC_WAIT_SYNC: commits the running transaction, so that what
/// was made, renamed and destroyed so far is durable. Leaves data alone that nobody has written
/// back yet, whosever it is, which syncfs(2) and BTRFS_IOC_SYNC would wait for.
///
/// fsync(2) of a directory that a subvolume has left commits as well, but takes longer, and makes the
/// next snapshot take longer.
///
/// # Errors
/// `IO`, `ROFS` if the file system has failed.
pub fn commit_transaction(fd: BorrowedFd<'_>) -> Result<()> {
    let start = || {
        let mut transaction = 0_u64;
        call(fd, opcode::read::<u64>(MAGIC, 24), &mut transaction).map(|()| transaction)
    };
    // The kernel's thread sleeps until its interval is over, 30 s, if it is asked at the end of an
    // earlier commit; and whoever has asked waits for it.
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let again = move || {
            while ended.recv_timeout(ASK_AGAIN) == Err(RecvTimeoutError::Timeout) && start().is_ok()
            {
            }
        };
        // Without a thread it only takes longer.
        let _ = thread::Builder::new().spawn_scoped(scope, again);
        let result = start().and_then(|mut transaction| {
            call(fd, opcode::write::<u64>(MAGIC, 22), &mut transaction)
        });
        drop(done);
        result
    })
}

/// Whether `fd` lies on btrfs.
///
/// # Errors
/// As fstatfs(2).
pub fn is_btrfs(fd: BorrowedFd<'_>) -> Result<bool> {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the type differs between architectures"
    )]
    Ok(fstatfs(fd)?.f_type as u64 & 0xffff_ffff == SUPER_MAGIC)
}

/// Whether `fd` is the root directory of a btrfs subvolume.
///
/// # Errors
/// As fstat(2) and fstatfs(2).
pub fn is_subvolume_root(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(fstat(fd)?.st_ino == FIRST_FREE_OBJECTID && is_btrfs(fd)?)
}

/// The rest of `field` stays zero and ends the name.
fn put_name(field: &mut [u8], name: &str) -> Result<()> {
    if name.len() >= NAME_SIZE {
        return Err(Errno::NAMETOOLONG);
    }
    if name.bytes().any(|byte| byte == 0 || byte == b'/') {
        return Err(Errno::INVAL);
    }
    let target = field.get_mut(..name.len()).ok_or(Errno::NAMETOOLONG)?;
    target.copy_from_slice(name.as_bytes());
    Ok(())
}

fn path_of(field: &[u8]) -> PathBuf {
    let bytes = field.split(|&byte| byte == 0).next().unwrap_or_default();
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
