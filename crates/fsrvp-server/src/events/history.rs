//! The last events, for the admin socket.

use super::{Record, SystemLog};
use fsrvp_idl::{DateTime, ShadowCopySetId};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Events that are remembered; older ones are in the log alone.
const CAPACITY: usize = 4_096;

/// An event with its place in the history.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// Counts from 1 since the daemon was started.
    pub seq: u64,
    /// When it happened, as RFC 3339.
    pub time: String,
    /// The server that it happened on.
    pub server: String,
    /// What happened.
    #[serde(flatten)]
    pub record: Record,
}

/// The history of all servers of one daemon.
#[derive(Debug)]
pub struct History {
    events: Mutex<VecDeque<Recorded>>,
    last: watch::Sender<u64>,
    system_log: Option<SystemLog>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            last: watch::Sender::new(0),
            system_log: None,
        }
    }
}

impl History {
    /// One that also tells the log of the system.
    #[must_use]
    pub fn telling(system_log: Option<SystemLog>) -> Self {
        Self {
            system_log,
            ..Self::default()
        }
    }

    /// Adds an event of a server.
    pub fn add(&self, server: &str, record: Record) {
        if let Some(system_log) = &self.system_log {
            system_log.tell(server, &record);
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = DateTime::from_unix_seconds(since_epoch.unwrap_or_default().as_secs());
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = self.last.borrow().saturating_add(1);
        if events.len() >= CAPACITY {
            events.pop_front();
        }
        events.push_back(Recorded {
            seq,
            time: now.to_string(),
            server: server.to_owned(),
            record,
        });
        self.last.send_replace(seq);
    }

    /// Those after number `after` that are wanted, oldest first, at most the newest `limit`.
    pub fn after(
        &self,
        after: u64,
        limit: usize,
        wanted: impl Fn(&Recorded) -> bool,
    ) -> Vec<Recorded> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = events
            .iter()
            .rev()
            .take_while(|event| event.seq > after)
            .filter(|event| wanted(event))
            .take(limit)
            .cloned()
            .collect();
        found.reverse();
        found
    }

    /// The events of a set.
    pub fn of_set(&self, set: ShadowCopySetId) -> Vec<Recorded> {
        self.after(0, CAPACITY, |event| event.record.set == Some(set))
    }

    /// The number of the newest event; changes are told.
    pub fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::record::Level;

    #[test]
    fn the_newest_are_remembered_and_counted() {
        let history = History::default();
        let many = u64::try_from(CAPACITY).unwrap() + 10;
        for number in 0..many {
            history.add("FS", Record::new("test", Level::Info, number.to_string()));
        }
        let all = history.after(0, usize::MAX, |_| true);
        assert_eq!(all.len(), CAPACITY);
        assert_eq!(all[0].seq, 11);
        assert_eq!(*history.last().borrow(), many);
        let newest = history.after(many - 3, 2, |_| true);
        let numbers: Vec<_> = newest.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, [many - 1, many]);
        assert!(history.after(many, 10, |_| true).is_empty());
    }
}
