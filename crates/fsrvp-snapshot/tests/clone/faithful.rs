//! A copy is what the source is, as programs see it that others wrote.

use crate::bed::{FileSystem, backend, backend_with, config, lab};
use crate::common::{Ground, exposed, run, source};
use crate::phases::later;
use fsrvp_snapshot::clone::{HardLinks, Rules};
use fsrvp_snapshot::{CloneConfig, SnapshotBackend, TreeClone};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// What a shell prints in a directory.
fn shell(directory: &Path, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(directory)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All that is compared; the area is no part of a share that is the root of its file system.
const LOOKS: [&str; 5] = [
    r"find . -path ./.fsrvpd -prune -o -printf '%y %#m %U:%G %T@ %p\0' | sort -z",
    r"find . -path ./.fsrvpd -prune -o -type f -printf '%n %s %p\0' | sort -z",
    r"find . -path ./.fsrvpd -prune -o -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex",
    r"find . -path ./.fsrvpd -prune -o -print0 | sort -z | xargs -0 getfacl -n -p",
    r"find . -path ./.fsrvpd -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum -z",
];

/// Fails unless both directories hold the same.
pub(crate) fn same(one: &Path, other: &Path) {
    for script in LOOKS {
        let (left, right) = (shell(one, script), shell(other, script));
        if left != right {
            let split = |text: &str| {
                let separator = if text.contains('\0') { '\0' } else { '\n' };
                text.split(separator).map(str::to_owned).collect::<Vec<_>>()
            };
            let (left, right) = (split(&left), split(&right));
            let lost: Vec<_> = left.iter().filter(|line| !right.contains(line)).collect();
            let new: Vec<_> = right.iter().filter(|line| !left.contains(line)).collect();
            panic!("{script}:\nonly in the source: {lost:#?}\nonly in the copy: {new:#?}");
        }
    }
}

/// Owners, modes, ACLs, attributes: made by the usual tools.
const METADATA: &str = r"
    mkdir -p plain/deep group sticky default
    printf data > plain/file; printf more > plain/deep/other; : > plain/empty
    chown 1000:1001 plain/file; chmod 0640 plain/file; chown 1000 plain/deep
    chmod 2775 group; chown 0:1001 group; printf x > group/file
    chmod 1777 sticky; printf x > sticky/file
    setfacl -m u:1000:rwx,g:1001:r-x,d:u:1002:rw-,d:g:1003:r-- default
    printf x > default/inherits; mkdir default/below; printf x > default/below/file
    setfacl -b default/below/file
    setfacl -m u:1004:r-- plain/file
    setfattr -n user.DOSATTRIB -v 0x00000500050000001100000020000000 plain/file
    setfattr -n user.DOSATTRIB -v 0x0000050005 plain/deep
    setfattr -n security.NTACL -v 0x04000400000002000400020001 plain/file
    setfattr -n security.NTACL -v 0x040004 default
    setfattr -n trusted.other -v kept plain
    setfattr -n user.empty plain/empty
    setfattr -n user.big -v $(head -c 2000 /dev/zero | tr '\0' x) plain/deep/other
    cp /bin/true plain/capable; chmod 4755 plain/capable
    setcap cap_net_raw+ep plain/capable
    touch -a -d '2001-02-03 04:05:06.123456789' plain/file
    touch -m -d '1999-12-31 23:59:59.987654321' plain/file plain/deep/other plain/empty
    touch -m -d '2031-01-01 00:00:00.5' default plain/deep .
";

#[test]
fn metadata() {
    if !lab() {
        return;
    }
    // Whether Commit looks at all metadata again, or only at what a change of data takes away.
    let clocks: [fn() -> SystemTime; 2] = [SystemTime::now, later];
    let all = clocks
        .into_iter()
        .flat_map(|now| FileSystem::ALL.map(|kind| (kind, now)));
    for (kind, now) in all {
        let ground = Ground::new();
        let share = kind.make(&ground, "a").join("share");
        fs::create_dir(&share).unwrap();
        shell(&share, METADATA);
        let backend = TreeClone::new(CloneConfig {
            now,
            ..config(&ground, &[&share])
        });
        let source = source(&backend, &share);
        let copy = exposed(&backend, &source);
        same(&share, &copy);
        // And the comparison sees what is not the same.
        for change in [
            "chmod 0644 plain/file",
            "setfattr -x security.NTACL plain/file",
            "setfacl -k default",
            "setcap -r plain/capable",
            "touch -m plain/empty",
            "printf y > sticky/file",
        ] {
            shell(&copy, change);
            let different = std::panic::catch_unwind(|| same(&share, &copy));
            assert!(different.is_err(), "{change}");
        }
    }
}

fn odd_names() -> BTreeSet<OsString> {
    let mut names: BTreeSet<OsString> = (1..=255_u8)
        .filter(|byte| *byte != b'/')
        .map(|byte| OsString::from_vec(vec![b'a', byte, b'b']))
        .collect();
    for text in [
        " ",
        "\n",
        "-rf",
        "...",
        "*",
        "\\",
        "\u{202e}x",
        "CON",
        "a:b",
    ] {
        names.insert(text.into());
    }
    names.insert(OsString::from_vec(vec![0xFF; 255]));
    names.insert("\u{e9}".repeat(127).into());
    names
}

#[test]
fn names() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let share = kind.make(&ground, "a").join("share");
        fs::create_dir(&share).unwrap();
        for name in odd_names() {
            fs::write(share.join(&name), name.as_bytes()).unwrap();
            let directory = share.join("directories").join(&name);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(&name), b"in it").unwrap();
        }
        let backend = backend(&ground, &[&share]);
        let source = source(&backend, &share);
        let copy = exposed(&backend, &source);
        same(&share, &copy);
        assert_eq!(fs::read_dir(&copy).unwrap().count(), odd_names().len() + 1);
    }
}

/// Deeper than a path can say, so that every step has to be taken from the one before.
#[test]
fn deep_paths() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Xfs.make(&ground, "a").join("share");
    fs::create_dir(&share).unwrap();
    let name = OsStr::from_bytes(&[b'd'; 200]).to_owned();
    let build = "import os, sys\n\
        os.chdir(sys.argv[1])\n\
        for level in range(300):\n\
        \x20   open('file', 'w').write(str(level))\n\
        \x20   os.mkdir(sys.argv[2]); os.chdir(sys.argv[2])\n";
    let check = "import os, sys\n\
        os.chdir(sys.argv[1])\n\
        for level in range(300):\n\
        \x20   assert open('file').read() == str(level), level\n\
        \x20   assert sorted(os.listdir()) == sorted(['file', sys.argv[2]]), level\n\
        \x20   os.chdir(sys.argv[2])\n\
        assert os.listdir() == []\n";
    let name = name.to_str().unwrap();
    run("python3", &["-c", build, share.to_str().unwrap(), name]);
    let rules = Rules {
        depth: 0,
        ..Rules::default()
    };
    let backend = backend_with(&ground, &share, rules);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    run("python3", &["-c", check, copy.to_str().unwrap(), name]);
    let copy = crate::common::copy_ref(&source);
    backend.delete(&copy).unwrap();
    assert!(backend.finish(std::time::Duration::from_secs(60)));
    let area = ground.path(&format!("a/.fsrvpd/{}/clone/trash", folder(&ground)));
    assert_eq!(fs::read_dir(area).unwrap().count(), 0);
}

/// The server's folder in an area.
pub(crate) fn folder(ground: &Ground) -> String {
    fsrvp_snapshot::names::component(&ground.server())
}

#[test]
fn sparse_and_fragmented_files() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let share = kind.make(&ground, "a").join("share");
        fs::create_dir(&share).unwrap();
        let sparse = File::create(share.join("sparse")).unwrap();
        sparse.set_len(5 << 30).unwrap();
        // On both sides of where pieces meet, and up to an end within a block.
        for offset in [0, (1 << 30) - 2, (3 << 30) + 4096, (5 << 30) - 1] {
            sparse.write_all_at(b"edge", offset).unwrap();
        }
        let fragmented = File::create(share.join("fragmented")).unwrap();
        for block in 0..2_000_u64 {
            let data = [u8::try_from(block % 251).unwrap(); 4096];
            fragmented.write_all_at(&data, block * 3 * 4096).unwrap();
        }
        File::create(share.join("hole"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        fs::write(share.join("tail"), vec![7; 4096 * 3 + 5]).unwrap();
        let backend = backend(&ground, &[&share]);
        let source = source(&backend, &share);
        let copy = exposed(&backend, &source);
        run(
            "rm",
            &[
                share.join("hole").to_str().unwrap(),
                copy.join("hole").to_str().unwrap(),
            ],
        );
        same(&share, &copy);
        for name in ["sparse", "fragmented"] {
            let blocks = |directory: &Path| fs::metadata(directory.join(name)).unwrap().blocks();
            assert!(blocks(&copy) <= blocks(&share), "{kind:?} {name}");
        }
    }
}

#[test]
fn hard_links_that_are_kept() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let share = kind.make(&ground, "a").join("share");
        fs::create_dir(&share).unwrap();
        let make = "mkdir a b; echo one > a/1; ln a/1 b/2; ln a/1 3; echo two > b/4; ln b/4 a/5; \
                    echo lone > c";
        shell(&share, make);
        let rules = Rules {
            hard_links: HardLinks::Keep,
            ..Rules::default()
        };
        let backend = backend_with(&ground, &share, rules);
        let source = source(&backend, &share);
        crate::bed::prepare(&backend, &source);
        // One gains a name, one loses one, one is another file by now.
        shell(
            &share,
            "ln c b/6; rm b/2; rm a/5; echo three > a/5; echo four >> b/4",
        );
        let copy = crate::bed::commit(&backend, &source);
        same(&share, &copy);
        let inodes =
            "find . -type f -printf '%i %p\n' | sort | awk '{ print $2, (last == $1); last = $1 }'";
        let groups = |directory: &Path| shell(directory, inodes).matches(" 1\n").count();
        assert_eq!(groups(&copy), groups(&share));
    }
}

#[test]
fn files_without_copy_on_write() {
    if !lab() {
        return;
    }
    let ground = Ground::new();
    let share = FileSystem::Btrfs.make(&ground, "a").join("share");
    fs::create_dir(&share).unwrap();
    shell(
        &share,
        "touch disk; chattr +C disk; head -c 100000 /dev/urandom > disk",
    );
    let backend = backend(&ground, &[&share]);
    let source = source(&backend, &share);
    let copy = exposed(&backend, &source);
    same(&share, &copy);
    assert!(shell(&copy, "lsattr disk").contains('C'));
}

/// The root of a file system holds the area as well.
#[test]
fn a_share_that_is_the_root_of_its_file_system() {
    if !lab() {
        return;
    }
    for kind in FileSystem::ALL {
        let ground = Ground::new();
        let share = kind.make(&ground, "a");
        shell(&share, METADATA);
        let backend = backend(&ground, &[&share]);
        let first = source(&backend, &share);
        exposed(&backend, &first);
        // The area is there now, and holds a copy.
        assert!(share.join(".fsrvpd").exists());
        let second = source(&backend, &share);
        let copy = exposed(&backend, &second);
        assert!(!copy.join(".fsrvpd").exists());
        same(&share, &copy);
    }
}
