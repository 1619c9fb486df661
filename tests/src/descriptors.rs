//! Windows' security descriptors, through smbd.

use crate::walk::{Walk, exposed};
use crate::{CaseResult, fail};
use fsrvp_testkit::{Lab, ShareKey};
use libtest_mimic::Failed;
use std::fs;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

/// What smbcacls says of everything in a share.
fn acls(lab: &Lab, host: Ipv4Addr, share: &str, names: &[&str]) -> Result<Vec<String>, Failed> {
    let of = |name: &&str| Ok(lab.smbcacls(lab.admin(), host, share, name).check()?.stdout);
    names.iter().map(of).collect()
}

/// Passes connections to port 445 of a loopback address on to the laboratory, until the process
/// ends.
fn usual_port(lab: &Lab) -> Result<Ipv4Addr, Failed> {
    let target = (Ipv4Addr::LOCALHOST, lab.port());
    let [high, low, ..] = std::process::id().to_le_bytes();
    let host = Ipv4Addr::new(127, 77, high, low | 2);
    let listener = TcpListener::bind((host, 445))?;
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else {
                return;
            };
            for (mut from, mut to) in [(&client, &server), (&server, &client)]
                .into_iter()
                .filter_map(|(from, to)| Some((from.try_clone().ok()?, to.try_clone().ok()?)))
            {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    Ok(host)
}

/// What `smbcacls` shows of files and directories of a share, it shows of their copies.
///
/// # Errors
/// What differs.
pub fn descriptors_are_the_same(lab: &Lab) -> CaseResult {
    let (share, walk, host) = (lab.share(ShareKey::A), Walk::of(lab), usual_port(lab)?);
    let directory = share.path.join("descriptors");
    fs::create_dir_all(directory.join("in"))?;
    fs::write(directory.join("in/file"), "content")?;
    fs::write(directory.join("other"), "content")?;
    let names = [
        "descriptors",
        "descriptors/in",
        "descriptors/in/file",
        "descriptors/other",
    ];
    let everyone = "ACL:Everyone:ALLOWED/0x0/READ";
    for (name, acl) in [
        ("descriptors/in/file", everyone),
        ("descriptors/in", "ACL:Everyone:ALLOWED/OI|CI/CHANGE"),
    ] {
        lab.smbcacls(lab.admin(), host, share.name, name)
            .args(["--add", acl])
            .check()?;
    }
    let before = acls(lab, host, share.name, &names)?;
    if before
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
        < 3
    {
        return fail(format!("the descriptors do not differ: {before:?}"));
    }
    let created = walk.create("ro", &[share.name])?;
    let [copy] = created.copies.as_slice() else {
        return fail("one share, several copies");
    };
    let after = acls(lab, host, &exposed(share.name, copy), &names)?;
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
    fs::remove_dir_all(directory)?;
    if before != after {
        return fail(format!("{before:#?}\nbut in the copy\n{after:#?}"));
    }
    Ok(())
}
