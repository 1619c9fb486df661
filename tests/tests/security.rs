//! A stand-alone Samba without winbindd: every kind of protection for whole walks, every level that
//! is too low, and who is let in.

use fsrvp_testkit::{Lab, LabOptions, MinAuthLevel, Profile, Run, ShareKey};
use fsrvp_tests::protected::{LogMark, NTLM_OPTIONS, denied, faulted, succeeded, whole_walk};
use fsrvp_tests::walk::Walk;
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use std::process::ExitCode;
use std::sync::Mutex;

/// Binding options for calls without RPC security.
const UNPROTECTED: &str = "";
const NO_HEADER_SIGNING: &[&str] = &["[server.security]", "header_signing = false"];
const ENCRYPTION_COUNTS: &[&str] = &["[server.security]", "smb_encryption_is_privacy = true"];
const MIC_REQUIRED: &[&str] = &["[server.security]", "require_mic = true"];

/// Stubs in the other byte order.
const BIG_ENDIAN: [&str; 4] = [
    "sign,bigendian",
    "seal,bigendian",
    "sign,ntlm,bigendian",
    "seal,spnego,bigendian",
];

/// Logons with one thing wrong, and one that is only old.
const LOGONS: [&str; 6] = [
    "mech_list_mic_is_missing",
    "mech_list_mic_is_wrong",
    "ntlm_mic_is_missing_where_it_was_promised",
    "ntlm_mic_is_wrong",
    "ntlm_version_1",
    "clients_without_mic_are_served",
];

fn main() -> ExitCode {
    // The profile whose answers smbtorture insists on.
    let options = |agent| LabOptions::for_test(agent).profile(Profile::Ws2012);
    let mut suite = Suite::new(options);
    for (lines, name) in [
        (&[][..], "header_signing"),
        (NO_HEADER_SIGNING, "body_signing"),
    ] {
        let judge = match lines.is_empty() {
            true => "security::header_signing_is_taken",
            false => "security::header_signing_is_declined",
        };
        suite = suite.case(name, move |lab| {
            configured(lab, MinAuthLevel::Integrity, lines)?;
            Judge::ready()?.case_at(lab, judge, "integrity")
        });
        for options in NTLM_OPTIONS {
            suite = suite
                .case(format!("{name}_rpcclient_{options}"), move |lab| {
                    configured(lab, MinAuthLevel::Integrity, lines)?;
                    let share = lab.share(ShareKey::A).name;
                    whole_walk(
                        |command| lab.rpcclient_with(lab.backup(), options, command),
                        share,
                    )
                })
                .case(format!("{name}_smbtorture_{options}"), move |lab| {
                    configured(lab, MinAuthLevel::Integrity, lines)?;
                    torture(lab, options)
                });
        }
    }
    for options in BIG_ENDIAN {
        suite = suite
            .case(format!("smbtorture_{options}"), move |lab| {
                configured(lab, MinAuthLevel::Integrity, &[])?;
                torture(lab, options)
            })
            .case(format!("rpcclient_{options}"), move |lab| {
                configured(lab, MinAuthLevel::Integrity, &[])?;
                Walk::with(lab, options).run(ShareKey::A, true)
            });
    }
    for (name, level) in [
        ("walk_signed", "integrity"),
        ("walk_sealed", "privacy"),
        ("level_none_is_refused", "none"),
        ("level_connect_is_refused", "connect"),
        ("level_packet_is_refused", "packet"),
    ] {
        suite = suite.case(format!("impacket_{name}"), move |lab| {
            configured(lab, MinAuthLevel::Integrity, &[])?;
            Judge::ready()?.case_at(lab, &format!("security::{name}"), level)
        });
    }
    for case in LOGONS {
        suite = suite.case(format!("logon_{case}"), move |lab| {
            configured(lab, MinAuthLevel::Integrity, &[])?;
            Judge::ready()?.case_at(lab, &format!("logons::{case}"), "integrity")
        });
    }
    suite
        .case("logon_without_mic_is_refused_where_configured", |lab| {
            configured(lab, MinAuthLevel::Integrity, MIC_REQUIRED)?;
            let case = "logons::clients_without_mic_are_refused";
            Judge::ready()?.case_at(lab, case, "integrity")
        })
        .case("low_levels_are_logged_with_their_method", low_levels)
        .case("low_levels_change_nothing", low_levels_change_nothing)
        .case("privacy_refuses_signed_calls", privacy)
        .case(
            "smb_encryption_is_privacy_only_where_configured",
            encryption,
        )
        .case("a_plain_user_is_refused_and_logged", plain_user)
        .case("admin_sids", admin_sids)
        .case("backup_privilege", backup_privilege)
        .case("two_users_are_never_merged", two_users)
        .case("wrong_logons_are_refused_and_logged", wrong_logons)
        .case("refusals_do_not_fill_the_log", bounded)
        .run()
}

/// Restarts the agent unless it has this configuration already.
fn configured(lab: &Lab, level: MinAuthLevel, lines: &[&str]) -> CaseResult {
    static LAST: Mutex<String> = Mutex::new(String::new());
    let wanted = format!("{level:?} {lines:?}");
    let mut last = LAST
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if *last != wanted {
        lab.reconfigure(level, lines)?;
        *last = wanted;
    }
    Ok(())
}

/// Restarts the agent in any case: it has written no line yet, so none is held back.
fn quiet(lab: &Lab) -> CaseResult {
    configured(lab, MinAuthLevel::Privacy, &[])?;
    configured(lab, MinAuthLevel::Integrity, &[])
}

fn torture(lab: &Lab, options: &str) -> CaseResult {
    let tests = [
        "rpc.fsrvp.fsrvp.create_simple",
        "rpc.fsrvp.fsrvp.is_path_supported",
        "rpc.fsrvp.fsrvp.get_version",
    ];
    let output = lab.smbtorture_with(lab.admin(), options, &tests).output()?;
    let done = [
        "success: fsrvp.create_simple",
        "success: fsrvp.is_path_supported",
        "success: fsrvp.get_version",
    ];
    if output.status.success() && done.iter().all(|word| output.says(word)) {
        Ok(())
    } else {
        fail(output.text())
    }
}

fn low_levels(lab: &Lab) -> CaseResult {
    quiet(lab)?;
    for options in [UNPROTECTED, "connect", "packet"] {
        let mark = LogMark::now(&lab.agent_log());
        let version = lab.rpcclient_with(lab.backup(), options, "fss_get_sup_version");
        faulted(&version.output()?)?;
        let words: &[&str] = match options {
            // NTLM of a client that will not sign is refused before there is a call.
            "connect" => &["a logon was refused", "does not offer signing"],
            _ => &["a call was refused", "GetSupportedVersion", "level too low"],
        };
        let caller = ["127.0.0.1", "LABSRV\\\\backup", "S-1-5-32-551"];
        mark.says(&[words, &caller].concat())?;
    }
    Ok(())
}

fn low_levels_change_nothing(lab: &Lab) -> CaseResult {
    configured(lab, MinAuthLevel::Integrity, &[])?;
    let share = lab.share(ShareKey::A).name;
    let create = format!("fss_create_expose backup rw {share}");
    for options in [UNPROTECTED, "connect", "packet"] {
        faulted(
            &lab.rpcclient_with(lab.backup(), options, &create)
                .output()?,
        )?;
    }
    // There is no context, so a set cannot be started.
    let started = Judge::ready()?.call(lab, &["start"])?;
    match started.get(0).and_then(serde_json::Value::as_u64) {
        Some(0x8004_2301) => Ok(()),
        _ => fail(format!("Start: {started}")),
    }
}

fn privacy(lab: &Lab) -> CaseResult {
    configured(lab, MinAuthLevel::Privacy, &[])?;
    let run = |options: &str| lab.rpcclient_with(lab.backup(), options, "fss_get_sup_version");
    faulted(&run("sign").output()?)?;
    faulted(&run("sign,ntlm").output()?)?;
    succeeded(&run("seal").output()?)?;
    succeeded(&run("seal,ntlm").output()?)
}

fn encryption(lab: &Lab) -> CaseResult {
    let encrypted = |options: &str| -> Run {
        let run = lab.rpcclient_with(lab.backup(), options, "fss_get_sup_version");
        run.arg("--client-protection=encrypt")
    };
    configured(lab, MinAuthLevel::Privacy, &[])?;
    faulted(&encrypted("sign").output()?)?;
    configured(lab, MinAuthLevel::Privacy, ENCRYPTION_COUNTS)?;
    succeeded(&encrypted("sign").output()?)?;
    // Encryption stands in for sealing, not for the signature, and only where there is some.
    faulted(&encrypted(UNPROTECTED).output()?)?;
    let plain = lab.rpcclient_with(lab.backup(), "sign", "fss_get_sup_version");
    faulted(&plain.output()?)?;
    succeeded(&encrypted("seal").output()?)
}

fn plain_user(lab: &Lab) -> CaseResult {
    quiet(lab)?;
    for options in NTLM_OPTIONS {
        let mark = LogMark::now(&lab.agent_log());
        denied(&plain(lab, options).output()?)?;
        mark.says(&[
            "a call was refused",
            "IsPathSupported",
            "127.0.0.1",
            "LABSRV\\\\games",
            &user_sid(lab)?,
            "not a member",
        ])?;
    }
    Ok(())
}

fn plain(lab: &Lab, options: &str) -> Run {
    let share = lab.share(ShareKey::A).name;
    lab.rpcclient_with(lab.plain(), options, &format!("fss_is_path_sup {share}"))
}

fn user_sid(lab: &Lab) -> Result<String, libtest_mimic::Failed> {
    let run = Run::new("pdbedit").arg("-s").arg(lab.smb_conf());
    let output = run.args(["-L", "-v", "-u", &lab.plain().user]).check()?;
    let sid = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("User SID:"));
    sid.map(|sid| sid.trim().to_owned())
        .ok_or_else(|| "no SID".into())
}

fn admin_sids(lab: &Lab) -> CaseResult {
    let line = format!("admin_sids = [\"{}\"]", user_sid(lab)?);
    configured(lab, MinAuthLevel::Integrity, &[&line])?;
    succeeded(&plain(lab, "sign").output()?)?;
    configured(lab, MinAuthLevel::Integrity, &[])?;
    denied(&plain(lab, "sign").output()?)
}

fn backup_privilege(lab: &Lab) -> CaseResult {
    let rights = |verb: &str| {
        let run = Run::new("net").arg("-s").arg(lab.smb_conf());
        run.args([
            "sam",
            "rights",
            verb,
            &lab.plain().user,
            "SeBackupPrivilege",
        ])
        .check()
    };
    configured(lab, MinAuthLevel::Integrity, &[])?;
    denied(&plain(lab, "sign").output()?)?;
    rights("grant")?;
    let outcome = (|| {
        succeeded(&plain(lab, "sign").output()?)?;
        configured(lab, MinAuthLevel::Integrity, &["backup_privilege = false"])?;
        denied(&plain(lab, "sign").output()?)
    })();
    rights("revoke")?;
    configured(lab, MinAuthLevel::Integrity, &[])?;
    outcome
}

fn two_users(lab: &Lab) -> CaseResult {
    for case in [
        "pipe_of_backup_context_of_plain",
        "pipe_of_plain_context_of_backup_without_authority",
    ] {
        quiet(lab)?;
        let mark = LogMark::now(&lab.agent_log());
        Judge::ready()?.case_at(lab, &format!("security::{case}"), "integrity")?;
        mark.says(&[
            "a call was refused",
            "LABSRV\\\\games",
            "LABSRV\\\\backup",
            "the groups of the account cannot be told",
        ])?;
    }
    Ok(())
}

fn wrong_logons(lab: &Lab) -> CaseResult {
    quiet(lab)?;
    for (case, reason) in [
        ("wrong_password", "wrong password"),
        // winbindd, which cannot be asked, may have known the account.
        ("unknown_user", "\"nobody"),
        ("anonymous_context", "anonymous"),
    ] {
        let mark = LogMark::now(&lab.agent_log());
        Judge::ready()?.case_at(lab, &format!("security::{case}"), "integrity")?;
        mark.says(&[
            "a logon was refused",
            "127.0.0.1",
            "LABSRV\\\\backup",
            reason,
        ])?;
    }
    Judge::ready()?.case_at(lab, "security::anonymous_session", "none")
}

fn bounded(lab: &Lab) -> CaseResult {
    quiet(lab)?;
    let mark = LogMark::now(&lab.agent_log());
    let command = ["fss_get_sup_version"; 200].join("; ");
    lab.rpcclient_with(lab.plain(), "sign", &command).output()?;
    let lines = mark.since().matches("a call was refused").count();
    // Twenty in ten seconds; the run may touch three spans on a loaded machine.
    if (1..=60).contains(&lines) {
        Ok(())
    } else {
        fail(format!("200 refused calls made {lines} lines"))
    }
}
