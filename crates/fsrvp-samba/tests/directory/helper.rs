//! The resident helper: what it lists, and its end.

use crate::lab::{self};
use crate::{battery, config, exposed, samba_lab};
use fsrvp_idl::ShareName;
use fsrvp_proto::ShareDirectory;
use fsrvp_samba::directory::{HelperConfig, SambaConfig, SambaDirectory};
use std::path::Path;

#[test]
fn a_dead_helper_is_survived() {
    if !lab::can_run() {
        return;
    }
    let lab = samba_lab();
    let directory = SambaDirectory::open(config(&lab, true)).unwrap();
    let pid = i32::try_from(directory.helper_process().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    battery(
        &directory,
        &lab.data().join("docs"),
        &lab.data().join("copy"),
    );
}

/// A helper that has grown ends with an answer, and the next question finds a new one, without a
/// pause as after a failure.
#[test]
fn a_helper_that_has_grown_is_replaced() {
    if !lab::can_run() {
        return;
    }
    let lab = samba_lab();
    let path = lab.data().join("docs").display().to_string();
    lab.tool("net", &["conf", "addshare", "grown", &path]);
    let (script, starts) = (lab.path().join("helper.py"), lab.path().join("starts"));
    let text = include_str!("../../src/directory/fsrvp-samba-helper.py");
    let counted = format!("open({:?}, 'a').write('x')\n", starts.display().to_string());
    let text = text.replace("MOST_GROWTH = 8 << 20", "MOST_GROWTH = -1 << 40");
    std::fs::write(&script, counted + &text).unwrap();
    let with_script = HelperConfig {
        script: Some(script),
        ..HelperConfig::default()
    };
    let directory = SambaDirectory::open(SambaConfig {
        helper: Some(with_script),
        ..config(&lab, true)
    })
    .unwrap();
    for question in 1..=3 {
        directory.lookup(&ShareName::new("grown")).unwrap();
        assert_eq!(directory.helper_process(), None);
        assert_eq!(std::fs::read(&starts).unwrap().len(), question);
    }
}

#[test]
fn no_helper_is_left_behind() {
    if !lab::can_run() {
        return;
    }
    let lab = samba_lab();
    let directory = SambaDirectory::open(config(&lab, true)).unwrap();
    let pid = directory.helper_process().unwrap();
    drop(directory);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

/// The helper reads the registry's data base by itself where libsmbconf would take too long.
#[test]
fn the_helper_lists_what_samba_lists() {
    if !lab::can_run() {
        return;
    }
    let lab = samba_lab();
    let path = lab.data().join("docs").display().to_string();
    for name in [
        "Plain",
        "Büro €$",
        "straße",
        "vm@{0f0e0d0c-0b0a-0908-0706-050403020100}$",
    ] {
        lab.tool(
            "net",
            &[
                "conf",
                "addshare",
                name,
                &path,
                "writeable=y",
                "guest_ok=n",
                name,
            ],
        );
    }
    lab.tool(
        "net",
        &["conf", "setparm", "Plain", "hosts allow", "127. \"x\" %h"],
    );
    lab.tool(
        "net",
        &["conf", "setparm", "straße", "fsrvpd:server", "test-agent"],
    );
    let exposed = |helper| {
        let directory = SambaDirectory::open(config(&lab, helper)).unwrap();
        exposed(&directory)
    };
    let listed = exposed(true);
    assert_eq!(listed, exposed(false));
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (
            listed[0].name.as_str(),
            listed[0].path.display().to_string()
        ),
        ("straße", path)
    );
}
