//! The last events, and waiting for the next ones.

use super::sets::set_id;
use super::{Admin, ApiError, Routes};
use crate::events::Recorded;
use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most events of one answer.
const MOST: usize = 1_000;
/// Longest wait for the next event, in seconds.
const LONGEST_WAIT: u64 = 25;

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/events", events)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those with a higher number.
    #[serde(default)]
    after: u64,
    /// At most so many, the newest.
    limit: Option<usize>,
    /// Only those of this set.
    set: Option<String>,
    /// Wait so many seconds for one if there is none yet.
    #[serde(default)]
    wait: u64,
}

/// `GET /v1/events`
#[derive(Debug, Serialize)]
struct Events {
    /// Number of the newest event of all.
    last: u64,
    events: Vec<Recorded>,
}

async fn events(
    State(admin): State<Admin>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Events>, ApiError> {
    let set = wanted.set.as_deref().map(set_id).transpose()?;
    let limit = wanted.limit.unwrap_or(MOST).min(MOST);
    let history = &admin.parts.history;
    let mut newest = history.last();
    let is_wanted = |event: &Recorded| set.is_none() || event.record.set == set;
    let wait = Duration::from_secs(wanted.wait.min(LONGEST_WAIT));
    let until = tokio::time::Instant::now() + wait;
    loop {
        let last = *newest.borrow_and_update();
        let events = history.after(wanted.after, limit, is_wanted);
        let over = tokio::time::Instant::now() >= until;
        if over || !events.is_empty() {
            // One may have come after the look at the number.
            let last = last.max(events.last().map_or(0, |event| event.seq));
            return Ok(Json(Events { last, events }));
        }
        let _ = tokio::time::timeout_at(until, newest.changed()).await;
    }
}
