//! `fsrvpctl status`

use super::model::{Health, Server, Sets};
use crate::screen::{Screen, Tone};
use crate::time::{ago, duration, milliseconds};
use crate::{AdminClient, Failure};
use serde_json::Value;
use std::time::SystemTime;

/// Shows health and what every server works on.
pub(crate) fn run(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    if screen.is_json() {
        let health: Value = client.get("/v1/health")?;
        let sets: Value = client.get("/v1/sets")?;
        screen.json(&serde_json::json!({ "health": health, "sets": sets }));
        return Ok(());
    }
    let health: Health = client.get("/v1/health")?;
    let sets: Sets = client.get("/v1/sets")?;
    render(screen, &health, &sets, SystemTime::now());
    Ok(())
}

fn render(screen: &mut Screen, health: &Health, sets: &Sets, now: SystemTime) {
    let tone = if health.status == "ok" {
        Tone::Good
    } else {
        Tone::Bad
    };
    let uptime = duration(health.uptime_seconds);
    let line = format!("fsrvpd {}: {}, up {uptime}", health.version, health.status);
    screen.toned(line, tone);
    for (name, server) in &sets.servers {
        screen.blank();
        screen.heading(format!("{name} (profile {})", server.profile));
        render_server(screen, server, now);
    }
}

fn render_server(screen: &mut Screen, server: &Server, now: SystemTime) {
    let mut context = match &server.context.client_address {
        Some(client) if server.context.is_set => format!("  context set by {client}"),
        _ if server.context.is_set => "  context set".to_owned(),
        _ => "  no context set".to_owned(),
    };
    if let Some(left) = server.timer_remaining_ms {
        let left = duration(left / 1_000);
        context.push_str(&format!(", {left} until the sequence times out"));
    }
    screen.line(context);
    if let Some(hangs) = server.store_hangs_ms {
        let text = format!("  the store has not answered for {}", milliseconds(hangs));
        screen.toned(text, Tone::Bad);
    }
    if server.sets.is_empty() {
        screen.line("  no shadow copy sets");
    }
    let mut sets: Vec<_> = server.sets.iter().collect();
    sets.sort_by(|a, b| a.started.cmp(&b.started));
    for set in sets {
        let age = ago(&set.changed, now);
        let text = format!(
            "  set {} {} {age}: {}",
            set.id,
            set.status_word(),
            set.shares()
        );
        screen.toned(text, Tone::of_status(&set.status));
    }
    for job in &server.jobs {
        let running = milliseconds(job.running_ms);
        let of_set = job.set.as_ref().map(|set| format!(" of {set}"));
        let of_set = of_set.unwrap_or_default();
        screen.line(format!(
            "  job {}{of_set}, running for {running}",
            job.operation
        ));
    }
    for debt in &server.debts {
        let why = debt.failure.as_deref().unwrap_or("not tried yet");
        let again = match debt.retry_in_ms {
            Some(ms) => format!("; again in {}", milliseconds(ms)),
            None => String::new(),
        };
        let (what, since) = (debt.what(), ago(&debt.since, now));
        let attempts = debt.attempts;
        let number = debt.number;
        let text = format!(
            "  left over for {since}, number {number}: {what}, {attempts} attempts: {why}{again}"
        );
        screen.toned(text, Tone::Warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn people_see_sets_shares_and_what_is_left_over() {
        let health = serde_json::json!({
            "status": "ok", "version": "1.2.3", "uptime_seconds": 7_260, "servers": ["FILER"]
        });
        let sets = serde_json::json!({ "servers": { "FILER": {
            "server_name": "FILER",
            "profile": "spec",
            "context": { "is_set": true, "client_address": "192.0.2.1" },
            "timer_remaining_ms": 61_000,
            "sets": [{
                "id": "11111111-2222-3333-4444-555555555555", "status": "exposed",
                "context": 9, "account": "LAB\\backup", "writable": false,
                "started": "2024-02-29T23:50:00Z", "changed": "2024-02-29T23:51:00Z",
                "phases": [], "deadline_ms": null,
                "copies": [{
                    "id": "66666666-2222-3333-4444-555555555555",
                    "backend": "btrfs", "volume": "btrfs:a:b",
                    "created": "2024-02-29T23:50:00Z",
                    "mappings": [{
                        "share": "vm",
                        "share_name_unc": "\\\\filer\\vm",
                        "shadow_copy_share_name": "vm@{66666666-2222-3333-4444-555555555555}"
                    }]
                }]
            }],
            "jobs": [{ "operation": "seal", "set": null, "running_ms": 1_500 }],
            "debts": [{
                "number": 7,
                "artefact": { "share": "vm@{66666666-2222-3333-4444-555555555555}" },
                "attempts": 3, "failure": "/vol is read-only",
                "since": "2024-02-29T23:00:00Z", "retry_in_ms": 4_000
            }]
        }}});
        let mut screen = Screen::new(false, 80);
        render(
            &mut screen,
            &serde_json::from_value(health).unwrap(),
            &serde_json::from_value(sets).unwrap(),
            UNIX_EPOCH + Duration::from_secs(1_709_251_200),
        );
        assert_eq!(
            screen.plain(),
            "fsrvpd 1.2.3: ok, up 2 h\n\
             \n\
             FILER (profile spec)\n  \
             context set by 192.0.2.1, 61 s until the sequence times out\n  \
             set 11111111-2222-3333-4444-555555555555 exposed 9 min: vm\n  \
             job seal, running for 1.5 s\n  \
             left over for 60 min, number 7: share\n  \
             vm@{66666666-2222-3333-4444-555555555555}, 3 attempts: /vol is read-only;\n  \
             again in 4.0 s\n"
        );
    }
}
