//! Every kind of RPC security that Samba's clients and impacket can put on a call.

use fsrvp_testkit::{Lab, LabOptions, Run, ShareKey};
use fsrvp_tests::walk::Walk;
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use std::process::ExitCode;

/// Binding options that protect every call well enough.
const SERVED: [&str; 8] = [
    "sign",
    "seal",
    "sign,spnego",
    "seal,spnego",
    "sign,ntlm",
    "seal,ntlm",
    "sign,bigendian",
    "seal,spnego,bigendian",
];

/// Options that do not.
const REFUSED: [&str; 3] = ["", "connect", "packet"];

/// Tests of smbtorture that need neither a profile nor an administrator.
const TORTURE: [&str; 3] = [
    "rpc.fsrvp.fsrvp.create_simple",
    "rpc.fsrvp.fsrvp.is_path_supported",
    "rpc.fsrvp.fsrvp.get_version",
];

fn main() -> ExitCode {
    let mut suite = Suite::new(LabOptions::for_test);
    for options in SERVED {
        let walk = move |lab: &Lab| Walk::with(lab, options).run(ShareKey::A, true);
        suite = suite.case(format!("rpcclient_{}", name(options)), walk);
    }
    for options in SERVED {
        let torture = move |lab: &Lab| torture(lab, options);
        suite = suite.case(format!("smbtorture_{}", name(options)), torture);
    }
    for options in REFUSED {
        let refusal = move |lab: &Lab| refused(lab, options);
        suite = suite.case(format!("refused_{}", name(options)), refusal);
    }
    for level in ["none", "connect", "packet", "integrity", "privacy"] {
        suite = suite.case(format!("impacket_{level}"), move |lab| impacket(lab, level));
    }
    suite.and_nothing_is_left().run()
}

fn name(options: &str) -> String {
    if options.is_empty() {
        "none".to_owned()
    } else {
        options.replace(',', "_")
    }
}

fn torture(lab: &Lab, options: &str) -> CaseResult {
    let run: Run = lab.smbtorture_with(lab.admin(), options, &TORTURE);
    let output = run.output()?;
    let passed = output.stdout.matches("success: ").count();
    if passed == TORTURE.len() {
        Ok(())
    } else {
        fail(output.text())
    }
}

fn refused(lab: &Lab, options: &str) -> CaseResult {
    let share = lab.share(ShareKey::A).name;
    for command in [
        "fss_get_sup_version",
        "fss_is_path_sup",
        "fss_create_expose backup rw",
    ] {
        let command = format!("{command} {share}");
        let output = lab
            .rpcclient_with(lab.backup(), options, &command)
            .output()?;
        if !output.says("NT_STATUS_ACCESS_DENIED") && !output.says("NT_STATUS_UNSUCCESSFUL") {
            return fail(format!("{command}: {}", output.text()));
        }
    }
    // Nothing has changed: there is no context, so a set cannot be started.
    let started = Judge::ready()?.call(lab, &["start"])?;
    let code = started.get(0).and_then(serde_json::Value::as_u64);
    if code == Some(0x8004_2301) {
        Ok(())
    } else {
        fail(format!("Start: {started}"))
    }
}

fn impacket(lab: &Lab, level: &str) -> CaseResult {
    let judge = Judge::ready()?.at_level(level);
    let judged = judge.case(lab, "flows::writable_snapshot_single_node");
    let enough = matches!(level, "integrity" | "privacy");
    match judged {
        Err(failed) if enough => Err(failed),
        Ok(()) if !enough => fail(format!("level {level} was served")),
        Err(failed)
            if !failed
                .message()
                .is_some_and(|text| text.contains("fault 0x00000005")) =>
        {
            Err(failed)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
