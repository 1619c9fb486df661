//! A stand-alone Samba with winbindd: it checks logons and tells the groups; what happens when it
//! hangs or is gone.

use dcerpc_proto::security::{AuthLevel, AuthType};
use dcerpc_security::{InitiatorConfig, NtlmCredentials, Secret};
use fsrvp_client::{ClientSecurity, FsrvpClient, HeaderSigning, Options, PipeIdentity};
use fsrvp_testkit::process::signal;
use fsrvp_testkit::{Isolation, Lab, LabOptions, MinAuthLevel, ShareKey};
use fsrvp_tests::protected::{LogMark, NTLM_OPTIONS, denied, succeeded, whole_walk};
use fsrvp_tests::{CaseResult, Judge, Suite, fail};
use libtest_mimic::Failed;
use rustix::process::Signal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut suite =
        Suite::new(|agent| LabOptions::for_test(agent).winbind()).isolated(Isolation::Winbind);
    for options in NTLM_OPTIONS {
        suite = suite.case(format!("rpcclient_{options}"), move |lab| {
            let who = own_domain(lab, lab.backup());
            let share = lab.share(ShareKey::A).name;
            whole_walk(|command| lab.rpcclient_with(&who, options, command), share)
        });
    }
    suite
        .case("administrators_are_let_in", |lab| {
            let who = own_domain(lab, lab.admin());
            succeeded(
                &lab.rpcclient_with(&who, "sign", "fss_get_sup_version")
                    .output()?,
            )
        })
        .case("groups_come_from_winbindd", groups)
        .case("another_domain_name_falls_back_to_the_pipe", |lab| {
            // rpcclient names the workgroup, which winbindd of a stand-alone server does not know.
            succeeded(
                &lab.rpcclient_with(lab.backup(), "sign", "fss_get_sup_version")
                    .output()?,
            )?;
            denied(
                &lab.rpcclient_with(lab.plain(), "sign", "fss_get_sup_version")
                    .output()?,
            )
        })
        .case("the_context_decides_not_the_pipe", two_users)
        .case("a_wrong_password_is_refused", |lab| {
            let mark = LogMark::now(&lab.agent_log());
            Judge::ready()?.case_at(lab, "security::wrong_password", "integrity")?;
            mark.says(&["a logon was refused", "LABSRV\\\\backup"])
        })
        .case("a_hung_winbindd_delays_only_those_who_log_on", hung)
        .case("a_start_beside_a_hung_winbindd", hung_start)
        .run()
}

/// The account with the only domain that winbindd of a stand-alone server knows.
fn own_domain(
    lab: &Lab,
    who: &fsrvp_testkit::client::LabAccount,
) -> fsrvp_testkit::client::LabAccount {
    let mut who = who.clone();
    who.user = format!("{}\\{}", lab.server_name(), who.user);
    who
}

fn groups(lab: &Lab) -> CaseResult {
    let mark = LogMark::now(&lab.agent_log());
    let who = own_domain(lab, lab.plain());
    denied(
        &lab.rpcclient_with(&who, "seal", "fss_get_sup_version")
            .output()?,
    )?;
    mark.says(&[
        "a call was refused",
        "rpc_sids=Some([\"S-1-5-21-",
        "not a member",
    ])
}

fn two_users(lab: &Lab) -> CaseResult {
    let judge = Judge::ready()?;
    let case = |name: &str| judge.case_at(lab, &format!("security::{name}"), "integrity");
    case("pipe_of_plain_context_of_backup_with_authority")?;
    let mark = LogMark::now(&lab.agent_log());
    case("pipe_of_backup_context_of_plain")?;
    mark.says(&[
        "a call was refused",
        "LABSRV\\\\games",
        "LABSRV\\\\backup",
        "not a member",
    ])
}

const LIMIT: Duration = Duration::from_secs(3);

fn hung(lab: &Lab) -> CaseResult {
    lab.reconfigure(
        MinAuthLevel::Integrity,
        &["[server.security]", "logon_limit = \"3s\""],
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut served = runtime.block_on(connect(lab))?;
    runtime
        .block_on(served.supported_versions())
        .map_err(text)?;
    let stopped = Stopped::new(lab.winbindd_pids())?;
    let mark = LogMark::now(&lab.agent_log());
    let began = Instant::now();
    let outcome = runtime.block_on(async {
        let logon = async {
            // The logon is refused with the answer to the first call.
            let outcome = match connect(lab).await {
                Ok(mut client) => client.supported_versions().await.map_err(text).map(drop),
                Err(refused) => Err(refused),
            };
            (outcome, began.elapsed())
        };
        let others = async {
            let mut slowest = Duration::ZERO;
            while began.elapsed() < LIMIT {
                let call = Instant::now();
                served.supported_versions().await.map_err(text)?;
                slowest = slowest.max(call.elapsed());
                // Paces the calls for as long as the logon hangs.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, Failed>(slowest)
        };
        tokio::join!(logon, others)
    });
    drop(stopped);
    let ((logon, took), slowest) = (outcome.0, outcome.1?);
    if logon.is_ok() {
        return fail("a logon succeeded without winbindd");
    }
    if took < LIMIT || took > LIMIT + Duration::from_secs(3) {
        return fail(format!(
            "the logon was answered after {took:?}, not after {LIMIT:?}"
        ));
    }
    if slowest > Duration::from_secs(1) {
        return fail(format!("another client's call took {slowest:?}"));
    }
    mark.says(&["a logon was refused", "took too long"])?;
    // It goes on where it was.
    let mut again = runtime.block_on(connect(lab))?;
    runtime.block_on(again.supported_versions()).map_err(text)?;
    Ok(())
}

fn hung_start(lab: &Lab) -> CaseResult {
    let stopped = Stopped::new(lab.winbindd_pids())?;
    let mark = LogMark::now(&lab.agent_log());
    let began = Instant::now();
    lab.restart_agent()?;
    let took = began.elapsed();
    drop(stopped);
    mark.says(&["RPC security is limited", "winbind", "it hangs"])?;
    if took > Duration::from_secs(10) {
        return fail(format!("the start took {took:?}"));
    }
    let who = own_domain(lab, lab.backup());
    succeeded(
        &lab.rpcclient_with(&who, "sign", "fss_get_sup_version")
            .output()?,
    )
}

/// Processes that are stopped while it lives.
struct Stopped(Vec<u32>);

impl Stopped {
    fn new(pids: Vec<u32>) -> Result<Self, Failed> {
        if pids.is_empty() {
            return fail("there is no winbindd");
        }
        pids.iter().for_each(|pid| signal(*pid, Signal::STOP));
        Ok(Self(pids))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| signal(*pid, Signal::CONT));
    }
}

/// A client on the agent's pipe socket, without smbd, which asks winbindd as well.
async fn connect(lab: &Lab) -> Result<FsrvpClient, Failed> {
    let who = lab.backup();
    let context = dcerpc_security::initiator(&InitiatorConfig {
        auth_type: AuthType::WINNT,
        level: AuthLevel::Integrity,
        target_host: lab.server_name().to_owned(),
        ntlm: Some(NtlmCredentials::with_password(
            who.user.clone(),
            lab.server_name().to_owned(),
            &Secret::new(who.password.clone()),
        )),
        kerberos: None,
    })
    .map_err(text)?;
    let options = Options {
        security: Some(ClientSecurity {
            context,
            auth_type: AuthType::WINNT,
            level: AuthLevel::Integrity,
            context_id: 1,
            header_signing: HeaderSigning::Offer,
        }),
        call_timeout: Duration::from_secs(30),
        ..Options::default()
    };
    let identity = PipeIdentity {
        account: "somebody else".to_owned(),
        ..PipeIdentity::default()
    };
    FsrvpClient::connect_pipe(lab.pipe(), &identity.into(), options)
        .await
        .map_err(text)
}

fn text(error: impl std::fmt::Display) -> Failed {
    Failed::from(error.to_string())
}
