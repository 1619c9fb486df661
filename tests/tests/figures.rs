//! Figures, alert rules and the dashboard, judged by Prometheus' own programs.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value without a field is null"
)]

use fsrvp_testkit::{AgentKind, Lab, LabOptions, Run, ShareKey, unix_http_get, until};
use fsrvp_tests::walk::Walk;
use fsrvp_tests::{CaseResult, Suite, fail};
use libtest_mimic::Failed;
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where the laboratory's agent shows its figures.
static PORT: OnceLock<u16> = OnceLock::new();

fn main() -> ExitCode {
    let suite = Suite::new(|agent: AgentKind| {
        let port = PORT.get_or_init(|| free_port().unwrap_or(9_464));
        LabOptions::for_test(agent).admin_line(format!("metrics_address = \"127.0.0.1:{port}\""))
    });
    suite
        .case("promtool_accepts_the_figures", figures)
        .case("the_alert_rules_fire_when_they_should", rules)
        .case("every_query_of_the_dashboard_gives_data", dashboard)
        .and_nothing_is_left()
        .run()
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(name)
}

/// Sets that end well and otherwise, a refused caller, a call that is not protected enough.
fn life(lab: &Lab) -> CaseResult {
    let walk = Walk::of(lab);
    walk.run(ShareKey::A, true)?;
    walk.run(ShareKey::B, false)?;
    let share = lab.share(ShareKey::A).name;
    lab.rpcclient(lab.plain(), &format!("fss_is_path_sup {share}"))
        .output()?;
    lab.rpcclient_with(lab.backup(), "", &format!("fss_is_path_sup {share}"))
        .output()?;
    walk.create("ro", &[share])?;
    // What is measured every hour is measured at once for somebody who asks.
    unix_http_get(&lab.admin_socket(), "/v1/space")?;
    Ok(())
}

fn tidy(lab: &Lab) -> CaseResult {
    let sets = unix_http_get(&lab.admin_socket(), "/v1/sets")?;
    let sets: Value = serde_json::from_str(&sets.body)?;
    let servers = sets["servers"].as_object().into_iter().flatten();
    for set in
        servers.flat_map(|(_, server)| server["sets"].as_array().cloned().unwrap_or_default())
    {
        let path = format!("/v1/sets/{}", set["id"].as_str().unwrap_or_default());
        fsrvp_testkit::unix_http(&lab.admin_socket(), "DELETE", &path, "")?;
    }
    Ok(())
}

fn figures(lab: &Lab) -> CaseResult {
    life(lab)?;
    let answer = unix_http_get(&lab.admin_socket(), "/metrics")?;
    let port = PORT.get().copied().unwrap_or_default();
    let over_tcp = http_get(port, "/metrics")?;
    if !over_tcp.contains("fsrvpd_open_sets") {
        return fail(format!("over TCP: {over_tcp}"));
    }
    for name in ["snapshot_bytes", "volume_free_bytes", "volume_total_bytes"] {
        let line = format!(
            "fsrvpd_{name}{{server=\"{}\",backend=\"btrfs\"",
            lab.server_name()
        );
        if !answer.body.contains(&line) {
            return fail(format!("no {line}: {}", answer.body));
        }
    }
    // Nothing else is served there.
    if http_get(port, "/v1/sets")?.contains("servers") {
        return fail("sets are shown over TCP");
    }
    let mut checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(stdin) = checked.stdin.as_mut() {
        stdin.write_all(answer.body.as_bytes())?;
    }
    let output = checked.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return fail(format!("promtool: {said}\n{}", answer.body));
    }
    tidy(lab)
}

fn rules(_: &Lab) -> CaseResult {
    let rules = packaging("prometheus/fsrvpd.rules.yml");
    Run::new("promtool")
        .args(["check", "rules"])
        .arg(&rules)
        .check()?;
    let tests = packaging("prometheus/fsrvpd.rules.test.yml");
    Run::new("promtool")
        .args(["test", "rules"])
        .arg(&tests)
        .check()?;
    Ok(())
}

/// A Prometheus that scrapes the laboratory; it ends with the value.
struct Prometheus {
    process: Child,
    port: u16,
    _place: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: u16) -> Result<Self, Failed> {
        let place = tempfile::tempdir()?;
        let port = free_port()?;
        let config = place.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: fsrvpd\n    \
             static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
        );
        fs::write(&config, text)?;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                place.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            process,
            port,
            _place: place,
        })
    }

    /// How many series a query gives now.
    fn query(&self, expression: &str) -> Result<usize, Failed> {
        let encoded: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let Ok(body) = http_get(self.port, &format!("/api/v1/query?query={encoded}")) else {
            return Ok(0);
        };
        let Ok(answer) = serde_json::from_str::<Value>(&body) else {
            return Ok(0);
        };
        if answer["status"] == "error" {
            return fail(format!("{expression}: {answer}"));
        }
        Ok(answer["data"]["result"].as_array().map_or(0, Vec::len))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn dashboard(lab: &Lab) -> CaseResult {
    life(lab)?;
    let text = fs::read_to_string(packaging("grafana/fsrvpd.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let expressions: Vec<String> = targets
        .filter_map(|target| Some(target["expr"].as_str()?.to_owned()))
        .collect();
    if expressions.len() < 18 {
        return fail(format!("only {} queries", expressions.len()));
    }
    let prometheus = Prometheus::start(PORT.get().copied().unwrap_or_default())?;
    for expression in &expressions {
        let data = || Ok::<_, Failed>((prometheus.query(expression)? > 0).then_some(()));
        if until(PATIENCE, data)?.is_none() {
            return fail(format!("{expression} gives no data"));
        }
    }
    println!("{} queries give data", expressions.len());
    tidy(lab)
}

fn http_get(port: u16, path: &str) -> Result<String, Failed> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    Ok(body.unwrap_or_default())
}
