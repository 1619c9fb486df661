//! A copy is what its share was: names, places, data, owners, modes, times, attributes, ACLs.

use super::{Bed, commit, copy_ref, copy_source, delete, expose};
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Length of the file that is nearly all hole.
const SPARSE: u64 = 64 << 20;
/// Blocks of the file whose every second block is a hole.
const FRAGMENTS: u64 = 300;
const BLOCK: usize = 4096;
/// What attributes hold, and lists of their names, at most.
const ATTRIBUTES: usize = 64 << 10;

pub(super) fn a_copy_is_what_the_share_was(bed: &mut dyn Bed) {
    let share = bed.whole();
    let file = share.path.join("file");
    bed.write(&file, b"data").unwrap();
    if bed.writers(&file).is_empty() {
        return;
    }
    let tree = share.path.join("faithful");
    make(&tree);
    let before = look(&tree);
    let source = copy_source(bed, &[share]);
    commit(bed, std::slice::from_ref(&source), true);
    let copied = expose(bed, &source).join("faithful");
    same(&before, &look(&copied));
    let taken = fs::metadata(copied.join("sparse")).unwrap().blocks() * 512;
    assert!(taken < SPARSE / 2, "the copy of a hole takes {taken} bytes");
    bed.backend().seal(&copy_ref(&source)).unwrap();
    same(&before, &look(&copied));
    delete(bed, &source);
    fs::remove_dir_all(&tree).unwrap();
}

/// A tree with all that a tree of users may hold.
fn make(tree: &Path) {
    fs::create_dir(tree).unwrap();
    for name in odd_names() {
        fs::write(tree.join(&name), name.as_bytes()).unwrap();
    }
    // As deep as the usual limit of depth lets a tree be, and longer than some think a path can be.
    let mut deep = tree.to_owned();
    for level in ["a", "b", "c", "d"] {
        deep.push(level.repeat(255));
        fs::DirBuilder::new().mode(0o750).create(&deep).unwrap();
        fs::write(deep.join("file"), level).unwrap();
    }
    let sparse = File::create(tree.join("sparse")).unwrap();
    sparse.set_len(SPARSE).unwrap();
    for offset in [0, (SPARSE / 2) - 2, SPARSE - 1] {
        sparse.write_all_at(b"!", offset).unwrap();
    }
    let fragmented = File::create(tree.join("fragmented")).unwrap();
    for number in 0..FRAGMENTS {
        let block = [number.to_le_bytes()[0]; BLOCK];
        let offset = number * 2 * BLOCK as u64;
        fragmented.write_all_at(&block, offset).unwrap();
    }
    let places = [("group", 0o2775), ("sticky", 0o1777), ("closed", 0o0)];
    for (name, mode) in places {
        fs::create_dir(tree.join(name)).unwrap();
        chown(tree.join(name), Some(1234), Some(4321)).unwrap();
        fs::set_permissions(tree.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let owned = tree.join("owned");
    fs::write(&owned, "owned").unwrap();
    chown(&owned, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&owned, Permissions::from_mode(0o4751)).unwrap();
    for path in [&owned, &tree.join("sticky")] {
        attribute(path, "user.DOSATTRIB", &[0, 0, 5, 0, 0xFF]);
        attribute(path, "security.NTACL", &[4; 300]);
        attribute(path, "trusted.own", b"");
        attribute(path, "system.posix_acl_access", &acl());
    }
    attribute(&tree.join("sticky"), "system.posix_acl_default", &acl());
    for (name, time) in [
        ("owned", Duration::new(946_684_799, 987_654_321)),
        ("sticky", Duration::new(1_924_992_000, 5)),
    ] {
        let file = File::open(tree.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + time).unwrap();
    }
}

/// Every byte that a name may hold, names that mean something to a shell, and the longest.
fn odd_names() -> impl Iterator<Item = OsString> {
    let bytes = (1..=u8::MAX).filter(|byte| *byte != b'/');
    let bytes = bytes.map(|byte| OsString::from_vec(vec![b'a', byte, b'b']));
    let words = [
        " ",
        "\n",
        "-rf",
        "...",
        "*",
        "\\",
        "$(x)",
        "\u{202e}x",
        "a:b",
    ];
    let words = words.map(OsString::from);
    let longest = OsString::from_vec(vec![0xFF; 255]);
    bytes.chain(words).chain([longest])
}

/// `user::rwx user:1235:rw- group::r-x mask::rwx other::r--`, as the kernel wants it.
fn acl() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 7, NOBODY),
        (0x02, 6, 1235),
        (0x04, 5, NOBODY),
        (0x10, 7, NOBODY),
        (0x20, 4, NOBODY),
    ];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Sets an attribute, where the file system has such attributes.
fn attribute(path: &Path, name: &str, value: &[u8]) {
    match lsetxattr(path, name, value, XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP) => {}
        Err(error) => panic!("{name} of {}: {error}", path.display()),
    }
}

/// What is compared of a file or a directory.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: [u32; 2],
    /// Seconds and nanoseconds.
    modified: [i64; 2],
    attributes: BTreeMap<OsString, Vec<u8>>,
    /// Length and hash of a file's data.
    data: Option<(u64, u64)>,
}

/// All that a tree holds, by its path from there.
fn look(tree: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![PathBuf::new()];
    while let Some(inner) = ahead.pop() {
        let path = tree.join(&inner);
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                ahead.push(inner.join(entry.unwrap().file_name()));
            }
        }
        let facts = Facts {
            mode: metadata.mode(),
            owner: [metadata.uid(), metadata.gid()],
            modified: [metadata.mtime(), metadata.mtime_nsec()],
            attributes: attributes(&path),
            data: metadata.is_file().then(|| (metadata.len(), hash(&path))),
        };
        found.insert(inner, facts);
    }
    found
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; ATTRIBUTES];
    let length = match llistxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => panic!("attributes of {}: {error}", path.display()),
    };
    names.truncate(length);
    let names = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let with_value = |name: &[u8]| {
        let mut value = vec![0; ATTRIBUTES];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        (OsString::from_vec(name.to_vec()), value)
    };
    names.map(with_value).collect()
}

fn hash(path: &Path) -> u64 {
    let mut file = File::open(path).unwrap();
    let mut piece = vec![0; 1 << 20];
    let mut hasher = DefaultHasher::new();
    loop {
        let length = file.read(&mut piece).unwrap();
        if length == 0 {
            return hasher.finish();
        }
        hasher.write(piece.get(..length).unwrap_or_default());
    }
}

/// Fails with what differs first, and not with all of both.
fn same(source: &BTreeMap<PathBuf, Facts>, copy: &BTreeMap<PathBuf, Facts>) {
    for (path, facts) in source {
        let found = copy.get(path);
        assert_eq!(found, Some(facts), "{path:?} of the copy and of the share");
    }
    for path in copy.keys() {
        assert!(source.contains_key(path), "{path:?} is only in the copy");
    }
}
