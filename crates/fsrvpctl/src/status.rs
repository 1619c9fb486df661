//! `fsrvpctl status`

use crate::client::{AdminClient, ClientError};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug, Deserialize)]
struct Health {
    status: String,
    version: String,
    uptime_seconds: u64,
}

#[derive(Debug, Deserialize)]
struct Sets {
    servers: BTreeMap<String, Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    profile: String,
    context: Context,
    timer_remaining_ms: Option<u64>,
    sets: Vec<Set>,
    debts: Vec<Debt>,
}

#[derive(Debug, Deserialize)]
struct Context {
    is_set: bool,
    client_address: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Set {
    id: String,
    status: String,
    copies: Vec<Copy>,
}

#[derive(Debug, Deserialize)]
struct Copy {
    id: String,
    mappings: Vec<Mapping>,
}

#[derive(Debug, Deserialize)]
struct Mapping {
    share_name_unc: String,
    shadow_copy_share_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Debt {
    attempts: u32,
    failure: Option<String>,
}

/// Shows health and all sets.
///
/// # Errors
/// The daemon cannot be asked.
pub(crate) fn run(client: &AdminClient, json: bool) -> Result<String, ClientError> {
    if json {
        let health: Value = client.get("/v1/health")?;
        let sets: Value = client.get("/v1/sets")?;
        return Ok(serde_json::json!({ "health": health, "sets": sets }).to_string());
    }
    let health: Health = client.get("/v1/health")?;
    let sets: Sets = client.get("/v1/sets")?;
    Ok(render(&health, &sets))
}

fn render(health: &Health, sets: &Sets) -> String {
    let mut text = format!(
        "fsrvpd {}: {}, up {}",
        health.version,
        health.status,
        duration(health.uptime_seconds)
    );
    for (name, server) in &sets.servers {
        let _ = write!(text, "\n\n{name} (profile {})", server.profile);
        let _ = match &server.context.client_address {
            Some(client) if server.context.is_set => {
                write!(text, "\n  context set by {client}")
            }
            _ if server.context.is_set => write!(text, "\n  context set"),
            _ => write!(text, "\n  no context set"),
        };
        if let Some(left) = server.timer_remaining_ms {
            let _ = write!(
                text,
                ", {} until the sequence times out",
                duration(left / 1_000)
            );
        }
        if server.sets.is_empty() {
            text.push_str("\n  no shadow copy sets");
        }
        for set in &server.sets {
            let _ = write!(text, "\n  set {} {}", set.id, set.status);
            for copy in &set.copies {
                let _ = write!(text, "\n    copy {}", copy.id);
                for mapping in &copy.mappings {
                    let _ = write!(text, "\n      {}", mapping.share_name_unc);
                    if let Some(exposed) = &mapping.shadow_copy_share_name {
                        let _ = write!(text, "\n      as {exposed}");
                    }
                }
            }
        }
        for debt in &server.debts {
            let why = debt.failure.as_deref().unwrap_or("not tried yet");
            let _ = write!(
                text,
                "\n  left over after {} attempts: {why}",
                debt.attempts
            );
        }
    }
    text
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_sets_shares_and_what_is_left_over() {
        let health = serde_json::json!({
            "status": "ok", "version": "1.2.3", "uptime_seconds": 7_260, "servers": ["FILER"]
        });
        let sets = serde_json::json!({ "servers": { "FILER": {
            "profile": "spec",
            "context": { "is_set": true, "client_address": "192.0.2.1" },
            "timer_remaining_ms": 61_000,
            "sets": [{ "id": "11111111-2222-3333-4444-555555555555", "status": "Exposed",
                "copies": [{ "id": "66666666-2222-3333-4444-555555555555", "mappings": [{
                    "share_name_unc": "\\\\filer\\vm",
                    "shadow_copy_share_name": "vm@{66666666-2222-3333-4444-555555555555}"
                }]}]}],
            "debts": [{ "attempts": 3, "failure": "/vol is read-only" }]
        }}});
        let text = render(
            &serde_json::from_value(health).unwrap(),
            &serde_json::from_value(sets).unwrap(),
        );
        assert!(text.starts_with("fsrvpd 1.2.3: ok, up 2 h 1 min\n\nFILER (profile spec)\n"));
        assert!(text.contains("context set by 192.0.2.1, 61 s until"));
        assert!(text.contains("as vm@{66666666"));
        assert!(text.contains("left over after 3 attempts: /vol is read-only"));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
