//! `fsrvpctl events` and `fsrvpctl watch`

use super::model::Event;
use super::show::resolve;
use crate::screen::{Cell, Screen, Tone};
use crate::time::plain;
use crate::{AdminClient, Failure};
use serde::Deserialize;
use serde_json::Value;

/// Seconds that one question waits for the next event.
const WAIT: u64 = 20;

/// `fsrvpctl events`
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Only those of this set, or of the one whose id begins so
    #[arg(long)]
    set: Option<String>,
    /// At most so many, the newest
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// `fsrvpctl watch`
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// End after so many events
    #[arg(long)]
    count: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    events: Vec<Event>,
}

/// The same, events as programs are given them.
#[derive(Debug, Deserialize)]
struct Told {
    events: Vec<Value>,
    /// Number of the newest event that there is.
    last: u64,
}

impl Events {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let mut path = format!("/v1/events?limit={}", self.limit);
        if let Some(set) = &self.set {
            path.push_str(&format!("&set={}", resolve(client, set)?));
        }
        super::ask(client, screen, &path, |screen, answer: Answer| {
            if answer.events.is_empty() {
                let of = if self.set.is_some() {
                    " of that set"
                } else {
                    ""
                };
                screen.line(format!("no events{of} since the daemon was started"));
            }
            render(screen, &answer.events, true);
        })
    }
}

impl Watch {
    /// Shows events until somebody ends it. A daemon that was restarted counts anew.
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let newest: Told = client.get("/v1/events?limit=0")?;
        let mut after = newest.last;
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let told: Told = client.get(&format!("/v1/events?after={after}&wait={WAIT}"))?;
            if told.last < after {
                after = 0;
                continue;
            }
            for event in &told.events {
                if left == 0 {
                    break;
                }
                left -= 1;
                if screen.is_json() {
                    screen.json(event);
                } else if let Ok(event) = Event::deserialize(event) {
                    after = after.max(event.seq);
                    render(screen, std::slice::from_ref(&event), true);
                }
            }
            after = after.max(told.last);
            if screen.finish().is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// One line an event, the message last.
pub(crate) fn render(screen: &mut Screen, events: &[Event], with_sets: bool) {
    for event in events {
        let tone = match event.level.as_str() {
            "error" => Tone::Bad,
            "warn" => Tone::Warning,
            _ => Tone::Plain,
        };
        let number = event.event_id.map(|id| id.to_string()).unwrap_or_default();
        let mut message = event.message.clone();
        if let Some(set) = event.set.as_ref().filter(|_| with_sets) {
            let short: String = set.chars().take(8).collect();
            message = format!("{short} {message}");
        }
        if with_sets && !event.server.is_empty() {
            message = format!("{}: {message}", event.server);
        }
        if with_sets && message.is_empty() {
            message.clone_from(&event.event);
        }
        let (time, level) = (plain(&event.time), event.level.clone());
        let head = format!("{time}  {level:<5} {number:<4}  ");
        screen.hanging(&head, Cell::toned(message, tone));
    }
}
