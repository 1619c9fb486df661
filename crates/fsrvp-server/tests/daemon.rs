//! The daemon as a process, in the embedded laboratory: static shares, snapshots in memory, real
//! sockets, a real store.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use fsrvp_client::ClientError;
use fsrvp_idl::{Context, Status};
use std::time::Duration;
use support::{Lab, administrator, nobody};

const WAIT: Duration = Duration::from_secs(60);

fn auto_recovery() -> Context {
    Context::try_from(0x0040_0000).unwrap()
}

#[tokio::test]
async fn a_client_walks_a_set_from_context_to_delete() {
    let lab = Lab::new("min_auth_level = \"none\"");
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    let unc = r"\\LAB\docs";
    assert!(client.is_path_supported(unc).await.unwrap().is_supported);
    client.set_context(auto_recovery()).await.unwrap();
    let set = client
        .start_shadow_copy_set(support::client_set())
        .await
        .unwrap();
    let copy = client
        .add_to_shadow_copy_set(support::client_copy(), set, unc)
        .await
        .unwrap();
    client.prepare_shadow_copy_set(set, WAIT).await.unwrap();
    client.commit_shadow_copy_set(set, WAIT).await.unwrap();
    client.expose_shadow_copy_set(set, WAIT).await.unwrap();
    let mapping = client.share_mapping(copy, set, unc).await.unwrap();
    assert_eq!(mapping.share_name_unc, unc);
    assert_eq!(
        mapping.shadow_copy_share_name,
        Some(format!("docs@{{{copy}}}"))
    );
    client.recovery_complete_shadow_copy_set(set).await.unwrap();
    let sets = daemon.admin("/v1/sets");
    assert!(
        sets.contains(&set.to_string()) && sets.contains("recovered"),
        "{sets}"
    );
    client.delete_share_mapping(set, copy, unc).await.unwrap();
    let sets = daemon.admin("/v1/sets");
    // What makes the removal durable may still be owed.
    assert!(sets.contains("\"sets\":[]"), "{sets}");
    let metrics = daemon.admin("/metrics");
    assert!(metrics.contains("fsrvpd_sets_total{"), "{metrics}");
    assert!(metrics.contains("fsrvpd_phase_seconds_count{"), "{metrics}");
}

/// A typing error in the configuration costs nobody a file.
#[test]
fn what_is_no_socket_is_not_removed_for_one() {
    let lab = Lab::new("");
    std::fs::write(lab.admin_socket(), "precious").unwrap();
    let said = lab.refused();
    assert!(said.contains("is no socket"), "{said}");
    let left = std::fs::read_to_string(lab.admin_socket()).unwrap();
    assert_eq!(left, "precious");
    // The server that ran already was ended in good order.
    let ended = ["the start has failed", "shutting down", "ended"];
    assert!(ended.iter().all(|words| said.contains(words)), "{said}");
}

/// The doctor connects to the pipe and goes: that is no failure.
#[test]
fn a_look_at_the_pipe_is_no_failure() {
    let lab = Lab::new("");
    let daemon = lab.start();
    for _ in 0..3 {
        drop(std::os::unix::net::UnixStream::connect(lab.socket()).unwrap());
    }
    // What is broken is told still, and after the looks.
    let mut broken = std::os::unix::net::UnixStream::connect(lab.socket()).unwrap();
    std::io::Write::write_all(&mut broken, b"x").unwrap();
    drop(broken);
    daemon.wait_for_places(|| daemon.log().contains("a hand-over failed"));
    let log = daemon.log();
    assert_eq!(log.matches("a hand-over failed").count(), 1, "{log}");
}

#[tokio::test]
async fn nobody_without_a_right_changes_anything() {
    let lab = Lab::new("min_auth_level = \"none\"");
    let daemon = lab.start();
    let before = daemon.admin("/v1/sets");
    let mut plain = daemon.client(nobody()).await;
    for request in support::one_of_each() {
        let response = plain.call(&request).await.unwrap();
        assert_eq!(
            response,
            request.failed(Status::E_ACCESSDENIED),
            "{request:?}"
        );
    }
    let mut stranger = daemon.tcp_client().await;
    for request in support::one_of_each() {
        let response = stranger.call(&request).await.unwrap();
        assert_eq!(
            response,
            request.failed(Status::E_ACCESSDENIED),
            "{request:?}"
        );
    }
    assert_eq!(daemon.admin("/v1/sets"), before);
}

#[tokio::test]
async fn unsigned_calls_are_refused_unless_the_configuration_says_otherwise() {
    let lab = Lab::new("");
    let daemon = lab.start();
    let before = daemon.admin("/v1/sets");
    for request in support::one_of_each() {
        // The fault ends the association, as Windows' runtime has it.
        let mut client = daemon.client(administrator()).await;
        match client.call(&request).await {
            Err(ClientError::Fault(fault)) => assert_eq!(fault.0, 5, "{request:?}"),
            other => panic!("{request:?}: {other:?}"),
        }
    }
    assert_eq!(daemon.admin("/v1/sets"), before);
    let figures = daemon.admin("/metrics");
    for figure in [
        "fsrvpd_refused_total{server=\"LAB\",reason=\"level\"} 13",
        "fsrvpd_faults_total{status=\"0x00000005\"} 13",
    ] {
        assert!(figures.contains(figure), "{figure}: {figures}");
    }
}

#[tokio::test]
async fn one_client_too_many_is_told_so_and_the_next_one_is_served() {
    let lab = Lab::new("min_auth_level = \"none\"\nmax_connections = 2");
    let daemon = lab.start();
    let first = daemon.client(administrator()).await;
    let mut second = daemon.client(administrator()).await;
    match daemon.try_client(administrator()).await {
        Err(ClientError::BindNak(reason)) => assert_eq!(reason, 2),
        other => panic!("{other:?}"),
    }
    second.supported_versions().await.unwrap();
    drop(first);
    daemon.client_when_there_is_a_place(administrator()).await;
}

#[tokio::test]
async fn one_account_leaves_room_for_others() {
    let lab = Lab::new("min_auth_level = \"none\"\nmax_connections_per_account = 2");
    let daemon = lab.start();
    let first = daemon.client(nobody()).await;
    let _second = daemon.client(nobody()).await;
    match daemon.try_client(nobody()).await {
        Err(ClientError::BindNak(reason)) => assert_eq!(reason, 2),
        other => panic!("{other:?}"),
    }
    assert!(
        daemon.log().contains("max_connections_per_account"),
        "{}",
        daemon.log()
    );
    let mut backup = daemon.client(administrator()).await;
    backup.supported_versions().await.unwrap();
    drop(first);
    daemon.client_when_there_is_a_place(nobody()).await;
}

#[tokio::test]
async fn garbage_harms_only_the_connection_that_sent_it() {
    let lab = Lab::new("min_auth_level = \"none\"");
    let daemon = lab.start();
    let mut bystander = daemon.client(administrator()).await;
    for garbage in support::garbage() {
        daemon.send_raw(&garbage).await;
        bystander.supported_versions().await.unwrap();
    }
    daemon
        .client(administrator())
        .await
        .supported_versions()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_set_goes_on_after_the_daemon_was_killed() {
    let lab = Lab::new("min_auth_level = \"none\"");
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    client.set_context(auto_recovery()).await.unwrap();
    let set = client
        .start_shadow_copy_set(support::client_set())
        .await
        .unwrap();
    client
        .add_to_shadow_copy_set(support::client_copy(), set, r"\\LAB\docs")
        .await
        .unwrap();
    daemon.kill();
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    client.commit_shadow_copy_set(set, WAIT).await.unwrap();
    client.expose_shadow_copy_set(set, WAIT).await.unwrap();
    client.abort_shadow_copy_set(set).await.unwrap();
    client.set_context(auto_recovery()).await.unwrap();
}

/// A build without Kerberos says at start what it cannot do.
#[test]
fn what_was_not_built_in_is_said_at_start() {
    let lab = Lab::new("");
    let daemon = lab.start();
    let line = "kerberos is not offered: built without it";
    let log = daemon.log();
    assert_eq!(log.contains(line), !cfg!(feature = "kerberos"), "{log}");
}

#[test]
fn a_signal_ends_it_cleanly() {
    let lab = Lab::new("");
    let mut daemon = lab.start();
    let status = daemon.terminate();
    assert!(status.success(), "{status}");
    assert!(!lab.socket().exists(), "the pipe's socket is left");
    assert!(!lab.admin_socket().exists(), "the admin socket is left");
    assert!(daemon.log().contains("ended"), "{}", daemon.log());
}

/// A pipe in place of the list of shares is read for as long as nobody writes, as a volume that
/// hangs would be.
#[test]
fn a_signal_ends_a_start_that_hangs() {
    let lab = Lab::new("");
    std::fs::remove_file(lab.shares()).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        lab.shares(),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let mut daemon = lab.begin();
    let begun = std::time::Instant::now();
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
    // Can be opened as soon as the daemon reads.
    let _silent = loop {
        match rustix::fs::open(lab.shares(), flags, rustix::fs::Mode::empty()) {
            Ok(opened) => break opened,
            Err(error) => assert!(begun.elapsed() < WAIT, "{error}; {}", daemon.log()),
        }
    };
    let status = daemon.terminate();
    assert!(status.success(), "{status}");
    assert!(daemon.log().contains("ended"), "{}", daemon.log());
    assert!(!lab.socket().exists(), "the pipe's socket is left");
}

#[test]
fn what_prevents_a_start_is_said_with_file_and_remedy() {
    let lab = Lab::new("");
    let running = lab.start();
    let second = lab.refused();
    assert!(
        second.contains("in use by another fsrvpd") && second.contains("state_dir"),
        "{second}"
    );
    drop(running);

    std::fs::write(lab.store(), b"this is no table").unwrap();
    let damaged = lab.refused();
    assert!(damaged.contains("table.redb is damaged"), "{damaged}");
    assert!(damaged.contains("restore it from a backup"), "{damaged}");
    assert_eq!(std::fs::read(lab.store()).unwrap(), b"this is no table");
    std::fs::remove_file(lab.store()).unwrap();

    lab.configure("profile = \"nt4\"");
    let wrong = lab.refused();
    assert!(
        wrong.contains("fsrvpd.toml") && wrong.contains("unknown variant `nt4`"),
        "{wrong}"
    );

    lab.configure("[server.security]\nusers_file = \"/does/not/exist.toml\"");
    let users = lab.refused();
    assert!(users.contains("/does/not/exist.toml"), "{users}");

    lab.configure("");
    std::fs::remove_file(lab.shares()).unwrap();
    let shares = lab.refused();
    assert!(shares.contains("shares.json"), "{shares}");
}

#[test]
fn the_configuration_is_checked_without_starting() {
    let lab = Lab::new("");
    let (success, text) = lab.check_config();
    assert!(success && text.contains("no errors"), "{text}");
    lab.configure("commit_limit = \"soon\"");
    let (success, text) = lab.check_config();
    assert!(!success && text.contains("commit_limit"), "{text}");
}
