//! `fsrvpctl show`

use super::model::{Event, Set, Sets};
use crate::screen::{Cell, Screen, Tone};
use crate::time::{ago, duration, milliseconds, plain, unix_seconds};
use crate::{AdminClient, Exit, Failure};
use serde::Deserialize;
use serde_json::Value;
use std::time::SystemTime;

/// Columns of a bar that stands for the longest phase.
const LONGEST_BAR: u64 = 30;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The set, or the beginning of its id
    set: String,
}

#[derive(Debug, Deserialize)]
struct Shown {
    server: String,
    #[serde(flatten)]
    set: Set,
    events: Vec<Event>,
}

impl Show {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let id = resolve(client, &self.set)?;
        let path = format!("/v1/sets/{id}");
        super::ask(client, screen, &path, |screen, shown| {
            render(screen, &shown, SystemTime::now());
        })
    }
}

/// The set that a beginning of its id means.
pub(crate) fn resolve(client: &AdminClient, beginning: &str) -> Result<String, Failure> {
    let wanted = beginning.trim_matches(['{', '}']).to_lowercase();
    let is_hex = wanted.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if wanted.is_empty() || !is_hex {
        let text = format!("{beginning:?} is no id of a set: `fsrvpctl sets` lists them");
        return Err(Failure::new(Exit::Usage, text));
    }
    if wanted.len() == 36 {
        return Ok(wanted);
    }
    let sets: Sets = client.get("/v1/sets")?;
    let mut found = sets
        .servers
        .values()
        .flat_map(|server| &server.sets)
        .filter(|set| set.id.starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(set), None) => Ok(set.id.clone()),
        (None, _) => {
            let text = format!("there is no set whose id begins with {wanted}");
            Err(Failure::new(Exit::NotFound, text))
        }
        (Some(_), Some(_)) => {
            let text = format!("several sets have ids that begin with {wanted}: give more of it");
            Err(Failure::new(Exit::Usage, text))
        }
    }
}

fn render(screen: &mut Screen, shown: &Shown, now: SystemTime) {
    let set = &shown.set;
    let writable = if set.writable { ", writable" } else { "" };
    let status = format!("{}{writable}", set.status_word());
    let deadline = set.deadline_ms.map(|ms| duration(ms / 1_000));
    let mut fields: Vec<(&'static str, Cell)> = vec![
        ("set", set.id.clone().into()),
        ("server", shown.server.clone().into()),
        ("status", Cell::toned(status, Tone::of_status(&set.status))),
        ("context", context(set.context).into()),
        ("account", set.account.clone().into()),
        (
            "started",
            format!(
                "{} UTC, {} ago",
                plain(&set.started),
                ago(&set.started, now)
            )
            .into(),
        ),
    ];
    if let Some(deadline) = deadline {
        fields.push(("goes in", deadline.into()));
    }
    screen.fields(0, fields);
    for copy in &set.copies {
        screen.blank();
        screen.heading(format!("copy {}", copy.id));
        screen.fields(
            2,
            [
                ("backend", copy.backend.clone()),
                ("volume", copy.volume.clone()),
            ],
        );
        for mapping in &copy.mappings {
            let exposed = mapping.shadow_copy_share_name.as_deref();
            let exposed = exposed.unwrap_or("not exposed");
            screen.fields(
                2,
                [
                    ("share", mapping.share_name_unc.clone()),
                    ("exposed", exposed.to_owned()),
                ],
            );
        }
    }
    render_timeline(screen, set);
    if !shown.events.is_empty() {
        screen.blank();
        screen.heading("events");
        super::events::render(screen, &shown.events, false);
    }
}

/// When each phase ended, how long after the start, and how long its work took.
fn render_timeline(screen: &mut Screen, set: &Set) {
    screen.blank();
    screen.heading("time line");
    let start = unix_seconds(&set.started).unwrap_or_default();
    let longest = set.phases.iter().map(|phase| phase.took_ms).max();
    let longest = longest.unwrap_or_default().max(1);
    let begun: Vec<Cell> = vec![
        plain(&set.started).into(),
        "started".into(),
        "0 s".into(),
        "".into(),
        "".into(),
    ];
    let phases = set.phases.iter().map(|phase| {
        let ended = unix_seconds(&phase.ended).unwrap_or_default();
        let bar = phase.took_ms.saturating_mul(LONGEST_BAR).div_ceil(longest);
        let bar = "#".repeat(usize::try_from(bar).unwrap_or_default());
        vec![
            plain(&phase.ended).into(),
            phase.phase.clone().into(),
            format!("+{}", duration(ended.saturating_sub(start))).into(),
            milliseconds(phase.took_ms).into(),
            bar.into(),
        ]
    });
    let rows = std::iter::once(begun).chain(phases).collect();
    screen.table(&["UTC", "PHASE", "AFTER", "TOOK", ""], rows);
}

/// The context with the words of the specification.
fn context(bits: u32) -> String {
    let base = match bits & 0x19 {
        0x00 => "BACKUP",
        0x09 => "APP_ROLLBACK",
        0x10 => "FILE_SHARE_BACKUP",
        _ => "NAS_ROLLBACK",
    };
    let recovery = match bits & 0x0040_0002 {
        0x0040_0000 => ", auto-recovery",
        0x0000_0002 => ", no auto-recovery",
        _ => "",
    };
    format!("{bits:#010x} {base}{recovery}")
}

/// Answers of acts, for programs and people.
pub(crate) fn acted(screen: &mut Screen, answer: &Value, text: impl AsRef<str>) {
    if screen.is_json() {
        screen.json(answer);
    } else {
        screen.line(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_set_is_shown_with_its_phases_on_a_time_line() {
        let shown = serde_json::json!({
            "server": "FILER",
            "id": "11111111-2222-3333-4444-555555555555", "status": "recovered",
            "context": 0x0040_0009, "account": "LAB\\backup", "writable": false,
            "started": "2024-02-29T23:50:00Z", "changed": "2024-02-29T23:51:00Z",
            "deadline_ms": null,
            "phases": [
                { "phase": "prepare", "ended": "2024-02-29T23:50:02Z", "took_ms": 1_200 },
                { "phase": "commit", "ended": "2024-02-29T23:50:03Z", "took_ms": 40 },
                { "phase": "expose", "ended": "2024-02-29T23:50:05Z", "took_ms": 600 },
                { "phase": "recover", "ended": "2024-02-29T23:53:05Z", "took_ms": 0 }
            ],
            "copies": [{
                "id": "66666666-2222-3333-4444-555555555555",
                "backend": "btrfs", "created": "2024-02-29T23:50:00Z",
                "volume": "btrfs:77777777-2222-3333-4444-555555555555:\
                           88888888-2222-3333-4444-555555555555",
                "mappings": [{
                    "share": "vm",
                    "share_name_unc": "\\\\filer\\vm",
                    "shadow_copy_share_name": "vm@{66666666-2222-3333-4444-555555555555}"
                }]
            }],
            "events": [{
                "seq": 7, "time": "2024-02-29T23:50:03Z", "server": "FILER",
                "event": "fsrvp.set.committed", "event_id": 4089, "level": "info",
                "message": "set committed in 40 ms", "set": null
            }]
        });
        let mut screen = Screen::new(false, 80);
        let shown: Shown = serde_json::from_value(shown).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_709_251_200);
        render(&mut screen, &shown, now);
        let expected = "\
set      11111111-2222-3333-4444-555555555555
server   FILER
status   recovered
context  0x00400009 APP_ROLLBACK, auto-recovery
account  LAB\\backup
started  2024-02-29 23:50:00 UTC, 10 min ago

copy 66666666-2222-3333-4444-555555555555
  backend  btrfs
  volume   btrfs:77777777-2222-3333-4444-555555555555:88888888-2222-3333-4444-55
           5555555555
  share    \\\\filer\\vm
  exposed  vm@{66666666-2222-3333-4444-555555555555}

time line
UTC                  PHASE    AFTER   TOOK
2024-02-29 23:50:00  started  0 s
2024-02-29 23:50:02  prepare  +2 s    1.2 s   ##############################
2024-02-29 23:50:03  commit   +3 s    40 ms   #
2024-02-29 23:50:05  expose   +5 s    600 ms  ###############
2024-02-29 23:53:05  recover  +3 min  0 ms

events
2024-02-29 23:50:03  info  4089  set committed in 40 ms
";
        let shown = screen.plain();
        let trimmed: Vec<_> = shown.lines().map(str::trim_end).collect();
        assert_eq!(trimmed.join("\n") + "\n", expected);
    }

    #[test]
    fn contexts_have_their_names() {
        assert_eq!(context(0), "0x00000000 BACKUP");
        assert_eq!(
            context(0x12),
            "0x00000012 FILE_SHARE_BACKUP, no auto-recovery"
        );
        assert_eq!(context(0x19), "0x00000019 NAS_ROLLBACK");
    }
}
