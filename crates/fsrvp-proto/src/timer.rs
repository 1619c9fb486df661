//! \[3.1.2\] Message Sequence Timer.

use std::time::Duration;

/// The timer of the server, or the deadline that a set has for itself (ws2012, Exposed).
///
/// Set by a method's success with the time that its section names, and with 180 s by a failure
/// after the state check. Cleared when the last set short of Recovered and the context have gone.
/// Fires when nobody waits and the time has passed: the sets short of Recovered go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SequenceTimer {
    /// Calls that wait. While there are any the timer does not run.
    holds: usize,
    armed: Option<Armed>,
    /// What the end of the last wait starts.
    pending: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Armed {
    since: Duration,
    deadline: Duration,
}

impl SequenceTimer {
    /// "start the Message Sequence Timer with a timeout value of": now, or when the last wait ends.
    pub(crate) fn start(&mut self, now: Duration, length: Duration) {
        if self.holds > 0 {
            self.pending = Some(length);
            return;
        }
        self.armed = Some(Armed {
            since: now,
            deadline: now.saturating_add(length),
        });
    }

    /// "stop the Message Sequence Timer", because its reason has gone.
    pub(crate) fn stop(&mut self) {
        self.armed = None;
        self.pending = None;
    }

    /// A call begins to wait. Its end must be told by [`Self::release`].
    pub(crate) fn hold(&mut self) {
        self.holds = self.holds.saturating_add(1);
    }

    /// A call has waited; `length` is what it starts, `None` leaves the old deadline as it was.
    pub(crate) fn release(&mut self, now: Duration, length: Option<Duration>) {
        self.holds = self.holds.saturating_sub(1);
        if length.is_some() {
            self.pending = length;
        }
        self.resume(now);
    }

    /// As [`Self::release`], but a later call's wish goes first.
    pub(crate) fn release_unless_started(&mut self, now: Duration, length: Duration) {
        self.holds = self.holds.saturating_sub(1);
        self.pending.get_or_insert(length);
        self.resume(now);
    }

    fn resume(&mut self, now: Duration) {
        if self.holds == 0
            && let Some(length) = self.pending.take()
        {
            self.start(now, length);
        }
    }

    /// Whether it runs, or will when the calls that wait have ended.
    pub(crate) const fn is_used(&self) -> bool {
        self.holds > 0 || self.armed.is_some() || self.pending.is_some()
    }

    /// When it fires; `None` while it is stopped or a call waits.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.armed {
            Some(armed) if self.holds == 0 => Some(armed.deadline),
            _ => None,
        }
    }

    /// Whether it fires at `now`, and how long nothing has happened then.
    pub(crate) fn fired(&self, now: Duration) -> Option<Duration> {
        let armed = self.armed?;
        (self.deadline()? <= now).then(|| now.saturating_sub(armed.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rule_8_it_does_not_run_while_anybody_waits() {
        let mut timer = SequenceTimer::default();
        timer.start(seconds(0), seconds(180));
        timer.hold();
        timer.hold();
        assert_eq!(timer.deadline(), None);
        timer.release(seconds(200), Some(seconds(180)));
        assert_eq!(timer.deadline(), None);
        timer.release(seconds(300), Some(seconds(1800)));
        assert_eq!(timer.deadline(), Some(seconds(2100)));
        assert_eq!(timer.fired(seconds(2099)), None);
        assert_eq!(timer.fired(seconds(2100)), Some(seconds(1800)));
    }

    #[test]
    fn rule_9_a_release_without_a_length_puts_the_old_deadline_back() {
        let mut timer = SequenceTimer::default();
        timer.start(seconds(0), seconds(180));
        timer.hold();
        timer.release(seconds(100), None);
        assert_eq!(timer.deadline(), Some(seconds(180)));
    }

    #[test]
    fn what_a_call_started_meanwhile_outlasts_a_default() {
        let mut timer = SequenceTimer::default();
        timer.hold();
        timer.start(seconds(1), seconds(1800));
        timer.release_unless_started(seconds(2), seconds(180));
        assert_eq!(timer.deadline(), Some(seconds(1802)));
        timer.stop();
        assert_eq!(timer.deadline(), None);
    }
}
