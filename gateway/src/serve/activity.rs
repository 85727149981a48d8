//! What a connection is doing, as its stream, its requests and its watchdog see it.
//!
//! Shared inside one worker thread only, so plain cells do. It holds no timer; `watchdog` does.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// For the first byte of a request.
    Idle,
    /// For the rest of a request head.
    Head,
    /// For a request to be answered.
    Request,
}

/// The state of one connection between handshake and close.
#[derive(Debug)]
pub struct Activity {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    open_requests: Cell<usize>,
    requests: Cell<u64>,
    moved: Cell<bool>,
    write_blocked: Cell<bool>,
    head_is_dated: Cell<bool>,
    unread: Cell<bool>,
}

impl Activity {
    /// A connection that was handed over at `now`, with nothing asked yet.
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            open_requests: Cell::new(0),
            requests: Cell::new(0),
            moved: Cell::new(false),
            write_blocked: Cell::new(false),
            head_is_dated: Cell::new(false),
            unread: Cell::new(false),
        }
    }

    /// The phase, and since when.
    pub fn phase(&self) -> (Phase, Instant) {
        (self.phase.get(), self.since.get())
    }

    /// Whether a request is being answered.
    pub fn in_request(&self) -> bool {
        self.open_requests.get() > 0
    }

    /// How many requests have started.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Bytes came from the device. A request head that they start has no time yet: nearly all come whole, and
    /// [`Activity::date_head`] dates the rest.
    pub fn bytes_read(&self) {
        self.moved.set(true);
        if self.phase.get() == Phase::Idle {
            self.phase.set(Phase::Head);
            self.head_is_dated.set(false);
        }
    }

    /// Says that an incomplete request head was seen at `now`; the first time counts.
    pub fn date_head(&self, now: impl FnOnce() -> Instant) {
        if self.phase.get() == Phase::Head && !self.head_is_dated.replace(true) {
            self.since.set(now());
        }
    }

    /// How long the request head took to come that is complete at `now`, if it was seen incomplete.
    pub fn head_took(&self, now: Instant) -> Option<Duration> {
        let seen = self.phase.get() == Phase::Head && self.head_is_dated.get();
        seen.then(|| now.saturating_duration_since(self.since.get()))
    }

    /// Bytes went to the device, all that there were or (`blocked`) only some.
    pub fn bytes_written(&self, blocked: bool) {
        self.moved.set(true);
        self.write_blocked.set(blocked);
    }

    /// A request head is complete.
    pub fn request_started(&self, now: Instant) {
        self.open_requests.set(self.open_requests.get() + 1);
        self.requests.set(self.requests.get() + 1);
        self.enter(Phase::Request, now);
    }

    /// A response is complete, or given up.
    pub fn request_ended(&self, now: Instant) {
        let left = self.open_requests.get().saturating_sub(1);
        self.open_requests.set(left);
        if left == 0 {
            self.enter(Phase::Idle, now);
        }
    }

    /// Something that the device sends, or may be sending, is not going to be read.
    pub fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// Whether something was left unread.
    pub fn has_unread(&self) -> bool {
        self.unread.get()
    }

    /// Whether anything moved since this was asked last.
    pub fn take_moved(&self) -> bool {
        self.moved.replace(false)
    }

    /// Whether nothing is asked, nothing is half said, and nothing waits to be written.
    pub fn is_quiet(&self) -> bool {
        self.phase.get() == Phase::Idle && !self.write_blocked.get()
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase.set(phase);
        self.since.set(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Activity, Phase};
    use crate::clock;

    fn activity() -> (Activity, Instant) {
        let start = clock::now();
        (Activity::new(start), start)
    }

    #[test]
    fn a_request_goes_through_the_phases() {
        let (activity, start) = activity();
        assert!(activity.is_quiet());
        activity.bytes_read();
        assert_eq!(activity.phase().0, Phase::Head);
        assert!(!activity.is_quiet());
        activity.request_started(start);
        assert!(activity.in_request());
        activity.request_ended(start);
        assert!(activity.is_quiet() && !activity.in_request());
    }

    #[test]
    fn more_bytes_do_not_restart_the_head() {
        let (activity, start) = activity();
        let later = start + std::time::Duration::from_secs(1);
        activity.bytes_read();
        activity.date_head(|| later);
        activity.bytes_read();
        activity.date_head(|| panic!("the clock was read again"));
        assert_eq!(activity.phase(), (Phase::Head, later));
    }

    #[test]
    fn an_unwritten_response_is_not_quiet() {
        let (activity, start) = activity();
        activity.request_started(start);
        activity.bytes_written(true);
        activity.request_ended(start);
        assert!(!activity.is_quiet());
        activity.bytes_written(false);
        assert!(activity.is_quiet());
    }
}
