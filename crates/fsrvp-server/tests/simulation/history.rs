//! What has happened, for a failing seed to be read.

use std::fmt::Write;
use std::time::Duration;

/// Lines with the step and the virtual time.
#[derive(Debug, Default)]
pub(crate) struct History {
    text: String,
    step: u64,
    at: Duration,
}

impl History {
    pub(crate) fn moment(&mut self, step: u64, at: Duration) {
        self.step = step;
        self.at = at;
    }

    pub(crate) fn line(&mut self, text: impl std::fmt::Display) {
        let (step, at) = (self.step, self.at.as_secs_f64());
        writeln!(self.text, "{step:>5} {at:>12.3} s  {text}").unwrap();
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// The last lines, for a message.
pub(crate) fn tail(history: &str) -> String {
    let lines: Vec<_> = history.lines().collect();
    let from = lines.len().saturating_sub(60);
    lines[from..].join("\n")
}
