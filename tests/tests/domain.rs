//! The domain controller of a real Samba domain hands its pipe to the agent: NTLM and Kerberos, AES
//! and RC4 keys, and who is let in.

use fsrvp_testkit::client::LabAccount;
use fsrvp_testkit::domain::{Domain, Keys};
use fsrvp_testkit::{Isolation, Run, laboratory_required, machine_fits, packages, programs, sweep};
use fsrvp_tests::protected::{LogMark, NTLM_OPTIONS, denied, faulted, succeeded, whole_walk};
use fsrvp_tests::{CaseResult, Judge, fail};
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

const KERBEROS_OPTIONS: [&str; 4] = ["sign,krb5", "seal,krb5", "sign,spnego", "seal,spnego"];
const VERSION: &str = "fss_get_sup_version";

type Body = fn(&Domain) -> CaseResult;
type Room = Arc<Mutex<Option<Domain>>>;

const CASES: [(&str, Body); 8] = [
    ("ntlm_walks", ntlm_walks),
    ("kerberos_walks", kerberos_walks),
    ("keys", keys),
    ("members_are_let_in", members),
    ("an_ordinary_user_is_refused", ordinary),
    ("wrong_passwords_are_refused", wrong_passwords),
    ("a_disabled_account_is_refused", disabled),
    ("the_context_decides_not_the_pipe", two_users),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let unfit = machine_fits().err().or_else(|| {
        let missing = packages::missing_programs(packages::SUITES);
        (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
    });
    if let Some(why) = unfit.as_ref().filter(|_| !laboratory_required()) {
        println!("skipped: {why}");
    }
    if unfit.is_none()
        && !arguments.list
        && let Err(error) = Isolation::Domain.enter()
    {
        eprintln!("no namespaces: {error}");
        return ExitCode::FAILURE;
    }
    let skip = unfit.is_some() && !laboratory_required();
    let room = Room::default();
    let trials = CASES.into_iter().map(|(name, body)| {
        let room = Arc::clone(&room);
        Trial::test(name, move || in_domain(&room, body)).with_ignored_flag(skip)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let domain = room.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Err(error)) = domain.map(Domain::down) {
        eprintln!("the domain could not be removed: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// The domain is made by the first case that needs it.
fn in_domain(room: &Room, body: Body) -> CaseResult {
    machine_fits()?;
    let mut domain = room.lock().unwrap_or_else(PoisonError::into_inner);
    let domain = match &mut *domain {
        Some(domain) => domain,
        none => {
            sweep()?;
            none.insert(Domain::up(&programs::program("fsrvpd")?)?)
        }
    };
    let mark = LogMark::now(&domain.agent_log());
    body(domain).map_err(|failed| {
        let reason = failed.message().unwrap_or("panicked");
        format!("{reason}\n--- the agent's log\n{}", mark.since()).into()
    })
}

fn ntlm_walks(domain: &Domain) -> CaseResult {
    let who = &domain.accounts().backup;
    for options in NTLM_OPTIONS {
        whole_walk(
            |command| domain.with_ntlm(who, options, command),
            Domain::SHARE,
        )?;
    }
    let judge = Judge::ready()?;
    let environment = domain.environment_file()?;
    judge.case_in(&environment, "security::walk_signed", "integrity")?;
    judge.case_in(&environment, "security::walk_sealed", "privacy")
}

fn kerberos_walks(domain: &Domain) -> CaseResult {
    let who = &domain.accounts().backup;
    for options in KERBEROS_OPTIONS {
        whole_walk(
            |command| domain.with_kerberos(who, options, command),
            Domain::SHARE,
        )?;
    }
    Ok(())
}

fn keys(domain: &Domain) -> CaseResult {
    for (keys, name) in [(Keys::Rc4, "arcfour-hmac"), (Keys::Aes, "aes256-cts")] {
        let cache = domain.kinit(&domain.accounts().backup)?;
        domain.get_service_tickets(&cache, keys)?;
        for options in KERBEROS_OPTIONS {
            let run = |command: &str| domain.with_tickets(&cache, options, command);
            whole_walk(run, Domain::SHARE).map_err(|failed| {
                format!(
                    "{name}, {options}: {}",
                    failed.message().unwrap_or_default()
                )
            })?;
        }
        let tickets = domain.tickets(&cache)?;
        let service = tickets
            .split_once("host/dc.fsrvp.test")
            .map(|(_, rest)| rest);
        let types = service
            .and_then(|rest| rest.lines().nth(1))
            .unwrap_or_default();
        if !types.contains(name) {
            return fail(format!("no ticket with a key of {name}:\n{tickets}"));
        }
    }
    Ok(())
}

/// Both mechanisms, signed and sealed.
fn every_way(domain: &Domain, who: &LabAccount) -> Vec<Run> {
    vec![
        domain.with_ntlm(who, "sign,ntlm", VERSION),
        domain.with_ntlm(who, "seal,spnego", VERSION),
        domain.with_kerberos(who, "sign,krb5", VERSION),
        domain.with_kerberos(who, "seal,spnego", VERSION),
    ]
}

fn members(domain: &Domain) -> CaseResult {
    let accounts = domain.accounts();
    for who in [&accounts.admin, &accounts.backup, &accounts.machine] {
        for run in every_way(domain, who) {
            succeeded(&run.output()?)?;
        }
    }
    Ok(())
}

fn ordinary(domain: &Domain) -> CaseResult {
    for run in every_way(domain, &domain.accounts().plain) {
        let mark = LogMark::now(&domain.agent_log());
        denied(&run.output()?)?;
        mark.says(&[
            "a call was refused",
            "GetSupportedVersion",
            "127.0.0.1",
            "rpc_account=\"FSRVP\\\\plain\"",
            "rpc_sids=Some([\"S-1-5-21-",
            "not a member",
        ])?;
    }
    Ok(())
}

fn wrong_passwords(domain: &Domain) -> CaseResult {
    let mut who = domain.accounts().backup.clone();
    who.password.push('x');
    for run in every_way(domain, &who) {
        faulted(&run.output()?)?;
    }
    // The SMB session is somebody's who may log on, so that it is the agent who refuses.
    let mark = LogMark::now(&domain.agent_log());
    Judge::ready()?.case_in(
        &domain.environment_file()?,
        "security::wrong_password",
        "integrity",
    )?;
    mark.says(&["a logon was refused", "127.0.0.1", "bkp", "FSRVP\\\\bkp"])
}

fn disabled(domain: &Domain) -> CaseResult {
    for run in every_way(domain, &domain.accounts().disabled) {
        faulted(&run.output()?)?;
    }
    let mark = LogMark::now(&domain.agent_log());
    let case = "security::disabled_account";
    Judge::ready()?.case_in(&domain.environment_file()?, case, "integrity")?;
    mark.says(&["a logon was refused", "127.0.0.1", "former", "FSRVP\\\\bkp"])
}

fn two_users(domain: &Domain) -> CaseResult {
    let (judge, environment) = (Judge::ready()?, domain.environment_file()?);
    let case = |name: &str| judge.case_in(&environment, &format!("security::{name}"), "integrity");
    case("pipe_of_plain_context_of_backup_with_authority")?;
    let mark = LogMark::now(&domain.agent_log());
    case("pipe_of_backup_context_of_plain")?;
    mark.says(&[
        "a call was refused",
        "FSRVP\\\\plain",
        "FSRVP\\\\bkp",
        "not a member",
    ])
}
